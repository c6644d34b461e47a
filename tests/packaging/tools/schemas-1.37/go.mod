// Pins the OpenAPI description of Kubernetes 1.37.
module pointsman.io/tests/tools/schemas-1.37

go 1.26.0

require k8s.io/kubernetes v1.37.2

// Pins the Prometheus operator, for its CRDs.
module pointsman.io/tests/tools/prometheus-operator

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0

// Pins Helm by its checksum. It is built from its own module, with its own go.mod, by ../build.
module pointsman.io/tests/tools/helm

go 1.26.0

require helm.sh/helm/v4 v4.3.1

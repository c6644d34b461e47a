// Pins kubeconform by its checksum. It is built from its own module, with its own go.mod, by ../build.
module pointsman.io/tests/tools/kubeconform

go 1.26.0

require github.com/yannh/kubeconform v0.8.0

// Pins KWOK by its checksum. It is built from its own module, with its own go.mod, by ../build.
module pointsman.io/tests/tools/kwok

go 1.26.0

require sigs.k8s.io/kwok v0.8.0

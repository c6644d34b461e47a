// Pins crane by its checksum. It is built from its own module, with its own go.mod, by ../build.
module pointsman.io/tests/tools/crane

go 1.26.0

require github.com/google/go-containerregistry v0.22.1

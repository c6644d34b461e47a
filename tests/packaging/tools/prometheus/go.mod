// Pins Prometheus, for promtool, by its checksum. It is built from its own module, with its own go.mod, by ../build.
module pointsman.io/tests/tools/prometheus

go 1.26.0

require github.com/prometheus/prometheus v0.316.0

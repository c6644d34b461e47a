// Pins Spiderpool, for the names of its metrics.
module pointsman.io/tests/tools/spiderpool-metrics

go 1.26.0

require github.com/spidernet-io/spiderpool v1.1.0

// Pins the SR-IOV operator by its checksum. Only its CRDs are taken, by ../build: Spiderpool's chart carries older ones.
module pointsman.io/tests/tools/sriov-operator

go 1.26.0

require github.com/k8snetworkplumbingwg/sriov-network-operator v1.6.0

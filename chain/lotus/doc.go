// Package lotus holds the wire types of a Filecoin node's JSON-RPC API (Lotus v1, network version 28).
//
// JSON equals what Lotus writes and CBOR equals what goes on chain, byte for byte; the recorded exchanges in
// testdata/lotus-rpc.json hold both. Types that go-state-types already encodes rightly are used from there:
// bitfields, big integers (strings in JSON), signatures, miner parameters, deadlines, claims and deals.
//
// The method table [FullNode] serves both ends: the client fills its functions through go-jsonrpc, and the
// embedded node is tested against its shapes.
package lotus

//go:generate go run gen.go

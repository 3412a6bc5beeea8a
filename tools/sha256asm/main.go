// Command sha256asm writes the assembly of lpseal's SHA-256 over several streams: tree
// nodes and labels, with the SHA extensions of amd64.
//
//	go run ./sha256asm -of nodes -pkg NAME -out FILE.s -stubs FILE.go
//
// make generate runs it (go:generate in ffi/native/sdr and ffi/native/sha256mb).
//
// SHA256RNDS2 has a latency of four cycles and a throughput of two on the CPUs that have
// it, and the rounds of one message wait for each other: two messages at a time take as
// long as one. Everything here is written for lanes that take turns.
package main

import (
	"flag"

	. "github.com/mmcloughlin/avo/build"
)

func main() {
	of := flag.String("of", "", "nodes or labels")
	flag.Parse()
	ConstraintExpr("!purego")
	declareTables()
	map[string]func(){"nodes": nodes, "labels": labels}[*of]()
	Generate()
}

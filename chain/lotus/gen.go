//go:build ignore

// Gen writes the CBOR tuple encoders of the types that go on chain.
package main

import (
	"log"

	cbg "github.com/whyrusleeping/cbor-gen"

	"github.com/lpseal/lpseal/chain/lotus"
)

func main() {
	err := cbg.WriteTupleEncodersToFile("cbor_gen.go", "lotus",
		lotus.Message{},
		lotus.SignedMessage{},
		lotus.MessageReceipt{},
		lotus.Ticket{},
		lotus.ElectionProof{},
		lotus.BeaconEntry{},
		lotus.BlockHeader{},
	)
	if err != nil {
		log.Fatal(err)
	}
}

package devnet

import (
	"encoding/binary"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"
	"golang.org/x/crypto/blake2b"

	"github.com/lpseal/lpseal/chain/lotus"
)

// beaconOffset is the beacon's round at genesis; a beacon is older than the chains that use it.
const beaconOffset = 100

// vrfBytes is the length of a ticket: that of a BLS signature.
const vrfBytes = 96

// source makes the chain's own tickets and beacon entries, the same ones for the same secret.
type source struct{ secret [32]byte }

// ticket depends on the parent, so forks have different tickets, as on a real chain.
func (s source) ticket(parents []cid.Cid, height abi.ChainEpoch, fork uint64) []byte {
	var below []byte
	for _, c := range parents {
		below = append(below, c.Bytes()...)
	}
	proof := make([]byte, 0, vrfBytes)
	for part := uint64(0); len(proof) < vrfBytes; part++ {
		h := s.hash("ticket", below, uint64(height), fork, part)
		proof = append(proof, h[:]...)
	}
	return proof
}

// beacon depends on the height alone: forks share it, as they share drand.
func (s source) beacon(height abi.ChainEpoch) lotus.BeaconEntry {
	round := uint64(beaconOffset + height)
	h := s.hash("beacon", nil, round)
	return lotus.BeaconEntry{Round: round, Data: h[:]}
}

func (s source) hash(what string, data []byte, numbers ...uint64) [32]byte {
	in := append([]byte(what), s.secret[:]...)
	in = append(in, data...)
	for _, n := range numbers {
		in = binary.BigEndian.AppendUint64(in, n)
	}
	return blake2b.Sum256(in)
}

// draw derives randomness for a purpose, as every Filecoin node does.
func draw(digest [32]byte, purpose crypto.DomainSeparationTag, epoch abi.ChainEpoch, data []byte) abi.Randomness {
	in := binary.BigEndian.AppendUint64(nil, uint64(purpose))
	in = append(in, digest[:]...)
	in = binary.BigEndian.AppendUint64(in, uint64(epoch))
	in = append(in, data...)
	out := blake2b.Sum256(in)
	return out[:]
}

// randomness draws as seen from ts: from tickets or, for seeds of interactive proofs, from the beacon.
func (c *chain) randomness(ts *tipset, purpose crypto.DomainSeparationTag, epoch abi.ChainEpoch, data []byte, beacon bool) (abi.Randomness, error) {
	e, err := c.entropyAt(ts, epoch)
	switch {
	case err != nil && beacon:
		return nil, fmt.Errorf("getting beacon randomness: %w", err)
	case err != nil:
		return nil, fmt.Errorf("getting chain randomness: %w", err)
	case beacon:
		return draw(e.beacon, purpose, epoch, data), nil
	default:
		return draw(e.ticket, purpose, epoch, data), nil
	}
}

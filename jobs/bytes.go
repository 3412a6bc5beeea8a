package jobs

import (
	"math/bits"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
)

// Bytes is what the sector adds to the parameters of PreCommitSectorBatch2, exactly.
func (r *PreCommitRequest) Bytes() int {
	// Proof, number, CommR, ticket epoch, no deals, expiration, CommD or null.
	const expiration = 5 // chosen when the message is built: years of epochs, and not 2^32
	n := 1 + cborInt(int64(r.Seal.Proof)) + cborUint(uint64(r.Seal.ID.Number)) + cborCID(r.Seal.CommR) + cborInt(int64(r.TicketEpoch)) + 1 + expiration
	if r.CC {
		return n + 1
	}
	return n + cborCID(r.Seal.CommD)
}

// Bytes is what the sector adds to the parameters of ProveCommitSectors3 where
// proofs are not aggregated, exactly.
func (r *CommitRequest) Bytes() int { return r.ManifestBytes() + cborBytes(len(r.Proof)) }

// ManifestBytes is [CommitRequest.Bytes] without the proof.
func (r *CommitRequest) ManifestBytes() int {
	n := 1 + cborUint(uint64(r.Seal.ID.Number)) + cborUint(uint64(len(r.Pieces)))
	for _, p := range r.Pieces {
		n += 1 + cborCID(p.CID) + cborUint(uint64(p.Size))
		if a := p.Allocation; a != nil {
			n += 1 + cborUint(uint64(a.Client)) + cborUint(a.ID)
		} else {
			n++
		}
		n += cborUint(uint64(len(p.Notify)))
		for _, to := range p.Notify {
			n += 1 + cborBytes(len(to.Address.Bytes())) + cborBytes(len(to.Payload))
		}
	}
	return n
}

// proofBytes is the longest proof of a sector: ten partitions of 192 bytes (32 and 64 GiB).
const proofBytes = 1920

// Committable says that one message can commit a sector of these pieces: what it says of them,
// and whom it notifies, must fit beside the proof.
func Committable(pieces []Piece) bool {
	r := CommitRequest{Seal: Seal{ID: SectorID{Number: abi.MaxSectorNumber}}, Pieces: pieces, Proof: make([]byte, proofBytes)}
	return r.Bytes() <= MaxBatchBytes
}

// cborUint is the length of an unsigned integer, or of the head of a list.
func cborUint(v uint64) int {
	switch {
	case v < 24:
		return 1
	case bits.Len64(v) <= 8:
		return 2
	case bits.Len64(v) <= 16:
		return 3
	case bits.Len64(v) <= 32:
		return 5
	}
	return 9
}

func cborInt(v int64) int {
	if v < 0 {
		v = -v - 1
	}
	return cborUint(uint64(v))
}

func cborBytes(n int) int { return cborUint(uint64(n)) + n }

// cborCID is a tag of two bytes and a byte string that starts with a zero.
func cborCID(c cid.Cid) int { return 2 + cborBytes(1+c.ByteLen()) }

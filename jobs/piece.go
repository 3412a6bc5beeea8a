package jobs

import (
	"bytes"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-commp-utils/v2"
	"github.com/filecoin-project/go-commp-utils/v2/zerocomm"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"
)

// Piece is a part of a sector's data: a client's file, padded to a power of two.
type Piece struct {
	CID  cid.Cid             `json:"cid"`  // CommP
	Size abi.PaddedPieceSize `json:"size"` // bytes with fr32 padding, a power of two ≥ 128
	// RawSize is the number of bytes the source gives, at most Size.Unpadded();
	// zeros fill the rest.
	RawSize uint64 `json:"raw_size"`
	// Source is where the bytes are: an absolute path on the home host, or an
	// http(s) URL.
	Source string `json:"source"`

	// Allocation is claimed and Notify told when the sector is committed (FIP-0076).
	Allocation *Allocation    `json:"allocation,omitempty"`
	Notify     []Notification `json:"notify,omitempty"`
	// Terms are what both demand of the sector, as the chain said at intake.
	Terms Terms `json:"terms,omitzero"`
}

// Allocation names a verified client's allocation of datacap to a piece (FIP-0045).
type Allocation struct {
	Client abi.ActorID `json:"client"`
	ID     uint64      `json:"id"`
}

// String gives CLIENT/ID, such as "f01001/7".
func (a Allocation) String() string { return fmt.Sprintf("f0%d/%d", uint64(a.Client), a.ID) }

// Notification is a call that the miner actor makes when the sector is committed.
type Notification struct {
	Address address.Address `json:"address"`
	Payload []byte          `json:"payload"`
}

// NotifyMarket tells the built-in market (f05) that its deal's piece is committed: the
// payload is the deal's number in CBOR.
func NotifyMarket(deal abi.DealID) Notification {
	return Notification{Address: builtin.StorageMarketActorAddr, Payload: cbg.CborEncodeMajorType(cbg.MajUnsignedInt, uint64(deal))}
}

// Deal is the deal of the built-in market that the notification speaks of.
func (n Notification) Deal() (abi.DealID, bool) {
	if n.Address != builtin.StorageMarketActorAddr {
		return 0, false
	}
	payload := bytes.NewReader(n.Payload)
	kind, id, err := cbg.CborReadHeader(payload)
	return abi.DealID(id), err == nil && kind == cbg.MajUnsignedInt && payload.Len() == 0
}

// Verified is the size of a piece that claims an allocation, else 0: padded bytes, which
// count tenfold for power and pledge.
func (p *Piece) Verified() abi.PaddedPieceSize {
	if p.Allocation == nil {
		return 0
	}
	return p.Size
}

// Layout gives the offset of every piece in the sector, and the end of the last, in padded
// bytes: pieces lie in order, each aligned to its own size (FIP-0006's rule for CommD).
func Layout(pieces []Piece) (offsets []abi.PaddedPieceSize, end abi.PaddedPieceSize) {
	offsets = make([]abi.PaddedPieceSize, len(pieces))
	for i, p := range pieces {
		offsets[i] = (end + p.Size - 1) / p.Size * p.Size
		end = offsets[i] + p.Size
	}
	return offsets, end
}

// CommD computes the sector's data commitment from its piece CIDs alone: no data
// is read. Pieces lie as [Layout] says, zeros between and after them; a sector without
// pieces (CC) holds zeros only.
func CommD(proof abi.RegisteredSealProof, pieces []Piece) (cid.Cid, error) {
	size, err := proof.SectorSize()
	if err != nil {
		return cid.Undef, fmt.Errorf("seal proof %d: %w", proof, err)
	}
	whole := abi.PaddedPieceSize(size)
	if len(pieces) == 0 {
		return zerocomm.ZeroPieceCommitment(whole.Unpadded()), nil
	}
	infos := make([]abi.PieceInfo, len(pieces))
	for i, p := range pieces {
		infos[i] = abi.PieceInfo{Size: p.Size, PieceCID: p.CID}
	}
	c, filled, err := commp.PieceAggregateCommP(proof, infos)
	if err != nil {
		return cid.Undef, fmt.Errorf("CommD of %d pieces: %w", len(pieces), err)
	}
	if filled == whole {
		return c, nil
	}
	return commp.ZeroPadPieceCommitment(c, filled.Unpadded(), whole.Unpadded())
}

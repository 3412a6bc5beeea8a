package jobs

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-commp-utils/v2"
	"github.com/filecoin-project/go-commp-utils/v2/zerocomm"
	commcid "github.com/filecoin-project/go-fil-commcid"
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

// ParseAllocation reads CLIENT/ID, the client as 1001, f01001 or t01001.
func ParseAllocation(s string) (a Allocation, err error) {
	client, id, ok := strings.Cut(s, "/")
	for _, prefix := range []string{"f0", "t0"} {
		client = strings.TrimPrefix(client, prefix)
	}
	c, err1 := strconv.ParseUint(client, 10, 63)
	n, err2 := strconv.ParseUint(id, 10, 63)
	if !ok || err1 != nil || err2 != nil || n == 0 {
		return a, fmt.Errorf("%q is no allocation like f01001/7: the client's ID address and the allocation's number", s)
	}
	return Allocation{Client: abi.ActorID(c), ID: n}, nil
}

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

// Claims says that the piece is for an allocation or for deals.
func (p *Piece) Claims() bool { return p.Allocation != nil || len(p.Notify) > 0 }

// ClaimsOf says that both pieces are for the same allocation or the same deal, of which
// there is only one to have.
func (p *Piece) ClaimsOf(o Piece) bool {
	if p.Allocation != nil && o.Allocation != nil && *p.Allocation == *o.Allocation {
		return true
	}
	for _, n := range p.Notify {
		if id, ok := n.Deal(); ok && slices.ContainsFunc(o.Notify, func(m Notification) bool {
			other, ok := m.Deal()
			return ok && other == id
		}) {
			return true
		}
	}
	return false
}

// PaddedFor is the smallest piece that holds n bytes: a power of two, of which fr32 padding
// leaves 127 of 128 bytes.
func PaddedFor(n uint64) abi.PaddedPieceSize {
	size := abi.PaddedPieceSize(128)
	for uint64(size.Unpadded()) < n && size < 1<<62 { // more bytes than that there are not
		size *= 2
	}
	return size
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

// PiecePlace is where a piece lies, for retrieval.
type PiecePlace struct {
	Sector SectorID `json:"sector"`
	// Offset and Size are in padded bytes of the sector, as in the unsealed file;
	// RawOffset and RawSize in the bytes that unsealing gives.
	Offset    abi.PaddedPieceSize `json:"offset"`
	Size      abi.PaddedPieceSize `json:"size"`
	RawOffset uint64              `json:"raw_offset"`
	RawSize   uint64              `json:"raw_size"`
	Piece     int                 `json:"piece"` // which one of the sector, from 0

	Stored    string `json:"stored,omitempty"`  // storage path id; empty while it is not stored
	Unsealed  bool   `json:"unsealed"`          // an unsealed copy lies beside the replica
	Committed bool   `json:"committed"`         // the chain has the sector
	Removed   bool   `json:"removed,omitempty"` // the sector was given up
}

// PlacesOf gives the places of a piece in a sector.
func PlacesOf(r *Record, piece cid.Cid) (places []PiecePlace) {
	offsets, _ := Layout(r.Pieces)
	for i, p := range r.Pieces {
		if p.CID != piece {
			continue
		}
		at := PiecePlace{
			Sector: r.ID, Piece: i, Offset: offsets[i], Size: p.Size, RawOffset: uint64(offsets[i].Unpadded()), RawSize: p.RawSize,
			Committed: r.Activation != 0, Removed: r.Outcome == Removed,
		}
		if r.Stored != nil {
			at.Stored, at.Unsealed = r.Stored.Path, r.Stored.Digests[UnsealedFile] != ""
		}
		places = append(places, at)
	}
	return places
}

// ParsePieceCID reads a piece CID of version 1, or of version 2 (FRC-0069), which carries
// the number of raw bytes; that is 0 for version 1.
func ParsePieceCID(s string) (c cid.Cid, rawSize uint64, err error) {
	if c, err = cid.Decode(s); err != nil {
		return cid.Undef, 0, fmt.Errorf("%q is no CID: %w", s, err)
	}
	if _, err = commcid.CIDToDataCommitmentV1(c); err == nil {
		return c, 0, nil
	}
	if v1, raw, err := commcid.PieceCidV1FromV2(c); err == nil {
		return v1, raw, nil
	}
	return cid.Undef, 0, fmt.Errorf("%s is no piece CID (baga6ea4sea… or bafkzcib…): %w", s, err)
}

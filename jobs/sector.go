package jobs

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/filecoin-project/go-commp-utils/v2"
	"github.com/filecoin-project/go-commp-utils/v2/zerocomm"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
)

// SectorID names a sector for ever: numbers are never reused by a miner.
type SectorID struct {
	Miner  abi.ActorID
	Number abi.SectorNumber
}

// String gives the name that Filecoin's storage tools use for a sector's files,
// s-t0MINER-NUMBER, with t on every network.
func (id SectorID) String() string {
	return fmt.Sprintf("s-t0%d-%d", uint64(id.Miner), uint64(id.Number))
}

// ParseSectorID reads the form that [SectorID.String] writes and nothing else: a
// name from a queue or a URL becomes a path only through here.
func ParseSectorID(s string) (SectorID, error) {
	rest, ok := strings.CutPrefix(s, "s-t0")
	miner, number, ok2 := strings.Cut(rest, "-")
	if !ok || !ok2 {
		return SectorID{}, fmt.Errorf("%q is not a sector name like s-t01000-42", s)
	}
	m, err1 := strconv.ParseUint(miner, 10, 63)
	n, err2 := strconv.ParseUint(number, 10, 63)
	id := SectorID{Miner: abi.ActorID(m), Number: abi.SectorNumber(n)}
	if err1 != nil || err2 != nil || id.String() != s {
		return SectorID{}, fmt.Errorf("%q is not a sector name like s-t01000-42", s)
	}
	return id, nil
}

// MarshalText and UnmarshalText make a SectorID readable wherever JSON shows it.
func (id SectorID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (id *SectorID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseSectorID(string(b))
	return err
}

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
}

// CommD computes the sector's data commitment from its piece CIDs alone: no data
// is read. Pieces lie in order, each aligned to its own size, zeros between and
// after them; a sector without pieces (CC) holds zeros only.
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

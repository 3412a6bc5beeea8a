package jobs

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"
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

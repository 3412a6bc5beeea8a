package configs

import (
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	rlepluslazy "github.com/filecoin-project/go-bitfield/rle"
	"github.com/filecoin-project/go-state-types/abi"
	fbig "github.com/filecoin-project/go-state-types/big"
)

// Secret is a value that is never printed, logged or marshalled; [Secret.Reveal]
// gives it to the one place that needs it.
type Secret string

const hidden = "(hidden)"

// Reveal gives the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret from every verb that asks for a string.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString hides it from %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// LogValue hides it from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides it from JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes any text but the mark that hides one: a printed configuration is not
// a source of secrets.
func (s *Secret) UnmarshalText(b []byte) error {
	if string(b) == hidden {
		return fmt.Errorf("%s is what a secret is printed as, not a secret", hidden)
	}
	*s = Secret(strings.TrimRight(string(b), "\r\n"))
	return nil
}

// MinerID is a miner's ID address.
type MinerID abi.ActorID

// String gives the form of sector names, with t on every network.
func (m MinerID) String() string { return "t0" + strconv.FormatUint(uint64(m), 10) }

// MarshalText writes String.
func (m MinerID) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads t01000 or f01000.
func (m *MinerID) UnmarshalText(b []byte) error {
	id, err := ParseMiner(string(b))
	*m = MinerID(id)
	return err
}

// ParseMiner reads a miner's ID address, t01000 or f01000.
func ParseMiner(s string) (abi.ActorID, error) {
	a, err := address.NewFromString(s)
	if err != nil || a.Protocol() != address.ID {
		return 0, fmt.Errorf("%q is not an ID address like t01000", s)
	}
	id, err := address.IDFromAddress(a)
	return abi.ActorID(id), err
}

// Range is sector numbers First to Last, both included.
type Range struct{ First, Last abi.SectorNumber }

// String writes first-last.
func (r Range) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// Bits has the range's numbers set.
func (r Range) Bits() bitfield.BitField {
	runs := []rlepluslazy.Run{{Val: true, Len: uint64(r.Last-r.First) + 1}}
	if r.First > 0 {
		runs = slices.Insert(runs, 0, rlepluslazy.Run{Len: uint64(r.First)})
	}
	bits, err := bitfield.NewFromIter(&rlepluslazy.RunSliceIterator{Runs: runs})
	if err != nil {
		panic(err) // only for runs beyond 2^63
	}
	return bits
}

// MarshalText writes String.
func (r Range) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads first-last.
func (r *Range) UnmarshalText(b []byte) error {
	first, last, ok := strings.Cut(string(b), "-")
	f, err1 := strconv.ParseUint(first, 10, 63)
	l, err2 := strconv.ParseUint(last, 10, 63)
	if !ok || err1 != nil || err2 != nil || l < f || l > abi.MaxSectorNumber {
		return errors.New("not a range of sector numbers like 1000-1999")
	}
	*r = Range{abi.SectorNumber(f), abi.SectorNumber(l)}
	return nil
}

// Size is a number of bytes; 0 is empty text.
type Size uint64

// String writes it with the largest unit that leaves a whole number.
func (s Size) String() string {
	for _, unit := range []struct {
		name  string
		bytes Size
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if s%unit.bytes == 0 && s > 0 {
			return strconv.FormatUint(uint64(s/unit.bytes), 10) + unit.name
		}
	}
	if s == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(s), 10)
}

// MarshalText writes String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads 200GiB, 64 GB, or nothing.
func (s *Size) UnmarshalText(b []byte) error {
	if *s = 0; len(b) == 0 {
		return nil
	}
	n, err := humanize.ParseBytes(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a size like 200GiB", b)
	}
	*s = Size(n)
	return nil
}

// FIL is an amount of money, exact to the attoFIL.
type FIL struct{ atto fbig.Int }

// attoDigits is the number of decimals of one FIL.
const attoDigits = 18

// ParseFIL reads decimals with or without the unit, 0.5 or 0.5 FIL, and billionths: 2 nFIL.
func ParseFIL(s string) (FIL, error) {
	text, places := strings.TrimSpace(s), attoDigits
	if nano, ok := strings.CutSuffix(text, "nFIL"); ok {
		text, places = nano, attoDigits-9
	}
	whole, frac, _ := strings.Cut(strings.TrimSpace(strings.TrimSuffix(text, "FIL")), ".")
	digits := whole + frac
	if digits == "" || strings.Trim(digits, "0123456789") != "" || len(frac) > places {
		return FIL{}, fmt.Errorf("%q is not an amount like 0.5 FIL", s)
	}
	n, _ := new(big.Int).SetString(digits+strings.Repeat("0", places-len(frac)), 10)
	return FIL{fbig.Int{Int: n}}, nil
}

func milliFIL(n int64) FIL { return FIL{fbig.Mul(fbig.NewInt(n), fbig.NewInt(1e15))} }

// Atto is the amount in attoFIL.
func (f FIL) Atto() abi.TokenAmount {
	if f.atto.Int == nil {
		return fbig.Zero()
	}
	return f.atto
}

// String writes the amount with its unit and no trailing zeros.
func (f FIL) String() string {
	s := f.Atto().String()
	if len(s) <= attoDigits {
		s = strings.Repeat("0", attoDigits+1-len(s)) + s
	}
	whole, frac := s[:len(s)-attoDigits], strings.TrimRight(s[len(s)-attoDigits:], "0")
	if frac != "" {
		whole += "." + frac
	}
	return whole + " FIL"
}

// MarshalText writes String.
func (f FIL) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads what ParseFIL reads.
func (f *FIL) UnmarshalText(b []byte) (err error) {
	*f, err = ParseFIL(string(b))
	return err
}

package params

import (
	"context"
	"fmt"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/jobs"
)

// publicNetworks refuse proofs of test parameters, whatever an operator wants.
var publicNetworks = []string{"mainnet", "calibrationnet"}

// Need is what work with sectors of one size reads of a folder.
type Need struct {
	size  abi.SectorSize
	files []File
}

// Proving is what making SNARKs of a sector size takes.
func Proving(size abi.SectorSize) Need {
	return Need{size, Files([]abi.SectorSize{size}, PoRep)}
}

// Aggregating is what joining a sector size's SNARKs and verifying the outcome takes: the
// SRS of all sizes, and the size's verifying key.
func Aggregating(size abi.SectorSize) Need {
	key, ok := PoRepKey(size)
	if !ok {
		return Need{size: size}
	}
	return Need{size, append(Files(nil, Aggregate), key)}
}

// Ready sees that what is needed is there and good, and takes the digests of files that
// nobody took. A network that is public, or unknown (empty), needs production parameters;
// test says that these are not. Faults are of class Busy: the machine is to blame and not
// the sector.
func (d Dir) Ready(ctx context.Context, network string, n Need) (test bool, err error) {
	if len(n.files) == 0 {
		return false, jobs.Failf(jobs.Rejected, "there are no parameters for sectors of %d bytes", n.size)
	}
	all, err := d.Check(ctx, n.files, false, nil)
	if err != nil {
		return false, jobs.Failf(jobs.Busy, "%w", err)
	}
	test = slices.ContainsFunc(all, func(s Status) bool { return s.State == Test })
	for _, s := range all {
		if err := d.usable(s, network, n.size); err != nil {
			return test, err
		}
	}
	return test, nil
}

// Usable says by what is known already whether what is needed is there and good, and reads
// no file: one whose digest nobody took counts as good.
func (d Dir) Usable(network string, n Need) error {
	all, err := d.List(n.files)
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.State == Unchecked {
			continue
		}
		if err := d.usable(s, network, n.size); err != nil {
			return err
		}
	}
	return nil
}

// usable judges one file.
func (d Dir) usable(s Status, network string, size abi.SectorSize) error {
	switch s.State {
	case Production:
		return nil
	case Test:
		if network != "" && !slices.Contains(publicNetworks, network) {
			return nil
		}
		return jobs.Failf(jobs.Busy, "%s in %s is of test parameters, whose proofs network %q refuses: run lpseal params fetch in another folder and name it in FIL_PROOFS_PARAMETER_CACHE", s.Name, d, orUnknown(network))
	case Wrong:
		return jobs.Failf(jobs.Busy, "%s in %s has digest %s, not %s: it is damaged or of another origin; remove it and run lpseal params fetch", s.Name, d, s.Found, s.Digest)
	}
	fetch := "lpseal params fetch --sector-size " + sizeText(size)
	if s.Circuit == Aggregate {
		fetch += " --aggregate"
	}
	return jobs.Failf(jobs.Busy, "%s is %s in %s: run %s", s.Name, s.State, d, fetch)
}

func orUnknown(network string) string {
	if network == "" {
		return "unknown"
	}
	return network
}

func sizeText(size abi.SectorSize) string {
	switch {
	case size >= 1<<30:
		return fmt.Sprintf("%dGiB", size>>30)
	case size >= 1<<20:
		return fmt.Sprintf("%dMiB", size>>20)
	}
	return fmt.Sprintf("%dKiB", size>>10)
}

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

// Ready sees that the circuits' parameters of a sector size are there and good, and
// takes their digests if nobody did. A network that is public, or unknown (empty),
// needs production parameters; test says that these are not. Faults are of class
// Busy: the machine is to blame and not the sector.
func (d Dir) Ready(ctx context.Context, network string, size abi.SectorSize, circuits ...Circuit) (test bool, err error) {
	files := Files([]abi.SectorSize{size}, circuits...)
	if len(files) == 0 {
		return false, jobs.Failf(jobs.Rejected, "there are no parameters for sectors of %d bytes", size)
	}
	all, err := d.Check(ctx, files, false, nil)
	if err != nil {
		return false, jobs.Failf(jobs.Busy, "%w", err)
	}
	test = slices.ContainsFunc(all, func(s Status) bool { return s.State == Test })
	for _, s := range all {
		if err := d.usable(s, network, size); err != nil {
			return test, err
		}
	}
	return test, nil
}

// Usable says by what is known already whether the files are there and good, and reads
// none: one whose digest nobody took counts as good.
func (d Dir) Usable(network string, size abi.SectorSize, circuits ...Circuit) error {
	all, err := d.List(Files([]abi.SectorSize{size}, circuits...))
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.State == Unchecked {
			continue
		}
		if err := d.usable(s, network, size); err != nil {
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
	return jobs.Failf(jobs.Busy, "%s is %s in %s: run lpseal params fetch --sector-size %s", s.Name, s.State, d, sizeText(size))
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

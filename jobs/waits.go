package jobs

import (
	"fmt"
	"slices"
)

// WaitsFor says what a sector waits for that no stage is under way for, as far as its record
// alone tells: a list has a line for each of thousands. [Decide] knows exactly.
func (r *Record) WaitsFor() string {
	done := func(s Stage) bool { return r.Stage(s).State == Done }
	switch {
	case r.Home == "":
		return "waits for a place"
	case done(Commit) && r.Activation == 0:
		return "commit sent, waits to land"
	case done(PreCommit) && !r.PreCommitted():
		return "pre-commit sent, waits to land"
	case r.PreCommitted() && r.Activation == 0 && r.Seed.Value == nil:
		return "waits for the seed"
	case done(Finalize):
		return "committed, waits for its first proof"
	case done(C2) && done(Store) && !done(Commit):
		return "waits for a batch of commits"
	case done(C1) && !done(C2):
		return "waits for a lane for c2"
	case done(TreeRC) && !done(PreCommit):
		return "waits for a batch of pre-commits"
	}
	// Finalize, the last one, is not done.
	next := slices.IndexFunc(Stages, func(row *Row) bool { return !row.Recovery && !done(row.Stage) })
	return fmt.Sprintf("next is %s", Stages[next].Stage)
}

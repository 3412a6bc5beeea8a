package jobs

import "context"

// HandoverTo names the software that makes the WindowPoSts of stored sectors.
type HandoverTo string

// Who may prove.
const (
	HandoverNone       HandoverTo = "none" // an operator sees to it
	HandoverLotusMiner HandoverTo = "lotus-miner"
	HandoverCurio      HandoverTo = "curio"
)

// Handovers lists every choice, for configuration and tests.
var Handovers = []HandoverTo{HandoverNone, HandoverLotusMiner, HandoverCurio}

// Handover declares stored sectors to the software that proves them.
type Handover interface {
	// Declare tells that software where a stored sector's files are, makes sure that it
	// finds them there, and returns its name for the record. It may be repeated: what is
	// declared already stays so. Whatever keeps it from being done is mended outside the
	// sector, so every error is class Transient and says who must do what.
	Declare(ctx context.Context, r *Record, s *Stored) (by string, err error)
}

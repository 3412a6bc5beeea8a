package jobs

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
)

// SDR labels the layers: hours of sequential hashing, bound to the ticket.
const SDR Stage = "sdr"

var sdr = Row{
	Stage:    SDR,
	Title:    "label the layers (stacked DRG)",
	Classes:  []Class{ClassSDR},
	Place:    AtHome,
	Draw:     DrawTicket,
	Heavy:    true,
	Sharing:  Together,
	Timeout:  12 * time.Hour,
	MaxRetry: 8,
	Do:       doSDR,
}

func doSDR(ctx context.Context, env *Env, r *Record) (*Result, error) {
	home, err := env.Files.Home(ctx, r)
	if err != nil {
		return nil, err
	}
	seal := r.Seal()
	replica, err := seal.ReplicaID()
	if err != nil {
		return nil, err
	}
	if _, err := env.Files.Bind(ctx, r, Manifest{ReplicaID: hex.EncodeToString(replica[:]), Proof: r.Proof}); err != nil {
		return nil, err
	}
	if err := env.Prover.SDR(ctx, seal, home.Cache, env.Progress); err != nil {
		return nil, err
	}
	_, err = env.Files.Seal(ctx, r, LayerFiles(r.Proof)...)
	return &Result{}, err
}

// ReplicaID is what every label is hashed with: miner, number, ticket, CommD and
// proof type.
func (s Seal) ReplicaID() ([32]byte, error) {
	if len(s.Ticket) != abi.RandomnessLength {
		return [32]byte{}, Failf(Bug, "the ticket has %d bytes, not %d", len(s.Ticket), abi.RandomnessLength)
	}
	commD, err := CommitmentBytes(s.CommD)
	if err != nil {
		return [32]byte{}, fmt.Errorf("CommD: %w", err)
	}
	return s.Proof.ReplicaId(s.ID.Miner, s.ID.Number, s.Ticket, commD[:])
}

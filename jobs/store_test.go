package jobs

import (
	"context"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
)

type storing struct {
	Files
	calls int
}

func (s *storing) Store(context.Context, *Record, func(Progress)) (*Stored, error) {
	s.calls++
	return &Stored{Path: "p2", Digests: map[string]string{SealedFile: "ab"}}, nil
}

type proving struct{ err error }

func (p *proving) Declare(_ context.Context, _ *Record, s *Stored) (string, error) {
	return "lotus-miner t01000", p.err
}

// What is stored counts once whoever proves has answered for it, and repeating the stage
// gives the same answer.
func TestStoreEndsWithTheDeclaration(t *testing.T) {
	t.Parallel()
	files, prover := &storing{}, &proving{err: Failf(Transient, "the path is not attached")}
	env, r := &Env{Files: files, Handover: prover}, &Record{}
	_, err := doStore(t.Context(), env, r)
	fault, ok := Classify(t.Context(), err)
	require.True(t, ok)
	require.Equal(t, Transient, fault.Class)

	prover.err = nil
	first, err := doStore(t.Context(), env, r)
	require.NoError(t, err)
	require.Equal(t, "lotus-miner t01000", first.Stored.DeclaredTo)
	second, err := doStore(t.Context(), env, r)
	require.NoError(t, err)
	require.Equal(t, first.Answer(), second.Answer())
	require.Equal(t, 3, files.calls)

	env.Handover = nil
	alone, err := doStore(t.Context(), env, r)
	require.NoError(t, err)
	require.Empty(t, alone.Stored.DeclaredTo)
	require.Contains(t, RowOf(Commit).After, Store, "nobody commits what nobody will prove")
}

// Curio would mark the files of a sector that the chain does not know for removal.
func TestCurioGetsNoFilesOfAnUnknownSector(t *testing.T) {
	t.Parallel()
	stores := func(to HandoverTo, preCommitted abi.ChainEpoch) bool {
		r, f, p := before(t, Store)
		r.PreCommitEpoch, r.CommitDeadline, p.Handover = preCommitted, 100_000, to
		return startable(RowOf(Store), r, f, p).OK()
	}
	for _, to := range Handovers {
		require.Equal(t, to != HandoverCurio, stores(to, 0), to)
		require.True(t, stores(to, 9_950), to)
	}
}

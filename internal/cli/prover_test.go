package cli

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/native"
	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/internal/params"
	"github.com/lpseal/lpseal/jobs"
)

func TestProverOfALane(t *testing.T) {
	t.Parallel()
	o := backendOptions{log: slog.New(slog.DiscardHandler)}
	p, err := newProver(jobs.Lane{Prover: "native", Stages: []jobs.LaneStage{{Stage: jobs.SDR, Prover: "native"}}}, o)
	require.NoError(t, err)
	require.IsType(t, &native.Prover{}, p, "one kind needs no choice by stage")

	_, err = newProver(jobs.Lane{Prover: "native", Stages: []jobs.LaneStage{{Stage: jobs.C2, Prover: "quantum"}}}, o)
	require.ErrorContains(t, err, "prover quantum is not in this program, which has native")
	require.ErrorContains(t, err, "make build-ffi")
}

// named counts the calls of its stages.
type named struct {
	jobs.Prover
	calls *[]string
	name  string
}

func (n named) C2(_ context.Context, _ jobs.Seal, _ []byte) ([]byte, error) {
	*n.calls = append(*n.calls, n.name+" c2")
	return nil, nil
}

func (n named) Verify(_ context.Context, _ jobs.Seal, _, _ []byte) error {
	*n.calls = append(*n.calls, n.name+" verify")
	return nil
}

// TestStagedProverSealsByStage passes the suite with a prover for each stage, and has
// a proof verified by the kind that made it.
func TestStagedProverSealsByStage(t *testing.T) {
	t.Parallel()
	one := func() jobs.Prover { return native.New(native.Options{Threads: 1}) }
	var calls []string
	p := &stagedProver{one(), one(), one(), one(), one(), named{calls: &calls, name: "the one of c2"}}
	v := provertest.Named(t, "2k-data")
	s, f := provertest.Sealed(t, p, p, v)
	c1, err := p.C1(t.Context(), s, f)
	require.NoError(t, err)
	_, err = p.C2(t.Context(), s, c1)
	require.NoError(t, err)
	require.NoError(t, p.Verify(t.Context(), s, nil, c1))
	require.Equal(t, []string{"the one of c2 c2", "the one of c2 verify"}, calls)
	var data bytes.Buffer
	require.NoError(t, p.Unseal(t.Context(), s, f.Sealed, t.TempDir(), 0, uint64(len(v.Data())), &data, nil))
	require.Equal(t, v.Data(), data.Bytes())
}

// TestTestParametersByNetwork: refused where the network is public or unknown, used
// with one warning elsewhere.
func TestTestParametersByNetwork(t *testing.T) {
	dir := params.Dir(t.TempDir())
	t.Setenv("FIL_PROOFS_PARAMETER_CACHE", string(dir))
	script := "#!/bin/sh\ncd \"$FIL_PROOFS_PARAMETER_CACHE\"\n"
	for _, f := range params.Files([]abi.SectorSize{2048}, params.PoRep) {
		script += "echo " + f.CID + " > " + f.Name + "\n"
	}
	tool := filepath.Join(t.TempDir(), "testparams")
	require.NoError(t, os.WriteFile(tool, []byte(script), 0o755))
	require.NoError(t, dir.Generate(t.Context(), tool, 2048, 0))
	var warned []string
	warn := func(msg string, _ ...any) { warned = append(warned, msg) }
	for _, network := range []string{"mainnet", "calibrationnet", ""} {
		require.ErrorContains(t, proofParameters(network, warn)(t.Context(), 2048), "test parameters")
	}
	require.Empty(t, warned)
	check := proofParameters("2k", warn)
	require.NoError(t, check(t.Context(), 2048))
	require.NoError(t, check(t.Context(), 2048))
	require.Len(t, warned, 1)
}

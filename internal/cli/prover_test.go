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

	"github.com/lpseal/lpseal/configs"
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
	require.ErrorContains(t, err, `there is no prover "quantum"`)
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

// testParameters makes a folder of test parameters for 2 KiB, as a library would use it.
func testParameters(t *testing.T) params.Dir {
	dir := params.Dir(t.TempDir())
	t.Setenv("FIL_PROOFS_PARAMETER_CACHE", string(dir))
	script := "#!/bin/sh\ncd \"$FIL_PROOFS_PARAMETER_CACHE\"\n"
	for _, f := range params.Files([]abi.SectorSize{2048}, params.PoRep) {
		script += "echo " + f.CID + " > " + f.Name + "\n"
	}
	tool := filepath.Join(t.TempDir(), "testparams")
	require.NoError(t, os.WriteFile(tool, []byte(script), 0o755))
	require.NoError(t, dir.Generate(t.Context(), tool, 2048, 0))
	return dir
}

// TestTestParametersByNetwork: refused where the network is public or unknown, used
// with one warning elsewhere.
func TestTestParametersByNetwork(t *testing.T) {
	testParameters(t)
	var warned []string
	warn := func(msg string, _ ...any) { warned = append(warned, msg) }
	for _, network := range []string{"mainnet", "calibrationnet", ""} {
		require.ErrorContains(t, proofParameters(network, params.Proving, warn)(t.Context(), 2048), "test parameters")
	}
	require.Empty(t, warned)
	check := proofParameters("2k", params.Proving, warn)
	require.NoError(t, check(t.Context(), 2048))
	require.NoError(t, check(t.Context(), 2048))
	require.Len(t, warned, 1)
}

// TestParametersAreLookedAtBeforeAnythingIsSealed: a lane that makes SNARKs says from
// its first heartbeat on why they would not count, and no other lane does.
func TestParametersAreLookedAtBeforeAnythingIsSealed(t *testing.T) {
	dir := testParameters(t)
	c := &cluster{cfg: &configs.Config{}, logs: quietLogs(t)}
	gpu := jobs.Lane{Class: jobs.ClassGPU, GPU: "a", Prover: "filcrypto"}
	says := func(network string, proofs ...abi.RegisteredSealProof) string {
		s := surroundings{network: jobs.Network{Name: network}, proofs: proofs}
		said := c.watchParameters(t.Context(), s, []jobs.Lane{gpu})
		require.Empty(t, said(jobs.Lane{Class: jobs.ClassCPU, Prover: "filcrypto"}))
		require.Empty(t, said(jobs.Lane{Class: jobs.ClassGPU, GPU: "b", Prover: jobs.NativeProver}))
		return said(gpu)
	}
	small := abi.RegisteredSealProof_StackedDrg2KiBV1_1
	require.Empty(t, says("2k", small))
	require.Empty(t, says("2k"), "no miner is known: those that are there count")
	for _, network := range []string{"mainnet", "calibrationnet"} {
		require.Contains(t, says(network, small), "is of test parameters, whose proofs network \""+network+"\" refuses")
		require.Contains(t, says(network), "is of test parameters")
	}
	require.Contains(t, says("2k", whole, small), "is missing in "+string(dir)+": run lpseal params fetch --sector-size 32GiB")
	key, _ := params.PoRepKey(2048)
	require.NoError(t, os.WriteFile(filepath.Join(string(dir), key.Name), []byte("cut"), 0o644))
	require.Contains(t, says("2k", small), "it is damaged or of another origin")

	t.Setenv("FIL_PROOFS_PARAMETER_CACHE", filepath.Join(t.TempDir(), "none"))
	require.Contains(t, says("mainnet"), "no proof parameters in ")
	require.Contains(t, says("mainnet", whole), "is missing in")
}

// TestDoctorReadsNoParameters, and yet says what is known of them.
func TestDoctorReadsNoParameters(t *testing.T) {
	dir := testParameters(t)
	look := func(network string) *doctor {
		d := &doctor{cluster: &cluster{}}
		d.parameters("gpu a", surroundings{network: jobs.Network{Name: network}, proofs: []abi.RegisteredSealProof{abi.RegisteredSealProof_StackedDrg2KiBV1_1}})
		return d
	}
	require.Equal(t, "lane gpu a: its proof parameters are in "+string(dir), look("2k").Findings[0].Text)
	all, err := dir.Check(t.Context(), params.Files([]abi.SectorSize{2048}, params.PoRep), false, nil)
	require.NoError(t, err)
	require.Equal(t, params.Test, all[0].State)
	require.Equal(t, failed, look("mainnet").Findings[0].Status)
	require.Contains(t, look("mainnet").Findings[0].Text, "test parameters")
}

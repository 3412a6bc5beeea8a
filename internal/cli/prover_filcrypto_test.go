//go:build filcrypto

package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/internal/params"
	"github.com/lpseal/lpseal/jobs"
)

// TestEmbeddedNodeJudgesAggregates with the test parameters of this machine: what is no
// aggregate is refused for itself, and not because of them.
func TestEmbeddedNodeJudgesAggregates(t *testing.T) {
	dir, err := params.TestDir()
	require.NoError(t, err)
	t.Setenv("FIL_PROOFS_PARAMETER_CACHE", string(dir))
	s := provertest.Named(t, "2k-data").Seal(t)
	seals := make([]jobs.Seal, 4)
	for i := range seals {
		seals[i] = s
		seals[i].ID.Number += abi.SectorNumber(i)
	}
	var fault *jobs.Fault
	require.ErrorAs(t, verifyAggregate(t.Context(), seals, []byte("no aggregate")), &fault)
	require.Equal(t, jobs.Input, fault.Class, fault.Text)

	t.Setenv("FIL_PROOFS_PARAMETER_CACHE", t.TempDir())
	require.ErrorAs(t, verifyAggregate(t.Context(), seals, []byte("no aggregate")), &fault)
	require.Equal(t, jobs.Busy, fault.Class, fault.Text)
}

// TestAggregateChild: what a scheduler's child finds wrong comes back in its report. Its
// input stays open: at its end it takes whoever asked for gone, and exits.
func TestAggregateChild(t *testing.T) {
	t.Setenv("FIL_PROOFS_PARAMETER_CACHE", t.TempDir())
	t.Setenv(networkEnv, "2k")
	s := provertest.Named(t, "2k-data").Seal(t)
	request, err := json.Marshal(map[string]any{"seals": []jobs.Seal{s, s, s, s}, "snarks": make([][]byte, 4)})
	require.NoError(t, err)
	in, say := io.Pipe() // never closed
	go func() { _, _ = say.Write(request) }()
	var out, errs bytes.Buffer
	require.Equal(t, exitOK, Run(t.Context(), []string{"aggregate"}, in, &out, &errs), errs.String())
	var report struct{ Fault *jobs.Fault }
	require.NoError(t, json.Unmarshal(out.Bytes(), &report))
	require.NotNil(t, report.Fault)
	require.Equal(t, jobs.Busy, report.Fault.Class)
	require.Contains(t, report.Fault.Text, "lpseal params fetch --sector-size 2KiB --aggregate")
}

// TestDoctorSeesTheSRS: without it all works, but dearer, and nobody would ask why.
func TestDoctorSeesTheSRS(t *testing.T) {
	look := func(cfg configs.Config) []finding {
		d := &doctor{cluster: &cluster{cfg: &cfg}}
		d.aggregation(surroundings{network: jobs.Network{Name: "2k"}, proofs: []abi.RegisteredSealProof{abi.RegisteredSealProof_StackedDrg2KiBV1_1}})
		return d.Findings
	}
	t.Setenv("FIL_PROOFS_PARAMETER_CACHE", t.TempDir())
	cfg := configs.Default()
	found := look(cfg)
	require.Len(t, found, 1)
	require.Equal(t, warned, found[0].Status)
	require.Contains(t, found[0].Text, "v28-fil-inner-product-v1.srs is missing")

	never, few := cfg, cfg
	never.Chain.Aggregate = "off"
	few.Policy.Commits.Max = 3
	require.Empty(t, look(never))
	require.Empty(t, look(few))

	dir, err := params.TestDir()
	require.NoError(t, err)
	t.Setenv("FIL_PROOFS_PARAMETER_CACHE", string(dir))
	require.Equal(t, fine, look(cfg)[0].Status)
}

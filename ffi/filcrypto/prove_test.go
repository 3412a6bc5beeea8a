//go:build filcrypto

package filcrypto_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/filcrypto"
	"github.com/lpseal/lpseal/ffi/native"
	"github.com/lpseal/lpseal/ffi/native/groth16"
	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/internal/params"
	"github.com/lpseal/lpseal/jobs"
)

// parameters is the folder of test parameters, which .ci/ffi makes first.
var parameters params.Dir

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "child" {
		os.Exit(childMain(os.Args[2]))
	}
	dir, err := params.TestDir()
	if err == nil {
		err = os.Setenv("FIL_PROOFS_PARAMETER_CACHE", string(dir)) // the library reads it once
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	parameters = dir
	os.Exit(m.Run())
}

const size2KiB = abi.SectorSize(2 << 10)

// provesWithTestParameters is a prover that checks its parameters first.
func provesWithTestParameters(t testing.TB) *filcrypto.Prover {
	p := proverWith(t, parameters)
	for _, n := range []params.Need{params.Proving(size2KiB), params.Aggregating(size2KiB)} {
		_, err := parameters.Ready(t.Context(), "test", n)
		require.NoError(t, err, "make them: lpseal params generate --sector-size 2KiB --aggregate 1024")
	}
	return p
}

// proverWith is a prover that trusts a folder of test parameters.
func proverWith(t testing.TB, dir params.Dir) *filcrypto.Prover {
	ready := func(need func(abi.SectorSize) params.Need) func(context.Context, abi.SectorSize) error {
		return func(ctx context.Context, size abi.SectorSize) error {
			_, err := dir.Ready(ctx, "test", need(size))
			return err
		}
	}
	p, err := filcrypto.New(filcrypto.Options{Parameters: ready(params.Proving), Aggregates: ready(params.Aggregating)})
	require.NoError(t, err)
	return p
}

// TestProvesAndAggregates makes a real proof, has it verified by the library and in
// pure Go, and aggregates it. The tests are one because each proof costs a minute.
func TestProvesAndAggregates(t *testing.T) {
	p := provesWithTestParameters(t)
	key, ok := params.PoRepKey(size2KiB)
	require.True(t, ok)
	file, err := os.ReadFile(filepath.Join(string(parameters), key.Name))
	require.NoError(t, err)
	vk, err := groth16.ParseVerifyingKey(file)
	require.NoError(t, err)
	var s, wrong jobs.Seal
	var snark []byte
	for _, name := range []string{"2k-synthetic-data", "2k-data"} {
		s, snark = provertest.Prove(t, p, name)
		require.NoError(t, native.VerifyPoRep(vk, s, snark), "in pure Go")
		wrong = s
		wrong.ID.Number++
		require.Error(t, native.VerifyPoRep(vk, wrong, snark))
	}

	// One proof many times is an aggregate as good as any. Five are no power of two: the library fills up to eight.
	for _, n := range []int{5, jobs.MinAggregate} {
		seals, snarks := slices.Repeat([]jobs.Seal{s}, n), slices.Repeat([][]byte{snark}, n)
		aggregate, err := p.Aggregate(t.Context(), seals, snarks)
		require.NoError(t, err)
		require.NoError(t, p.VerifyAggregate(t.Context(), seals, aggregate))
		seals[n-1] = wrong
		require.Error(t, p.VerifyAggregate(t.Context(), seals, aggregate))
	}
	seals, snarks := slices.Repeat([]jobs.Seal{s}, 4), slices.Repeat([][]byte{snark}, 4)
	aggregate, err := p.Aggregate(t.Context(), seals, snarks)
	require.NoError(t, err)
	aggregate[len(aggregate)/2] ^= 1
	require.Error(t, p.VerifyAggregate(t.Context(), seals, aggregate))
	_, err = p.Aggregate(t.Context(), seals[:3], snarks[:3])
	requireClass(t, err, jobs.Rejected)
	_, err = p.Aggregate(t.Context(), seals, snarks[:3])
	requireClass(t, err, jobs.Bug)
	other := s
	other.ID.Miner++
	_, err = p.Aggregate(t.Context(), []jobs.Seal{s, s, s, other}, snarks)
	requireClass(t, err, jobs.Bug)
}

func requireClass(t *testing.T, err error, want jobs.FaultClass) {
	t.Helper()
	f, ok := jobs.Classify(t.Context(), err)
	require.True(t, ok)
	require.Equal(t, want, f.Class, err)
}

// TestC1OutputsThatAreNotOfTheSeal never reach the circuit.
func TestC1OutputsThatAreNotOfTheSeal(t *testing.T) {
	t.Parallel()
	p, v := newProver(t), provertest.Named(t, "2k-data")
	s, f := provertest.Sealed(t, p, p, v)
	c1, err := p.C1(t.Context(), s, f)
	require.NoError(t, err)
	other := s
	other.Seed = provertest.Named(t, "2k-cc").Seal(t).Seed
	zero := s
	zero.Seed = make([]byte, 32)
	size := s
	size.Proof = 6
	for what, c := range map[string]struct {
		seal  jobs.Seal
		c1    []byte
		class jobs.FaultClass
	}{
		"cut short":             {s, c1[:len(c1)/2], jobs.Input},
		"empty":                 {s, nil, jobs.Input},
		"another seed":          {other, c1, jobs.Input},
		"zero seed":             {zero, c1, jobs.Bug},
		"another proof type":    {size, c1, jobs.Input},
		"something else's JSON": {s, []byte(`{"registered_proof":"StackedDrg2KiBV1_1","comm_r":[300]}`), jobs.Input},
	} {
		_, err := p.C2(t.Context(), c.seal, c.c1)
		require.Error(t, err, what)
		requireClass(t, err, c.class)
	}
}

// TestBadParametersAreNotUsed asks for a proof with files that are missing, cut short
// or of unknown origin. Nothing is proven.
func TestBadParametersAreNotUsed(t *testing.T) {
	t.Parallel()
	v := provertest.Named(t, "2k-data")
	dir := params.Dir(t.TempDir())
	p := proverWith(t, dir)
	s, f := provertest.Sealed(t, p, p, v)
	c1, err := p.C1(t.Context(), s, f)
	require.NoError(t, err)

	_, err = p.C2(t.Context(), s, c1)
	requireClass(t, err, jobs.Busy)
	require.ErrorContains(t, err, "is missing in "+string(dir)+": run lpseal params fetch --sector-size 2KiB")

	seals := []jobs.Seal{s, s, s, s}
	requireClass(t, p.VerifyAggregate(t.Context(), seals, nil), jobs.Busy)
	require.ErrorContains(t, p.VerifyAggregate(t.Context(), seals, nil), "run lpseal params fetch --sector-size 2KiB --aggregate")

	for _, file := range params.Files([]abi.SectorSize{size2KiB}, params.PoRep, params.Aggregate) {
		require.NoError(t, os.WriteFile(filepath.Join(string(dir), file.Name), []byte("not parameters"), 0o644))
	}
	_, err = p.C2(t.Context(), s, c1)
	requireClass(t, err, jobs.Busy)
	require.ErrorContains(t, err, "it is damaged or of another origin")
	requireClass(t, p.Verify(t.Context(), s, make([]byte, 192), nil), jobs.Busy)
	_, err = p.Aggregate(t.Context(), seals, make([][]byte, 4))
	requireClass(t, err, jobs.Busy)
	require.ErrorContains(t, err, "it is damaged or of another origin", "and the library never read it")
}

// BenchmarkC2 shows what a process that keeps the parameters in memory saves: the
// first proof reads them, the second does not.
func BenchmarkC2(b *testing.B) {
	p, v := provesWithTestParameters(b), provertest.Named(b, "2k-data")
	s, f := provertest.Sealed(b, p, p, v)
	c1, err := p.C1(b.Context(), s, f)
	require.NoError(b, err)
	for _, which := range []string{"first-s", "second-s"} {
		start := time.Now()
		_, err := p.C2(b.Context(), s, c1)
		require.NoError(b, err)
		b.ReportMetric(time.Since(start).Seconds(), which)
	}
	if pages, err := os.ReadFile("/proc/self/statm"); err == nil { // elsewhere it is not told
		var size, resident int
		_, err := fmt.Sscan(string(pages), &size, &resident)
		require.NoError(b, err)
		b.ReportMetric(float64(resident*os.Getpagesize())/1e6, "idle-MB")
	}
}

// TestManifestIsTheLibrarys: the digests that parameters are known by are those of
// the filecoin-ffi that is built.
func TestManifestIsTheLibrarys(t *testing.T) {
	t.Parallel()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/filecoin-project/filecoin-ffi").Output()
	require.NoError(t, err)
	for ours, theirs := range map[string]string{"parameters.json": "parameters.json", "srs.json": "srs-inner-product.json"} {
		want, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), theirs))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join("..", "..", "internal", "params", ours))
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), theirs)
	}
}

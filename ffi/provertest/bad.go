package provertest

import (
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

func requireClass(t testing.TB, err error, want jobs.FaultClass, what string) {
	require.Error(t, err, what)
	require.Equal(t, want, faultOf(t, err).Class, "%s: %v", what, err)
}

func faultOf(t testing.TB, err error) *jobs.Fault {
	fault, ok := jobs.Classify(context.Background(), err)
	require.True(t, ok, err)
	return fault
}

// BadInput gives a backend what must not be sealed or proven. Every error has its
// class of design §5; none is a proof.
func BadInput(t *testing.T, p jobs.Prover) {
	t.Run("seals that cannot be", func(t *testing.T) { t.Parallel(); badSeals(t, p) })
	t.Run("a piece that is another", func(t *testing.T) { t.Parallel(); badPieces(t, p) })
	t.Run("files that are not the seal's", func(t *testing.T) { t.Parallel(); badFiles(t, p) })
	t.Run("layers of another seal", func(t *testing.T) { t.Parallel(); foreignLayers(t, p) })
	t.Run("an ended context", func(t *testing.T) { t.Parallel(); ended(t, p) })
}

func badSeals(t *testing.T, p jobs.Prover) {
	good := Named(t, "2k-cc").Seal(t)
	for what, c := range map[string]struct {
		change func(*jobs.Seal)
		class  jobs.FaultClass
		text   string
	}{
		"non-interactive": {func(s *jobs.Seal) { s.Proof = 15 }, jobs.Rejected, "seal proof 15"},
		"unknown proof":   {func(s *jobs.Seal) { s.Proof = 99 }, jobs.Rejected, "seal proof 99"},
		"negative proof":  {func(s *jobs.Seal) { s.Proof = -1 }, jobs.Rejected, "seal proof -1"},
		"short ticket":    {func(s *jobs.Seal) { s.Ticket = s.Ticket[1:] }, jobs.Bug, "ticket"},
		"zero ticket":     {func(s *jobs.Seal) { s.Ticket = make([]byte, 32) }, jobs.Bug, "ticket"},
	} {
		s := good
		c.change(&s)
		err := p.SDR(t.Context(), s, t.TempDir(), nil)
		requireClass(t, err, c.class, what)
		require.ErrorContains(t, err, c.text, what)
		require.ErrorContains(t, err, s.ID.String(), what)
	}
}

func badPieces(t *testing.T, p jobs.Prover) {
	v := Named(t, "2k-data")
	for what, change := range map[string]func(*jobs.PieceReader){
		"other data":        func(r *jobs.PieceReader) { r.Reader = bytes.NewReader(make([]byte, r.RawSize)) },
		"short":             func(r *jobs.PieceReader) { r.Reader = bytes.NewReader(v.Data()[:100]) },
		"beyond the sector": func(r *jobs.PieceReader) { r.Size *= 2 },
	} {
		pieces := v.Pieces()
		change(&pieces[0])
		dir := t.TempDir()
		_, err := p.TreeD(t.Context(), v.Proof, dir, pieces, nil)
		requireClass(t, err, jobs.Data, what)
		require.NoFileExists(t, filepath.Join(dir, jobs.TreeDFile), what)
	}
}

func badFiles(t *testing.T, p jobs.Prover) {
	v := Named(t, "2k-data")
	s, f := Sealed(t, p, p, v)

	zero := s
	zero.Seed = make([]byte, 32)
	_, err := p.C1(t.Context(), zero, f)
	requireClass(t, err, jobs.Bug, "zero seed")
	require.ErrorContains(t, err, "seed")

	size := s
	size.Proof = Named(t, "8m-cc").Proof
	_, err = p.C1(t.Context(), size, f)
	requireClass(t, err, jobs.Input, "a proof type of another sector size")

	sector := s
	sector.ID.Number++
	_, err = p.C1(t.Context(), sector, f)
	requireClass(t, err, jobs.Input, "the files of another sector")

	ticket := s
	ticket.Ticket = bytes.Repeat([]byte{7}, 32)
	_, err = p.C1(t.Context(), ticket, f)
	requireClass(t, err, jobs.Input, "the files of another ticket")

	other := s
	other.CommD = Named(t, "2k-cc").Seal(t).CommD
	_, err = p.TreeRC(t.Context(), other, f, nil)
	requireClass(t, err, jobs.Input, "the data tree of other data")
	require.Equal(t, jobs.TreeD, faultOf(t, err).From)

	layer := filepath.Join(f.Cache, jobs.LayerFiles(s.Proof)[0])
	require.NoError(t, os.Truncate(layer, int64(v.Size)-32))
	_, err = p.TreeRC(t.Context(), s, f, nil)
	requireClass(t, err, jobs.Input, "a layer cut short")
	require.NoError(t, os.Remove(layer))
	_, err = p.TreeRC(t.Context(), s, f, nil)
	requireClass(t, err, jobs.Input, "a layer gone")
	require.True(t, faultOf(t, err).Missing)

	b, err := os.ReadFile(f.Sealed)
	require.NoError(t, err)
	for i := range b {
		b[i] ^= 1 // every challenge meets it
	}
	require.NoError(t, os.WriteFile(f.Sealed, b, 0o644))
	_, err = p.C1(t.Context(), s, f)
	requireClass(t, err, jobs.Input, "a replica that was changed")
}

// foreignLayers resumes in the cache folder of another ticket, or of another sector,
// whose manifest was lost. Layers are known by their size alone, so all goes well until
// the first vanilla proof: the self-check after tree_rc, before anything is sent.
func foreignLayers(t *testing.T, p jobs.Prover) {
	v := Named(t, "2k-data")
	for what, change := range map[string]func(*jobs.Seal){
		"another ticket": func(s *jobs.Seal) { s.Ticket = bytes.Repeat([]byte{7}, 32) },
		"another sector": func(s *jobs.Seal) { s.ID.Number++ },
	} {
		s, f := Sealed(t, p, p, v)
		change(&s)
		require.NoError(t, p.SDR(t.Context(), s, f.Cache, nil), what)
		commR, err := p.TreeRC(t.Context(), s, f, nil)
		require.NoError(t, err, what)
		require.Equal(t, v.CommR, commR.String(), "%s: the layers are the old ones", what)
		s.CommR, s.Seed = commR, bytes.Repeat([]byte{9}, 32)
		_, err = p.C1(t.Context(), s, f)
		requireClass(t, err, jobs.Input, what)
	}
}

func ended(t *testing.T, p jobs.Prover) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	v := Named(t, "2k-cc")
	s, f := v.Seal(t), Folders(t)
	require.ErrorIs(t, p.SDR(ctx, s, f.Cache, nil), context.Canceled)
	_, err := p.TreeRC(ctx, s, f, nil)
	require.Error(t, err)
	left, err := os.ReadDir(f.Cache)
	require.NoError(t, err)
	require.Empty(t, left)
}

// Prove makes and checks a proof of each vector's C1 output, and asserts that no
// other sector, seed or commitment passes with it. It returns the last proof.
func Prove(t testing.TB, p jobs.Prover, names ...string) (jobs.Seal, []byte) {
	var s jobs.Seal
	var proof []byte
	for _, name := range names {
		v := Named(t, name)
		var f jobs.Folders
		s, f = Sealed(t, p, p, v)
		c1, err := p.C1(t.Context(), s, f)
		require.NoError(t, err)
		_, err = p.C2(t.Context(), s, nil)
		requireClass(t, err, jobs.Input, "an empty vanilla proof")
		proof, err = p.C2(t.Context(), s, c1)
		require.NoError(t, err)
		require.Len(t, proof, 192)
		require.NoError(t, p.Verify(t.Context(), s, proof, c1))
		wrong := func(what string, change func(*jobs.Seal)) {
			other := s
			change(&other)
			requireClass(t, p.Verify(t.Context(), other, proof, c1), jobs.Input, what)
		}
		wrong("number", func(s *jobs.Seal) { s.ID.Number++ })
		wrong("miner", func(s *jobs.Seal) { s.ID.Miner++ })
		wrong("ticket", func(s *jobs.Seal) { s.Ticket = bytes.Repeat([]byte{1}, 32) })
		wrong("seed", func(s *jobs.Seal) { s.Seed = bytes.Repeat([]byte{1}, 32) })
		wrong("CommD", func(s *jobs.Seal) { s.CommD = Named(t, "8m-data").Seal(t).CommD })
		wrong("CommR", func(s *jobs.Seal) { s.CommR = Named(t, "8m-data").Seal(t).CommR })
		flipped := bytes.Clone(proof)
		flipped[len(flipped)-1] ^= 1
		requireClass(t, p.Verify(t.Context(), s, flipped, c1), jobs.Input, hex.EncodeToString(flipped[:4]))
	}
	return s, proof
}

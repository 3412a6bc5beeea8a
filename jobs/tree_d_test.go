package jobs_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// shelf is pieces and a prover that reads them; it notes what is open.
type shelf struct {
	jobs.Prover
	jobs.Files
	open, most int
	broken     string // the source that cannot be opened
	read       string
}

func (s *shelf) Open(_ context.Context, p jobs.Piece) (io.ReadCloser, error) {
	if p.Source == s.broken {
		return nil, jobs.Failf(jobs.Transient, "%s is away", p.Source)
	}
	s.open++
	s.most = max(s.most, s.open)
	return &volume{strings.NewReader(p.Source), s}, nil
}

type volume struct {
	io.Reader
	*shelf
}

func (v *volume) Close() error {
	v.open--
	return nil
}

func (s *shelf) Home(context.Context, *jobs.Record) (jobs.Folders, error) { return jobs.Folders{}, nil }

func (s *shelf) Seal(context.Context, *jobs.Record, ...string) (map[string]string, error) {
	return nil, nil
}

func (s *shelf) TreeD(_ context.Context, _ abi.RegisteredSealProof, _ string, pieces []jobs.PieceReader, _ func(jobs.Progress)) (cid.Cid, error) {
	for _, p := range pieces {
		b, err := io.ReadAll(p)
		if err != nil {
			return cid.Undef, err
		}
		s.read += string(b)
		if n, err := p.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
			return cid.Undef, errors.New("there is more after the end")
		}
	}
	return cid.Undef, nil
}

// TestPiecesAreOpenedInTurn: a source that stays open unread, while those before it are read
// for minutes, is cut off by its server, at every try.
func TestPiecesAreOpenedInTurn(t *testing.T) {
	t.Parallel()
	s := &shelf{}
	env := &jobs.Env{Prover: s, Files: s, Pieces: s}
	r := &jobs.Record{Pieces: []jobs.Piece{{Source: "one "}, {Source: "two "}, {Source: "three"}}}
	do := jobs.RowOf(jobs.TreeD).Do
	_, err := do(t.Context(), env, r)
	require.NoError(t, err)
	require.Equal(t, "one two three", s.read)
	require.Equal(t, 1, s.most)
	require.Zero(t, s.open)

	// What cannot be had is found out before anything is read.
	s.read, s.broken = "", "three"
	_, err = do(t.Context(), env, r)
	var fault *jobs.Fault
	require.ErrorAs(t, err, &fault)
	require.Equal(t, jobs.Transient, fault.Class)
	require.ErrorContains(t, err, "piece 2")
	require.Empty(t, s.read)
	require.Zero(t, s.open)
}

package cli

import (
	"bytes"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/filecoin-project/go-commp-utils/v2/zerocomm"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/jobs"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		size uint64
		want []part
	}{
		{"a byte is the smallest piece", 1, []part{{0, 1, 128, true}}},
		{"127 bytes fill it", 127, []part{{0, 127, 128, true}}},
		{"one more needs the next power of two", 128, []part{{0, 128, 256, true}}},
		{"a whole sector", 2032, []part{{0, 2032, 2048, true}}},
		{"one byte more goes to a second one", 2033, []part{{0, 2032, 2048, false}, {2032, 1, 128, false}}},
		{"two and a half", 2032*2 + 1016, []part{{0, 2032, 2048, false}, {2032, 2032, 2048, false}, {4064, 1016, 1024, false}}},
	} {
		require.Equal(t, c.want, split(c.size, 2048), c.name)
	}
}

// Pieces lie where CommD says: aligned to their own size, which leaves a gap before a larger one.
func TestExtents(t *testing.T) {
	t.Parallel()
	require.Equal(t, []extent{{0, 100}, {254, 200}, {508, 5}}, extents([]jobs.Piece{
		{Size: 128, RawSize: 100}, {Size: 256, RawSize: 200}, {Size: 128, RawSize: 5},
	}))
}

func TestCommPOfZeros(t *testing.T) {
	t.Parallel()
	p := part{size: 100, padded: 1024}
	got, err := p.commP(abi.RegisteredSealProof_StackedDrg2KiBV1_1, bytes.NewReader(make([]byte, 100)))
	require.NoError(t, err)
	require.Equal(t, zerocomm.ZeroPieceCommitment(abi.PaddedPieceSize(1024).Unpadded()), got, "the rest of a piece is zeros")
}

func TestPartIsReadFromItsOffset(t *testing.T) {
	t.Parallel()
	b, err := io.ReadAll(part{offset: 2, size: 3}.open(bytes.NewReader([]byte("0123456789"))))
	require.NoError(t, err)
	require.Equal(t, "234", string(b))
}

func TestLogLevelsByPart(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l, err := newLogs(configs.Log{Level: "warn,chain=debug", Format: "json"}, &out)
	require.NoError(t, err)
	l.of("worker").Info("not this")
	l.of("worker").With("sector", "s-t01000-1").Warn("this")
	l.of("chain").Debug("and this")
	l.of("chain").Info("secret", slog.Any("token", configs.Secret("sesame")))
	require.NotContains(t, out.String(), "not this")
	require.NotContains(t, out.String(), "sesame")
	require.Contains(t, out.String(), `"msg":"this","part":"worker","sector":"s-t01000-1"`)
	require.Contains(t, out.String(), `"msg":"and this","part":"chain"`)
}

// go-redis's own lines would be a second telling of errors that commands return.
func TestGoRedisSpeaksOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	for level, want := range map[string]string{"info": "", "info,redis=debug": `"msg":"dialing r1 again","part":"redis"`} {
		var out bytes.Buffer
		l, err := newLogs(configs.Log{Level: level, Format: "json"}, &out)
		require.NoError(t, err)
		redisLog{l.of("redis")}.Printf(t.Context(), "dialing %s again", "r1")
		require.Contains(t, out.String(), want)
		require.Equal(t, want == "", out.Len() == 0)
	}
}

func TestNameOf(t *testing.T) {
	t.Parallel()
	for by, want := range map[string]string{"h1/main@WYIUZ2JR6H": "h1/main", "ann@desk": "ann@desk", "scheduler/s1": "scheduler/s1", "web/10.0.0.7": "web/10.0.0.7", "": ""} {
		require.Equal(t, want, nameOf(by), by)
	}
}

func TestOpenSectorsAreListedFirst(t *testing.T) {
	t.Parallel()
	at := time.Unix(1, 0)
	lines := []sectorLine{
		{State: "committed", Text: "early", Since: at}, {State: "open", Text: "a"}, {State: "removed", Text: "late", Since: at.Add(time.Second)},
		{State: "held", Text: "b"}, {State: "open", Text: "c"},
	}
	slices.SortStableFunc(lines, firstOpen)
	var got []string
	for _, l := range lines {
		got = append(got, l.Text)
	}
	require.Equal(t, []string{"a", "b", "c", "late", "early"}, got)
}

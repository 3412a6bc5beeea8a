package cli

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCut takes ranges out of two pieces with a gap between them.
func TestCut(t *testing.T) {
	t.Parallel()
	pieces := []extent{{0, 100}, {254, 50}}
	for _, c := range []struct {
		offset, size uint64
		want         []extent
	}{
		{0, 0, pieces},
		{0, 150, pieces},
		{0, 100, []extent{{0, 100}}},
		{10, 20, []extent{{10, 20}}},
		{99, 2, []extent{{99, 1}, {254, 1}}},
		{100, 0, []extent{{254, 50}}},
		{149, 1, []extent{{303, 1}}},
		{150, 0, nil},
	} {
		got, err := cut(pieces, c.offset, c.size)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%d bytes from %d", c.size, c.offset)
	}
	for _, beyond := range [][2]uint64{{151, 0}, {150, 1}, {0, 151}, {1, 1<<64 - 1}} {
		_, err := cut(pieces, beyond[0], beyond[1])
		require.ErrorContains(t, err, "go beyond the data")
		require.Equal(t, exitRefused, exitCode(err))
	}
}

// TestPadded: what travels is the units that a range touches, once.
func TestPadded(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ extents, want []extent }{
		"one byte":             {[]extent{{126, 1}}, []extent{{0, 128}}},
		"across a unit's end":  {[]extent{{126, 2}}, []extent{{0, 256}}},
		"whole units":          {[]extent{{127, 254}}, []extent{{128, 256}}},
		"the whole of 2 KiB":   {[]extent{{0, 2032}}, []extent{{0, 2048}}},
		"neighbours in a unit": {[]extent{{0, 100}, {110, 10}}, []extent{{0, 128}}},
		"neighbours":           {[]extent{{0, 127}, {127, 127}}, []extent{{0, 256}}},
		"with a gap":           {[]extent{{0, 127}, {508, 127}}, []extent{{0, 128}, {512, 128}}},
		"nothing":              {nil, nil},
	} {
		require.Equal(t, c.want, padded(c.extents), what)
	}
}

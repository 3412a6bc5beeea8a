package sdr

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestListsOfProcessors(t *testing.T) {
	t.Parallel()
	for list, want := range map[string][]int{"0\n": {0}, "0-3\n": {0, 1, 2, 3}, "0-1,8,10-11": {0, 1, 8, 10, 11}} {
		got, err := parseCores(list)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, list := range []string{"", "a", "1-", "-1", "1,,2"} {
		_, err := parseCores(list)
		require.ErrorContains(t, err, "list of processors", list)
	}
}

func TestStayingWithACache(t *testing.T) {
	t.Parallel()
	require.True(t, worthStaying(64, 64, 8))
	require.False(t, worthStaying(16, 64, 8), "a set was given")
	require.False(t, worthStaying(8, 8, 8), "one cache")
	require.False(t, worthStaying(8, 8, 0), "no cache known")
	undo := StayOnCores()
	undo()
}

package chain_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
)

func swap(t *testing.T, j chain.Journal, key, old, next string) bool {
	t.Helper()
	var before []byte
	if old != "" {
		before = []byte(old)
	}
	ok, err := j.Swap(t.Context(), key, before, []byte(next))
	require.NoError(t, err)
	return ok
}

func get(t *testing.T, j chain.Journal, key string) string {
	t.Helper()
	values, err := j.Get(t.Context(), key)
	require.NoError(t, err)
	require.Len(t, values, 1)
	return string(values[0])
}

func TestFileJournal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "messages")
	j, err := chain.OpenFileJournal(path)
	require.NoError(t, err)
	require.Empty(t, get(t, j, "a/1"))
	require.True(t, swap(t, j, "a/1", "", `{"n":1}`))
	require.False(t, swap(t, j, "a/1", "", `{"n":2}`), "create only if absent")
	require.False(t, swap(t, j, "a/1", `{"n":0}`, `{"n":2}`), "another value")
	require.False(t, swap(t, j, "a/2", `{"n":0}`, `{"n":2}`), "no value")
	require.True(t, swap(t, j, "a/1", `{"n":1}`, `{"n":2}`))
	require.True(t, swap(t, j, "b/1", "", `{"text":"<&>"}`))

	_, err = chain.OpenFileJournal(path)
	require.ErrorContains(t, err, "another process holds it")
	j.Close()

	// A crash in the middle of a write leaves half a line, which was never acted upon.
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = file.WriteString(`{"Key":"a/1","Val`)
	require.NoError(t, errors.Join(err, file.Close()))
	j, err = chain.OpenFileJournal(path)
	require.NoError(t, err)
	require.Equal(t, `{"n":2}`, get(t, j, "a/1"))
	all, err := j.List(t.Context(), "a/")
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"a/1": []byte(`{"n":2}`)}, all)
	require.True(t, swap(t, j, "a/1", `{"n":2}`, `{"n":3}`), "the next line is whole")
	j.Close()
	j, err = chain.OpenFileJournal(path)
	require.NoError(t, err)
	require.Equal(t, `{"n":3}`, get(t, j, "a/1"))
	j.Close()

	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, append([]byte("garbage\n"), raw...), 0o600))
	_, err = chain.OpenFileJournal(path)
	require.ErrorContains(t, err, "line 1 is damaged")
}

func TestMirror(t *testing.T) {
	t.Parallel()
	disk := openJournal(t)
	shared := openJournal(t)
	j := chain.Mirror(shared, disk)
	require.True(t, swap(t, j, "a", "", `1`))
	require.True(t, swap(t, j, "a", `1`, `2`))
	require.Equal(t, "2", get(t, disk, "a"))
	require.True(t, swap(t, shared, "a", `2`, `3`), "another scheduler")
	require.False(t, swap(t, j, "a", `2`, `4`), "the shared journal decides")
	require.True(t, swap(t, j, "a", `3`, `4`))
	require.Equal(t, "4", get(t, disk, "a"))

	fresh := chain.Mirror(openJournal(t), disk) // the shared one was lost
	require.Equal(t, "4", get(t, fresh, "a"))
	require.False(t, swap(t, fresh, "a", "", `5`))
	lost := openJournal(t)
	all, err := chain.Mirror(lost, disk).List(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"a": []byte("4")}, all)
	require.Equal(t, "4", get(t, lost, "a"), "put back")
}

type failingJournal struct{ chain.Journal }

var errDisk = errors.New("disk full")

func (failingJournal) Swap(context.Context, string, []byte, []byte) (bool, error) {
	return false, errDisk
}

// What is not on disk is not pushed.
func TestMirrorNeedsTheDisk(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(chain.Mirror(openJournal(t), failingJournal{openJournal(t)})))
	_, err := sendPreCommit(t.Context(), c, preCommitOf(t, c, 1))
	require.ErrorContains(t, err, "disk full")
	require.Zero(t, c.Calls()["MpoolPush"])
}

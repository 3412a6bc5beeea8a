package sectors_test

import (
	"sync"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
)

func testJournal(b *bench) {
	var j chain.Journal = b.store.Journal()
	swap := func(key, old, next string) bool {
		b.Helper()
		var was []byte
		if old != "" {
			was = []byte(old)
		}
		ok, err := j.Swap(b.ctx, key, was, []byte(next))
		require.NoError(b, err)
		return ok
	}
	const a, c, s = "precommit/s-t01000-1/f1", "precommit/s-t01000-2/f1", "sender/t1abc"
	require.True(b, swap(a, "", `{"n":1}`))
	require.False(b, swap(a, "", `{"n":1}`), "an equal entry of another is not ours")
	require.False(b, swap(a, `{"n":2}`, `{"n":3}`))
	require.True(b, swap(a, `{"n":1}`, `{"n":2}`))
	require.False(b, swap(c, `{"n":1}`, `{"n":2}`), "an absent entry has no old value")
	require.True(b, swap(s, "", `{}`))

	values, err := j.Get(b.ctx, c, a, s)
	require.NoError(b, err)
	require.Equal(b, [][]byte{nil, []byte(`{"n":2}`), []byte(`{}`)}, values)
	list := func(prefix string) map[string][]byte {
		b.Helper()
		found, err := j.List(b.ctx, prefix)
		require.NoError(b, err)
		return found
	}
	require.Equal(b, map[string][]byte{a: []byte(`{"n":2}`)}, list("precommit/"), "the named one without a value is no entry")
	require.Len(b, list(""), 2)
	require.Empty(b, list("commit/"))

	remove := func(key, old string) bool {
		b.Helper()
		ok, err := j.Delete(b.ctx, key, []byte(old))
		require.NoError(b, err)
		return ok
	}
	require.True(b, swap(c, "", `{}`))
	require.False(b, remove(c, `{"n":1}`), "somebody wrote meanwhile")
	require.True(b, remove(c, `{}`))
	require.False(b, remove(c, `{}`))
	require.Len(b, list(""), 2)
	left, err := b.rdb.ZCard(b.ctx, "lpseal:messages").Result()
	require.NoError(b, err)
	require.EqualValues(b, 2, left)
	require.True(b, swap(c, "", `{}`), "the key is free")
	require.True(b, remove(c, `{}`))

	require.NoError(b, b.rdb.Del(b.ctx, "lpseal:messages").Err())
	require.Equal(b, 2, b.sweep().Names)
	require.Len(b, list(""), 2)

	// Of many who swap the same for the same, one is told true: a nonce goes to one.
	var wg sync.WaitGroup
	var won, failed atomic.Int32
	for range 8 {
		wg.Go(func() {
			ok, err := j.Swap(b.ctx, s, []byte(`{}`), []byte(`{"nonce":1}`))
			if err != nil {
				failed.Add(1)
			}
			if ok {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	require.Zero(b, failed.Load())
	require.Equal(b, int32(1), won.Load())
}

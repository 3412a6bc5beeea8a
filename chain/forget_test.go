package chain

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

func TestForgettable(t *testing.T) {
	t.Parallel()
	const now = abi.ChainEpoch(1_000_000)
	long, lately := now-keepSettled-1, now-keepSettled
	entries := map[string][]byte{"message/damaged/1": []byte(`7`)}
	put := func(key string, v any) {
		raw, err := json.Marshal(v)
		require.NoError(t, err)
		entries[key] = raw
	}
	zero := big.Zero()
	msg := &lotus.Message{To: minerAddress(1000), From: minerAddress(1001), Value: zero, GasFeeCap: zero, GasPremium: zero}
	miner := map[string]string{"old": "1000", "new": "2000"}
	for name, at := range map[string]abi.ChainEpoch{"old": long, "new": lately} {
		put("message/confirmed-"+name+"/1", &entry{State: jobs.MessageConfirmed, Height: at})
		put("message/pending-"+name+"/1", &entry{State: jobs.MessagePushed, Signed: &lotus.SignedMessage{Message: *msg, Signature: crypto.Signature{Type: crypto.SigTypeBLS, Data: []byte{1}}}, SignedAt: at})
		settled := *msg
		settled.Nonce = 1 // by another host, whose settling the sender's record knows of
		put("message/elsewhere-"+name+"/1", &entry{State: jobs.MessagePushed, Signed: &lotus.SignedMessage{Message: settled, Signature: crypto.Signature{Type: crypto.SigTypeBLS, Data: []byte{1}}}, SignedAt: at - 5, PushedAt: at})
		put("message/asked-"+name+"/1", &entry{State: jobs.MessageJournaled, Asked: msg, OpenedAt: at})
		put("message/open-"+name+"/1", &entry{OpenedAt: at})
		put("fill/f1abc/"+name, &entry{State: jobs.MessageConfirmed, Height: at})
		for n, of := range []string{"confirmed", "pending", "elsewhere", "asked", "open", "lost"} {
			put(fmt.Sprintf("precommit/s-t0%s-%d/f1", miner[name], n), claim{Message: "message/" + of + "-" + name + "/1", At: at})
		}
		put("commit/s-t0"+miner[name]+"-6/f1", claim{Closed: true, At: at})
	}
	put("commit/s-t01000-7/f1", claim{Message: "message/confirmed-new/1", At: long})
	members := []jobs.Meaning{{ID: jobs.SectorID{Miner: 1000, Number: 8}}, {ID: jobs.SectorID{Miner: 1000, Number: 9}}}
	put("message/open-sector/1", &entry{State: jobs.MessageConfirmed, Height: long, Members: members})
	for _, n := range []int{8, 9} {
		put(fmt.Sprintf("precommit/s-t01000-%d/f1", n), claim{Message: "message/open-sector/1", At: long})
	}
	put(senderKey(msg.From), &sender{Next: 2, Reserved: map[uint64]reservation{0: {Meaning: "message/pending-old/1"}}})
	unread := *msg // a newer lpseal may know of a reservation that this one does not
	unread.From = minerAddress(1002)
	put("message/elsewhere-unread/1", &entry{State: jobs.MessagePushed, Signed: &lotus.SignedMessage{Message: unread, Signature: crypto.Signature{Type: crypto.SigTypeBLS, Data: []byte{1}}}, SignedAt: long})
	entries[senderKey(unread.From)] = []byte(`{"Next":2,"Reserved":{},"Novel":1}`)
	put("message/newest/1", &entry{State: jobs.MessageConfirmed, Height: now})

	require.Equal(t, now, newest(entries))
	open := jobs.SectorID{Miner: 1000, Number: 9}
	keys := forgettable(entries, now, func(id jobs.SectorID) bool { return id != open })
	slices.Sort(keys)
	want := []string{
		"commit/s-t01000-6/f1",
		"fill/f1abc/old", "message/confirmed-old/1", "message/elsewhere-old/1", "message/open-old/1",
		"precommit/s-t01000-0/f1", "precommit/s-t01000-2/f1", "precommit/s-t01000-4/f1", "precommit/s-t01000-5/f1", "precommit/s-t01000-8/f1",
	}
	require.Equal(t, want, keys)
	keys = forgettable(entries, now, func(jobs.SectorID) bool { return true })
	slices.Sort(keys)
	require.Equal(t, slices.Sorted(slices.Values(append(want, "message/open-sector/1", "precommit/s-t01000-9/f1"))), keys)
}

// A journal into which sectors are written for years stays as large as a month of them.
func TestFileJournalIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "messages")
	j, err := OpenFileJournal(path)
	require.NoError(t, err)
	j.compact = 10_000
	const each = 1000 // epochs
	var most int64
	for n := range abi.ChainEpoch(400) {
		height := n * each
		key := fmt.Sprintf("message/b-%d/1", n)
		for _, v := range []struct {
			key string
			v   any
		}{
			{key, &entry{State: jobs.MessageConfirmed, Height: height}},
			{fmt.Sprintf("precommit/s-t01000-%d/f1", n), claim{Message: key, At: height}},
		} {
			raw, err := json.Marshal(v.v)
			require.NoError(t, err)
			ok, err := j.Swap(t.Context(), v.key, nil, raw)
			require.NoError(t, err)
			require.True(t, ok)
		}
		if n == 200 {
			most = j.size
		}
	}
	require.Less(t, j.size, 4*most, "it does not grow with the years")
	require.Less(t, len(j.entries), 2*400)
	require.GreaterOrEqual(t, len(j.entries), 2*int(keepSettled/each), "the last month is there")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, info.Size(), j.size)
	before := len(j.entries)
	j.Close()
	j, err = OpenFileJournal(path)
	require.NoError(t, err)
	require.Len(t, j.entries, before)
	j.Close()
}

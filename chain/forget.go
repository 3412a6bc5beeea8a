package chain

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/jobs"
)

// keepSettled is for how many epochs an entry is kept after it was settled or closed. Until then a handler that froze before may wake up, and must find what
// became of its meaning (docs/adr/0002). Afterwards nothing that it could send would land: its ticket is older than the actor takes (3,780 epochs), and
// the pre-commitment that its proof is for has expired (30 days and the challenge delay, 150 on any network at most).
var keepSettled = jobs.MaxProveCommit(150) + maxTicketAge

// forgettable gives the keys of a journal that nothing can depend on any more at an epoch: settled messages, messages that nobody signed, and the claims on
// them, all older than keepSettled, where all their sectors have ended. A disk's copy of a message that another host settled stays as it was signed here;
// it counts as settled once its sender's record no longer reserves the nonce for it. Senders are kept, and what cannot be read.
func forgettable(entries map[string][]byte, now abi.ChainEpoch, ended func(jobs.SectorID) bool) (keys []string) {
	old := map[string]abi.ChainEpoch{} // when a message ended
	gone := func(ended abi.ChainEpoch) bool { return now-ended > keepSettled }
	for key, raw := range entries {
		if !isMessage(key) {
			continue
		}
		e, err := decodeEntry(key, raw)
		if err != nil {
			continue
		}
		switch {
		case e.State.Terminal():
			old[key] = e.Height
		case e.open() && e.Asked == nil:
			old[key] = e.OpenedAt
		case e.pending() && !reserves(entries, e, key):
			old[key] = max(e.SignedAt, e.PushedAt)
		default:
			continue
		}
		if gone(old[key]) && !slices.ContainsFunc(e.Members, func(m jobs.Meaning) bool { return !ended(m.ID) }) {
			keys = append(keys, key)
		}
	}
	for key, raw := range entries {
		id, ok := claimed(key)
		var c claim
		if !ok || decode(key, raw, &c) != nil {
			continue
		}
		at, settled := old[c.Message]
		_, kept := entries[c.Message]
		if gone(c.At) && (!kept || settled && gone(at)) && ended(id) {
			keys = append(keys, key)
		}
	}
	return keys
}

func isMessage(key string) bool {
	return strings.HasPrefix(key, messagePrefix) || strings.HasPrefix(key, fillPrefix)
}

// claimed gives the sector of a claim by its key.
func claimed(key string) (id jobs.SectorID, ok bool) {
	stage, rest, _ := strings.Cut(key, "/")
	name, _, _ := strings.Cut(rest, "/")
	id, err := jobs.ParseSectorID(name)
	return id, err == nil && (stage == string(jobs.PreCommit) || stage == string(jobs.Commit))
}

// newest is the latest epoch that a journal's entries speak of, those among them that a newer lpseal wrote.
func newest(entries map[string][]byte) (at abi.ChainEpoch) {
	for _, raw := range entries {
		var e struct{ Height, OpenedAt, SignedAt, PushedAt, At abi.ChainEpoch }
		if json.Unmarshal(raw, &e) == nil {
			at = max(at, e.Height, e.OpenedAt, e.SignedAt, e.PushedAt, e.At)
		}
	}
	return at
}

// reserves tells whether the sender's record in a journal has the nonce of a signed message for it still, or cannot tell.
func reserves(entries map[string][]byte, e *entry, key string) bool {
	m := &e.Signed.Message
	var s sender
	if from := senderKey(m.From); decode(from, entries[from], &s) != nil {
		return true
	}
	return m.Nonce >= s.Next || s.Reserved[m.Nonce].Meaning == key
}

// forgottenKey is the entry that tells up to when the shared journal may have forgotten, so that a disk's copy of what it forgot is not taken for a loss.
const forgottenKey = "forgotten"

// forgotten is its value: entries that ended before may be gone.
type forgotten struct{ Before abi.ChainEpoch }

// Forget takes out of the journal what nothing can depend on any more (docs/adr/0007), and tells how many entries that were. ended tells which of some sectors
// have left the pipeline, or have no record. It reads whole journals: once in some hours is often enough.
func (c *Client) Forget(ctx context.Context, ended func(context.Context, []jobs.SectorID) (map[jobs.SectorID]bool, error)) (int, error) {
	if c.cfg.Journal == nil {
		return 0, nil
	}
	ts, err := c.settledTipSet(ctx)
	if err != nil {
		return 0, err
	}
	entries := map[string][]byte{}
	for _, prefix := range []string{messagePrefix, fillPrefix, string(jobs.PreCommit) + "/", string(jobs.Commit) + "/", senderPrefix} {
		found, err := c.cfg.Journal.List(ctx, prefix)
		if err != nil {
			return 0, journalFault(err)
		}
		maps.Copy(entries, found)
	}
	asked := map[jobs.SectorID]bool{}
	for _, key := range forgettable(entries, ts.Height, func(jobs.SectorID) bool { return true }) {
		for _, id := range sectorsOf(key, entries[key]) {
			asked[id] = true
		}
	}
	out, err := ended(ctx, slices.Collect(maps.Keys(asked)))
	if err != nil {
		return 0, err
	}
	keys := forgettable(entries, ts.Height, func(id jobs.SectorID) bool { return out[id] })
	if len(keys) == 0 {
		return 0, nil
	}
	if err := c.log().forget(ctx, ts.Height-keepSettled); err != nil {
		return 0, err
	}
	for n, key := range keys {
		// An entry that somebody wrote meanwhile stays.
		if _, err := c.cfg.Journal.Delete(ctx, key, entries[key]); err != nil {
			return n, journalFault(err)
		}
	}
	return len(keys), nil
}

// sectorsOf gives the sectors that an entry is about.
func sectorsOf(key string, raw []byte) (ids []jobs.SectorID) {
	if id, ok := claimed(key); ok {
		return []jobs.SectorID{id}
	}
	if e, err := decodeEntry(key, raw); err == nil {
		for _, m := range e.Members {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// forget notes, before anything is forgotten, up to when it will be.
func (l messages) forget(ctx context.Context, before abi.ChainEpoch) error {
	for {
		at, raw, err := l.forgotten(ctx)
		if err != nil || at >= before {
			return err
		}
		if _, ok, err := swap(ctx, l.Journal, forgottenKey, raw, forgotten{before}); ok || err != nil {
			return err
		}
	}
}

// forgotten tells before which epoch entries may be gone, before any if none are, and gives the bytes that say so.
func (l messages) forgotten(ctx context.Context) (abi.ChainEpoch, []byte, error) {
	f := forgotten{math.MinInt64}
	values, err := l.get(ctx, forgottenKey)
	if err != nil || values[0] == nil {
		return f.Before, nil, err
	}
	if err := decode(forgottenKey, values[0], &f); err != nil {
		return math.MinInt64, nil, err
	}
	return f.Before, values[0], nil
}

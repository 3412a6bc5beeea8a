package chain

import (
	"encoding/json"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/jobs"
)

// keepSettled is for how many epochs an entry is kept after it was settled or closed. Until then a handler that froze before may wake up, and must find what
// became of its meaning (docs/adr/0002). Afterwards nothing that it could send would land: its ticket is older than the actor takes (3,780 epochs), and
// the pre-commitment that its proof is for has expired (30 days and the challenge delay, 150 on any network at most).
var keepSettled = jobs.MaxProveCommit(150) + maxTicketAge

// forgettable gives the keys of a journal that nothing can depend on any more: settled messages, messages that nobody signed, and the claims on them,
// all older than keepSettled counted from the newest epoch in the journal. A disk's copy of a message that another host settled stays as it was signed here;
// it counts as settled once its sender's record no longer reserves the nonce for it. Senders are kept, and what is not an entry of ours.
func forgettable(entries map[string][]byte) (keys []string) {
	old := map[string]abi.ChainEpoch{} // when a message ended
	claims := map[string]claim{}
	var newest abi.ChainEpoch
	for key, raw := range entries {
		switch stage, _, _ := strings.Cut(key, "/"); {
		case strings.HasPrefix(key, messagePrefix), strings.HasPrefix(key, fillPrefix):
			var e entry
			if json.Unmarshal(raw, &e) != nil {
				continue
			}
			newest = max(newest, e.Height, e.OpenedAt, e.SignedAt, e.PushedAt)
			switch {
			case e.State.Terminal():
				old[key] = e.Height
			case e.open() && e.Asked == nil:
				old[key] = e.OpenedAt
			case e.pending() && !reserves(entries, &e, key):
				old[key] = max(e.SignedAt, e.PushedAt)
			}
		case stage == string(jobs.PreCommit), stage == string(jobs.Commit):
			var c claim
			if json.Unmarshal(raw, &c) == nil {
				claims[key] = c
				newest = max(newest, c.At)
			}
		}
	}
	gone := func(ended abi.ChainEpoch) bool { return newest-ended > keepSettled }
	for key, ended := range old {
		if gone(ended) {
			keys = append(keys, key)
		}
	}
	for key, c := range claims {
		ended, settled := old[c.Message]
		_, kept := entries[c.Message]
		if gone(c.At) && (!kept || settled && gone(ended)) {
			keys = append(keys, key)
		}
	}
	return keys
}

// reserves tells whether the sender's record in a journal has the nonce of a signed message for it still, or cannot tell.
func reserves(entries map[string][]byte, e *entry, key string) bool {
	m := &e.Signed.Message
	var s sender
	if json.Unmarshal(entries[senderKey(m.From)], &s) != nil {
		return true
	}
	return m.Nonce >= s.Next || s.Reserved[m.Nonce].Meaning == key
}

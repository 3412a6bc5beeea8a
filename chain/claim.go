package chain

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// claim is what the journal holds under a meaning: which message carries it. A message is opened with its members, then each member's claim is made to point
// at it, and only then is it signed. Whoever wants a member for another message first makes the signing fail (see endOpen), so that of two
// senders one signs, and never both.
type claim struct {
	Message string    `json:",omitempty"` // journal key of the message
	Opening uuid.UUID // of the message when this was written: an entry that was opened anew since carries the meaning no more
	// Closed says that a newer fence is being sent: nothing may be sent for this meaning any more (docs/adr/0002).
	Closed bool           `json:",omitempty"`
	At     abi.ChainEpoch // the head when this was written
	Past   []string       `json:",omitempty"` // journal keys of earlier messages, which ended without effect
}

const messagePrefix = "message/"

// messageKey names the nth message of a batch: there are more when it does not fit into one, and when one came to nothing.
func messageKey(batch string, n int) string { return fmt.Sprintf("%s%s/%d", messagePrefix, batch, n) }

// standing is what the journal knows of a meaning.
type standing struct {
	key string // of the meaning
	raw []byte // of the claim; nil if there is none
	claim
	entry *entry // the message that carries the meaning; nil if none does
	at    int    // place among its members
	err   error  // why none of this is known
}

// confirmed tells whether the message did what it was for, so far as was known at confidence.
func (s *standing) confirmed() bool {
	return s.entry != nil && s.entry.State == jobs.MessageConfirmed && s.entry.effective(s.at)
}

// fact is the meaning's message as jobs sees it.
func (s *standing) fact() jobs.Message {
	switch {
	case s.err != nil:
		return jobs.Message{Unknown: s.err}
	case s.entry != nil:
		return s.entry.fact(s.at)
	case s.Closed:
		return jobs.Message{State: jobs.MessageDropped, Epoch: s.At}
	}
	return jobs.Message{}
}

// standings reads what the journal knows of meanings, in two round trips however many there are. What cannot be read of one is its own error.
func (l messages) standings(ctx context.Context, meanings []jobs.Meaning) ([]standing, error) {
	all := make([]standing, len(meanings))
	keys := make([]string, len(meanings))
	for i, m := range meanings {
		keys[i] = m.String()
	}
	values, err := l.get(ctx, keys...)
	if err != nil {
		return nil, err
	}
	carriers := map[string]bool{}
	for i, raw := range values {
		all[i].key, all[i].raw = keys[i], raw
		if raw == nil {
			continue
		}
		if all[i].err = decode(keys[i], raw, &all[i].claim); all[i].err != nil {
			continue
		}
		if m := all[i].Message; m != "" {
			carriers[m] = true
		}
	}
	entries, unread, err := l.entries(ctx, slices.Collect(maps.Keys(carriers)))
	if err != nil {
		return nil, err
	}
	for i := range all {
		s := &all[i]
		if s.err != nil {
			continue
		}
		s.err = unread[s.Message]
		if e := entries[s.Message]; e != nil {
			if s.at = slices.Index(e.Members, meanings[i]); s.at >= 0 && e.UUID == s.Opening {
				s.entry = e
			}
		}
	}
	return all, nil
}

// entries reads messages by key. Those that the journal lost are missing, and for those that cannot be read there is an error.
func (l messages) entries(ctx context.Context, keys []string) (found map[string]*entry, unread map[string]error, err error) {
	values, err := l.get(ctx, keys...)
	if err != nil {
		return nil, nil, err
	}
	found, unread = map[string]*entry{}, map[string]error{}
	for i, raw := range values {
		if raw == nil {
			continue
		}
		e, err := decodeEntry(keys[i], raw)
		if err != nil {
			unread[keys[i]] = err
			continue
		}
		found[keys[i]] = e
	}
	return found, unread, nil
}

// openMessage writes the entry of a message that is about to be made: over one of the batch that nobody signed, or under the next key. nil bytes mean that
// another process wrote.
func (c *Client) openMessage(ctx context.Context, batch string, want entry) (key string, e *entry, raw []byte, err error) {
	for n := 1; ; n++ {
		key = messageKey(batch, n)
		old, before, err := c.log().load(ctx, key)
		if isUnreadable(err) {
			continue // whoever it carries does not go in this one: see standing
		}
		if err != nil {
			return "", nil, nil, err
		}
		if old.open() && old.Asked != nil { // of members that are not asked for any more: the node may have it
			return key, nil, nil, c.finish(ctx, key)
		}
		if old != nil && !old.open() {
			continue
		}
		e := want
		e.UUID = uuid.New()
		raw, ok, err := c.log().save(ctx, key, before, &e)
		if err != nil || !ok {
			return key, nil, nil, err
		}
		return key, &e, raw, nil
	}
}

// point makes the members' claims name a message as it was opened, each by one compare-and-set. It answers false when another process wrote one, or one
// names another message that nobody signed so far: that one is ended first.
func (c *Client) point(ctx context.Context, members []standing, key string, opening uuid.UUID, head *lotus.TipSet) (bool, error) {
	for _, s := range members {
		if s.entry.open() && s.Message != key {
			return false, c.settleOpen(ctx, s.Message, s.entry, head)
		}
		next := claim{Message: key, Opening: opening, At: head.Height, Past: s.Past}
		if s.Message != "" && s.Message != key {
			next.Past = append(slices.Clone(s.Past), s.Message)
		}
		if _, ok, err := swap(ctx, c.log().Journal, s.key, s.raw, next); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// endOpen ends a message that nobody signed: a late signer's write fails. A message that was signed meanwhile is left alone.
func (c *Client) endOpen(ctx context.Context, key string, head *lotus.TipSet) error {
	for {
		e, raw, err := c.log().load(ctx, key)
		if err != nil || !e.open() {
			return err
		}
		e.end(jobs.MessageDropped, cid.Undef, head.Height)
		e.Void++
		if _, ok, err := c.log().save(ctx, key, raw, e); ok || err != nil {
			return err
		}
	}
}

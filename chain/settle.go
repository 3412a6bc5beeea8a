package chain

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/batch"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// Messages implements jobs.Chain.
func (c *Client) Messages(ctx context.Context, meanings []jobs.Meaning) ([]jobs.Message, error) {
	facts := make([]jobs.Message, len(meanings))
	if c.cfg.Journal == nil || len(meanings) == 0 {
		return facts, nil
	}
	ts, err := c.settledTipSet(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.settleMessages(ctx, ts); err != nil {
		return nil, err
	}
	known, err := c.log().standings(ctx, meanings)
	if err != nil {
		return nil, err
	}
	landed := map[string]*entry{}
	for i := range known {
		c.alarm(known[i].key, known[i].err)
		facts[i] = known[i].fact()
		e := known[i].entry
		if e != nil && e.State.Terminal() {
			// Perhaps another process settled it: what this one remembers of the sector from before is history.
			c.sectors.forget(meanings[i].ID, e.Height)
		}
		if e.pending() {
			if done, err := c.landed(ctx, e); err != nil {
				return nil, err
			} else if done {
				facts[i].State, landed[known[i].Message] = jobs.MessageLanded, e
			}
		}
	}
	return facts, c.watch(ctx, landed)
}

// watch sees that each of the messages is settled in its turn. One that was signed late, when its nonce was settled as used by another, has no reservation
// any more; without one it would count as landed for ever.
func (c *Client) watch(ctx context.Context, pending map[string]*entry) error {
	if len(pending) == 0 {
		return nil
	}
	senders, err := c.senders(ctx)
	if err != nil {
		return err
	}
	for key, e := range pending {
		m := &e.Signed.Message
		if s := senders[m.From]; s == nil || s.Reserved[m.Nonce].Meaning != "" {
			continue
		}
		if err := c.adopt(ctx, m.From, m.Nonce, key, e.SignedAt); err != nil {
			return err
		}
	}
	return nil
}

// landed tells whether the message's nonce is used at the head.
func (c *Client) landed(ctx context.Context, e *entry) (bool, error) {
	head, err := c.headTipSet(ctx)
	if err != nil {
		return false, err
	}
	next, err := c.nonceAt(ctx, e.Signed.Message.From, head)
	return e.Signed.Message.Nonce < next, err
}

// settleMessages finds out, once for each settled tipset, what became of the messages whose nonces are used there. It costs one call for each sender, and a
// search for each message that landed since.
func (c *Client) settleMessages(ctx context.Context, ts *lotus.TipSet) error {
	if c.cfg.Journal == nil {
		return nil
	}
	c.settling.Lock()
	defer c.settling.Unlock()
	if c.settled == ts.Key() {
		return nil
	}
	senders, err := c.senders(ctx)
	if err != nil {
		return err
	}
	for from, s := range senders {
		if len(s.Reserved) == 0 {
			continue
		}
		next, err := c.nonceAt(ctx, from, ts)
		if err != nil {
			return err
		}
		if err := c.settleSender(ctx, ts, from, s, next); err != nil {
			return err
		}
	}
	c.settled = ts.Key()
	return nil
}

func (c *Client) settleSender(ctx context.Context, ts *lotus.TipSet, from address.Address, s *sender, next uint64) error {
	var done []uint64
	for _, nonce := range s.nonces() {
		if nonce >= next {
			break
		}
		if err := c.settleNonce(ctx, ts, from, nonce, s.Reserved[nonce].Meaning); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if isUnreadable(err) {
				c.alarm(s.Reserved[nonce].Meaning, err)
				continue
			}
			// One message that cannot be looked up must not hold up the others; it is tried again at the next tipset.
			c.cfg.Log.Warn("a landed message could not be looked up", "meaning", s.Reserved[nonce].Meaning, "nonce", nonce, "err", err)
			continue
		}
		done = append(done, nonce)
	}
	if len(done) == 0 {
		return nil
	}
	return c.log().update(ctx, from, func(s *sender) bool {
		before := len(s.Reserved)
		for _, nonce := range done {
			delete(s.Reserved, nonce)
		}
		return len(s.Reserved) < before
	})
}

// settleNonce writes down the end of the message that used a nonce.
func (c *Client) settleNonce(ctx context.Context, ts *lotus.TipSet, from address.Address, nonce uint64, key string) error {
	for {
		e, raw, err := c.log().load(ctx, key)
		if err != nil {
			return err
		}
		if !e.uses(from, nonce) || e.State.Terminal() {
			return nil // the meaning went on with another nonce, or another process was faster
		}
		for _, m := range e.Members {
			c.sectors.forget(m.ID, ts.Height)
		}
		if err := c.resolve(ctx, ts, e); err != nil {
			return err
		}
		if _, ok, err := c.log().save(ctx, key, raw, e); ok || err != nil {
			c.cfg.Log.Info("message settled", "meaning", key, "cid", e.cid(), "state", e.State, "exit", e.Exit, "epoch", e.Height)
			return err
		}
	}
}

// searchMargin widens a search beyond the epoch at which the message was signed: heads differ between nodes.
const searchMargin = 20

// resolve finds how a message ended whose nonce is used as of ts.
func (c *Client) resolve(ctx context.Context, ts *lotus.TipSet, e *entry) error {
	if done, err := c.tookBack(ctx, ts, e); done || err != nil {
		return err
	}
	name := e.cid()
	found, err := c.search(ctx, ts, e, name)
	switch {
	case errors.Is(err, errReplaced):
		e.end(jobs.MessageDropped, name, ts.Height)
		return nil
	case err != nil && !errors.Is(err, errNotFound):
		return err
	case found == nil || notExecuted(found):
		return c.resolveByState(ctx, ts, e)
	}
	e.Exit, e.Bill = exitcode.ExitCode(found.Receipt.ExitCode), c.billed(ctx, e, found)
	e.end(jobs.MessageConfirmed, found.Message, found.Height)
	if !e.Exit.IsSuccess() {
		e.State = jobs.MessageFailed
		return nil
	}
	if e.Method != proveCommit3 {
		return nil
	}
	if err := e.readBatch(found.Receipt.Return); err != nil {
		c.cfg.Log.Warn("a receipt does not tell how the sectors fared; the chain's state does", "cid", found.Message, "err", err)
		return c.resolveByState(ctx, ts, e)
	}
	return nil
}

// notExecuted tells whether a message was found in a block that held it in vain. Its nonce is used, so another block held it as well, of which a node that
// tells the first says nothing, or another message used the nonce.
func notExecuted(found *lotus.MsgLookup) bool {
	return failure{exit: exitcode.ExitCode(found.Receipt.ExitCode), executed: true}.rule().known == errNotExecuted
}

// search looks for one of an entry's messages as of ts, or for a replacement of it that does the same.
func (c *Client) search(ctx context.Context, ts *lotus.TipSet, e *entry, name cid.Cid) (*lotus.MsgLookup, error) {
	found, err := read(ctx, c.node, "StateSearchMsg", func(ctx context.Context, api *api) (*lotus.MsgLookup, error) {
		return api.StateSearchMsg(ctx, ts.Key(), name, ts.Height-e.SignedAt+searchMargin, true)
	})
	if err == nil && found != nil && !found.Message.Defined() {
		return nil, jobs.Failf(jobs.Transient, "message %s: the node found it and does not name it", name)
	}
	return found, err
}

// readBatch takes the members' exit codes out of ProveCommitSectors3's return.
func (e *entry) readBatch(raw []byte) error {
	var ret batch.BatchReturn
	if err := ret.UnmarshalCBOR(bytes.NewReader(raw)); err != nil {
		return jobs.Failf(jobs.Bug, "message %s: return: %w", e.cid(), err)
	}
	if ret.Size() != len(e.Members) {
		return jobs.Failf(jobs.Bug, "message %s returned %d results for %d sectors", e.cid(), ret.Size(), len(e.Members))
	}
	e.MemberExits = ret.Codes()
	return nil
}

// exitUnknown stands for a member whose result nobody kept and whose sector shows no effect: sending again finds out.
const exitUnknown = exitcode.ErrUnspecified

// resolveByState judges a message without a receipt by its effect on the sectors. Without any it counts as dropped: its nonce is used, so it can never
// land later, and whoever sends again asks the chain first.
func (c *Client) resolveByState(ctx context.Context, ts *lotus.TipSet, e *entry) error {
	var exits []exitcode.ExitCode
	effects := 0
	for _, m := range e.Members {
		on, err := c.sectorAt(ctx, m.ID, ts)
		if err != nil {
			return err
		}
		exit := exitUnknown
		if on.Sector != nil || e.Method == preCommitBatch2 && on.PreCommit != nil {
			exit, effects = exitcode.Ok, effects+1
		}
		exits = append(exits, exit)
	}
	if effects == 0 {
		e.end(jobs.MessageDropped, e.cid(), ts.Height)
		return nil
	}
	e.MemberExits = exits
	e.end(jobs.MessageConfirmed, e.cid(), ts.Height)
	return nil
}

const fillPrefix = "fill/"

// fillKey is the key of a message that does nothing but use a nonce.
func fillKey(from address.Address, nonce uint64) string {
	return fmt.Sprintf("%sf%s/%d", fillPrefix, from.String()[1:], nonce)
}

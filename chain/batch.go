package chain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"golang.org/x/sync/errgroup"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// cargo is what the messages of a batch carry; members are named by their place in the request.
type cargo interface {
	method() abi.MethodNum
	meaning(i int) jobs.Meaning
	// there tells whether the chain has what member i asks for. An error is the member's own: sending could not mend it.
	there(i int, on jobs.OnChain) (bool, error)
	// deadline is the last epoch at which member i may land.
	deadline(i int) abi.ChainEpoch
	// ticket is the oldest of a set of pre-commitments; 0 for commits.
	ticket(set []int) abi.ChainEpoch
	// bytes is what member i adds to a message's parameters, and most how many members a message may have.
	bytes(i int) int
	most() int
	// params encodes the members of a set as of the head. In a strict message one bad member fails the others, so that an estimate tells of it.
	params(head *lotus.TipSet, set []int, strict bool) ([]byte, error)
	// locks is what must lie with the miner for member i, beyond what does, in attoFIL.
	locks(ctx context.Context, head *lotus.TipSet, i int) (abi.TokenAmount, error)
	// blamed tells whether the text of a failed estimate names member i.
	blamed(i int, text string) bool
}

// sending is one call for a batch on its way.
type sending struct {
	*Client
	cargo
	batch  string
	miner  abi.ActorID
	sent   []jobs.Sent
	stands []standing // what the journal knew of the members when it was asked last
	left   []int      // members that nothing is known of yet
	nonces map[address.Address]uint64
}

// sendBatch sends what is not on its way yet, in as few messages as hold it (design rules 12 and 13). Every step is journaled before the next begins, and
// each can be the last: whoever comes next, with whatever members, finds what was done and goes on from it.
func (c *Client) sendBatch(ctx context.Context, batch string, miner abi.ActorID, members int, g cargo) ([]jobs.Sent, error) {
	if c.cfg.Journal == nil {
		return nil, jobs.Failf(jobs.Bug, "this client has no message journal and must not send")
	}
	s := newSending(c, batch, miner, members, g)
	for i := range members {
		switch err := c.closeOlder(ctx, g.meaning(i)); {
		case err == nil:
			s.left = append(s.left, i)
		case !s.fault(ctx, i, err):
			return nil, err
		}
	}
	for len(s.left) > 0 {
		err := s.survey(ctx)
		if err == nil && len(s.left) > 0 {
			err = s.dispatch(ctx)
		}
		if err == nil {
			continue
		}
		if len(s.left) == members {
			return nil, err
		}
		// What was sent before is sent, and what was taken out has its reason: the trouble is of those that are left.
		for _, i := range s.left {
			if !s.fault(ctx, i, err) {
				return nil, err
			}
		}
	}
	return s.sent, nil
}

func newSending(c *Client, batch string, miner abi.ActorID, members int, g cargo) *sending {
	return &sending{
		Client: c, cargo: g, batch: batch, miner: miner,
		sent: make([]jobs.Sent, members), stands: make([]standing, members), nonces: map[address.Address]uint64{},
	}
}

// fault takes member i out for an error, unless that is a cancellation.
func (s *sending) fault(ctx context.Context, i int, err error) bool {
	f, ok := jobs.Classify(ctx, err)
	if ok {
		s.sent[i].Fault = f
		s.drop(i)
	}
	return ok
}

// done notes which message carries member i, if one of ours does.
func (s *sending) done(i int, name string) {
	s.sent[i].Message = name
	s.drop(i)
}

func (s *sending) drop(i int) {
	s.left = slices.DeleteFunc(slices.Clone(s.left), func(j int) bool { return i == j })
}

// survey asks journal and chain about the members that are left, and leaves those that a message must be made for.
func (s *sending) survey(ctx context.Context) error {
	for again := true; again; {
		again = false
		head, err := s.headTipSet(ctx)
		if err != nil {
			return err
		}
		meanings := make([]jobs.Meaning, len(s.left))
		for j, i := range s.left {
			meanings[j] = s.meaning(i)
		}
		known, err := s.log().standings(ctx, meanings)
		if err != nil {
			return err
		}
		type outcome struct {
			name string
			err  error
		}
		pushed := map[string]outcome{}
		for j, i := range s.left {
			st := known[j]
			s.stands[i] = st
			switch e := st.entry; {
			case st.err != nil:
				s.fault(ctx, i, st.err)
			case st.Closed:
				s.fault(ctx, i, jobs.Failf(jobs.Transient, "%s: a newer attempt was begun; this one sends nothing", st.key))
			case e.pending():
				sent, ok := pushed[st.Message]
				if !ok {
					sent.name, sent.err = s.pushFound(ctx, st.Message)
					pushed[st.Message] = sent
				}
				if sent.err == nil {
					s.done(i, sent.name)
				} else if !s.fault(ctx, i, sent.err) { // the others need not wait for what an earlier message waits for
					return sent.err
				}
			case !e.open(), s.owns(st.Message) && e.Asked == nil:
			case !s.owns(st.Message) && head.Height < e.OpenedAt+s.cfg.ReplaceAfter:
				s.fault(ctx, i, jobs.Failf(jobs.Transient, "%s: another batch is about to send it (%s); it is sent again if nothing comes of that", st.key, st.Message))
			default:
				if err := s.settleOpen(ctx, st.Message, e, head); err == nil {
					again = true
				} else if !s.fault(ctx, i, err) {
					return err
				}
			}
		}
	}
	if len(s.left) == 0 {
		return nil
	}
	return s.askChain(ctx)
}

// owns tells whether a message is of this batch.
func (s *sending) owns(key string) bool { return strings.HasPrefix(key, messagePrefix+s.batch+"/") }

// askChain asks as of now whether the chain has what the members ask for: before money is sent nothing remembered will do.
func (s *sending) askChain(ctx context.Context) error {
	head, err := s.freshHead(ctx)
	if err != nil {
		return err
	}
	ids := make([]jobs.SectorID, len(s.left))
	for j, i := range s.left {
		ids[j] = s.meaning(i).ID
	}
	found, err := s.sectorsAt(ctx, s.miner, ids, head)
	if err != nil {
		return err
	}
	for j, i := range s.left {
		there, err := s.there(i, found[j])
		switch st := &s.stands[i]; {
		case err != nil:
			if !s.fault(ctx, i, fmt.Errorf("sector %s: %w", ids[j], err)) {
				return err
			}
		case there:
			name := ""
			if st.entry != nil && st.entry.effective(st.at) {
				name = st.entry.name()
			}
			s.done(i, name)
		case st.confirmed() && head.Height < st.entry.Height+s.cfg.Confidence:
			// Else it was reorganised away below the confidence.
			s.fault(ctx, i, jobs.Failf(jobs.Transient, "%s: message %s landed at epoch %d and the node is at %d; waiting for it to sync",
				st.key, st.entry.name(), st.entry.Height, head.Height))
		}
	}
	return nil
}

// lookUps bounds how many sectors are asked for at a time.
const lookUps = 8

// sectorsAt asks the node about sectors of a miner as of a tipset. A number that is not allocated has neither pre-commitment nor sector.
func (c *Client) sectorsAt(ctx context.Context, miner abi.ActorID, ids []jobs.SectorID, ts *lotus.TipSet) ([]jobs.OnChain, error) {
	used, err := c.allocatedAt(ctx, miner, ts.Key())
	if err != nil {
		return nil, err
	}
	found := make([]jobs.OnChain, len(ids))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookUps)
	for i, id := range ids {
		set, err := used.IsSet(uint64(id.Number))
		if err != nil {
			return nil, errors.Join(jobs.Failf(jobs.Bug, "sector %s: allocated numbers: %w", id, err), group.Wait())
		}
		if set {
			group.Go(func() (err error) {
				found[i], err = c.sectorAt(ctx, id, ts)
				return err
			})
		}
	}
	return found, group.Wait()
}

// dispatch sends one message with members that are left. When another process wrote meanwhile it sends nothing, and the survey tells why.
func (s *sending) dispatch(ctx context.Context) error {
	head, err := s.headTipSet(ctx)
	if err != nil {
		return err
	}
	if err := s.awaitBaseFee(head, s.left); err != nil {
		return err
	}
	if s.cfg.CollateralFromMiner { // until it is journaled, nobody else sees what this message draws
		s.drawing.Lock()
		defer s.drawing.Unlock()
	}
	q, err := s.checked(ctx, head, s.fit(s.left))
	if err != nil || q == nil {
		return err
	}
	if p, ok := s.cargo.(*commits); ok && p.agg != nil {
		if q, err = s.cheaper(ctx, head, p, q); err != nil {
			return err
		}
	}
	return s.post(ctx, head, q)
}

// post journals a message, has it signed and pushes it. The order of the writes is what keeps a meaning from being sent twice: see claim.
func (s *sending) post(ctx context.Context, head *lotus.TipSet, q *quote) error {
	want := entry{
		Miner: minerAddress(s.miner), Method: s.method(), Ticket: s.ticket(q.set), OpenedAt: head.Height, Drawn: q.drawn, Aggregate: q.aggregate,
	}
	stands := make([]standing, len(q.set))
	for j, i := range q.set {
		want.Members, stands[j] = append(want.Members, s.meaning(i)), s.stands[i]
	}
	key, e, raw, err := s.openMessage(ctx, s.batch, want)
	if err != nil || raw == nil {
		return err
	}
	if ok, err := s.point(ctx, stands, key, e.UUID, head); !ok || err != nil {
		return err
	}
	if ok, err := s.sign(ctx, key, e, raw, q.msg, head); !ok || err != nil {
		return err
	}
	name, err := s.push(ctx, key)
	if err != nil && len(q.set) == len(s.left) {
		return err
	}
	for _, i := range q.set {
		if err == nil {
			s.done(i, name)
		} else if !s.fault(ctx, i, err) { // it is journaled, and pushed again; the others go in the next message
			return err
		}
	}
	return nil
}

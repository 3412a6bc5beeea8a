package chain

import (
	"context"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/uuid"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
)

// FreshHead lets a test make the client look at the head now.
func FreshHead(c *Client, ctx context.Context) (jobs.Head, error) {
	if _, err := c.freshHead(ctx); err != nil {
		return jobs.Head{}, err
	}
	return c.Head(ctx)
}

// Situation lets a test see which line of the recovery table an error of the node is, and whether a sector of the message is to blame.
func Situation(err error) (what string, class jobs.FaultClass, member bool) {
	f := failureOf(err)
	r := f.rule()
	return r.what, r.class, f.member(r)
}

// SendUnchecked lets a test send commits that the check would take out.
func SendUnchecked(c *Client, ctx context.Context, batch string, rs []jobs.CommitRequest) error {
	s := newSending(c, batch, rs[0].Seal.ID.Miner, len(rs), newCommits(c, rs, nil))
	for i := range rs {
		s.left = append(s.left, i)
	}
	set := s.left
	if err := s.survey(ctx); err != nil {
		return err
	}
	head, err := c.headTipSet(ctx)
	if err != nil {
		return err
	}
	params, err := s.params(head, set, false)
	if err != nil {
		return err
	}
	msg, err := s.priced(ctx, head, len(set), params, big.Zero())
	if err != nil {
		return err
	}
	return s.post(ctx, head, &quote{set: set, msg: msg, drawn: big.Zero()})
}

// Push lets a test push a message of the journal, as one who read it a moment ago.
func Push(c *Client, ctx context.Context, key string) (string, error) { return c.push(ctx, key) }

// Told lets a test bring a notification of a head, late or not.
func Told(c *Client, head *lotus.TipSet, reverted bool) { c.setHead(head, reverted) }

// LookAtNodes lets a test have the nodes looked at now.
func LookAtNodes(c *Client, ctx context.Context) { c.lookAtNodes(ctx) }

// Reading is where the chain is read from.
func Reading(c *Client) string {
	e, _ := c.node.reading()
	return e.URL
}

// Order are the nodes that a question goes to, by their place in the list.
func Order(c *Client, method string) []int { return c.node.order(method) }

// Watched lets a test put messages into a journal as if they had been sent, each for one meaning.
func Watched(ctx context.Context, j Journal, head abi.ChainEpoch, signed []*lotus.SignedMessage, meanings []jobs.Meaning) error {
	log := messages{j}
	for i, m := range signed {
		key := messageKey(jobstest.Alone(meanings[i]), 1)
		e := entry{
			Members: meanings[i : i+1], Miner: m.Message.To, Method: m.Message.Method, UUID: uuid.New(), Signed: m, State: jobs.MessagePushed,
			OpenedAt: head, SignedAt: head, PushedAt: head,
		}
		if _, _, err := log.save(ctx, key, nil, &e); err != nil {
			return err
		}
		if _, _, err := swap(ctx, j, meanings[i].String(), nil, claim{Message: key, Opening: e.UUID, At: head}); err != nil {
			return err
		}
	}
	return log.update(ctx, signed[0].Message.From, func(s *sender) bool {
		for i, m := range signed {
			s.Reserved[m.Message.Nonce] = reservation{Meaning: messageKey(jobstest.Alone(meanings[i]), 1), At: head}
		}
		return true
	})
}

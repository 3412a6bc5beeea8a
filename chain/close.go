package chain

import (
	"context"

	"github.com/lpseal/lpseal/jobs"
)

// closeOlder closes the lower fences of a meaning, so that a handler that froze before its stage was rolled back finds its meaning closed when it
// wakes up (docs/adr/0002). One whose message may still land is waited for: it can do what the newer one is for.
func (c *Client) closeOlder(ctx context.Context, m jobs.Meaning) error {
	for m.Fence > 1 {
		m.Fence--
		if err := c.close(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) close(ctx context.Context, m jobs.Meaning) error {
	for {
		all, err := c.log().standings(ctx, []jobs.Meaning{m})
		if err != nil {
			return err
		}
		s := &all[0]
		head, err := c.headTipSet(ctx)
		switch {
		case err != nil:
			return err
		case s.err != nil:
			return s.err
		case s.Closed:
			return nil
		case s.entry.pending():
			return jobs.Failf(jobs.Transient, "%s: message %s of an earlier attempt may still land; waiting for it to end", s.key, s.entry.name())
		case s.entry.open():
			// Its other members are sent again by whoever has them.
			if err := c.settleOpen(ctx, s.Message, s.entry, head); err != nil {
				return err
			}
			continue
		}
		next := claim{Message: s.Message, Opening: s.Opening, Closed: true, At: head.Height, Past: s.Past}
		if _, ok, err := swap(ctx, c.log().Journal, s.key, s.raw, next); ok || err != nil {
			return err
		}
	}
}

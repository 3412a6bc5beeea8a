package chain

import (
	"context"

	"github.com/lpseal/lpseal/jobs"
)

// closeOlder closes the meanings of lower fences of every member, so that a handler that froze before its stage was rolled back finds its meaning
// closed when it wakes up (docs/adr/0002). One whose message may still land is waited for: it can do what the newer one is for.
func (c *Client) closeOlder(ctx context.Context, d draft) error {
	for _, m := range d.members {
		for m.Fence > 1 {
			m.Fence--
			if err := c.close(ctx, m, d); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Client) close(ctx context.Context, m jobs.Meaning, d draft) error {
	key := m.String()
	for {
		e, raw, err := c.log().load(ctx, key)
		switch {
		case err != nil:
			return err
		case e != nil && e.Closed:
			return nil
		case e.pending():
			return jobs.Failf(jobs.Transient, "%s: message %s of an earlier attempt may still land; waiting for it to end", key, e.name())
		case e == nil:
			e = &entry{Members: []jobs.Meaning{m}, Miner: minerAddress(d.miner), Method: d.method}
		}
		if !e.State.Terminal() { // opened, and nobody signed it: a late signer's write fails
			e.State = jobs.MessageDropped
		}
		e.Closed = true
		if _, ok, err := c.log().save(ctx, key, raw, e); ok || err != nil {
			return err
		}
	}
}

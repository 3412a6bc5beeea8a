package chain

import (
	"context"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// FreshHead lets a test make the client look at the head now.
func FreshHead(c *Client, ctx context.Context) (jobs.Head, error) {
	if _, err := c.freshHead(ctx); err != nil {
		return jobs.Head{}, err
	}
	return c.Head(ctx)
}

// SendCommits lets a test send a batch.
func SendCommits(c *Client, ctx context.Context, requests ...jobs.CommitRequest) (string, error) {
	return c.sendCommits(ctx, requests...)
}

// Told lets a test bring a notification of a head, late or not.
func Told(c *Client, head *lotus.TipSet, reverted bool) { c.setHead(head, reverted) }

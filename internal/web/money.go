package web

import (
	"context"
	"fmt"
	"time"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/jobs"
)

// holdings is what there was to pay with when the node was last asked. All is empty while it is away.
type holdings struct {
	*jobs.Treasury
	Funds []*chain.Funds
	Away  string // why nothing is known
}

// treasurer asks the node for money on behalf of the pages. They are made every second and must be there when the node is not, so it is asked seldom, and
// waited for briefly.
type treasurer struct {
	Options
	asked paced[holdings]
}

const minHoldings = 15 * time.Second

func newTreasurer(o Options) *treasurer {
	t := &treasurer{Options: o}
	t.asked = paced[holdings]{clock: o.Clock, minAge: minHoldings, make: t.ask}
	return t
}

func (t *treasurer) ask(ctx context.Context) (holdings, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	treasury, funds, err := t.Node.Treasury(ctx, t.Miners)
	if err != nil {
		return holdings{Treasury: &jobs.Treasury{}, Away: err.Error()}, nil // asked again later, not at once
	}
	return holdings{Treasury: treasury, Funds: funds}, nil
}

// network is the network that payments are foretold for; nothing is known of it while the node is away.
func (t *treasurer) network(ctx context.Context) jobs.Network {
	h, err := t.asked.take(ctx)
	if err != nil {
		return jobs.Network{}
	}
	return h.Network
}

// outlook foresees the payments of a count.
func (t *treasurer) outlook(ctx context.Context, counted *tally) ([]jobs.Outlook, holdings, error) {
	h, err := t.asked.take(ctx)
	if err != nil {
		return nil, h, err
	}
	return jobs.Foresee(counted.owed, h.Treasury), h, nil
}

// alarms say that the node is away, who cannot send, and what will be short.
func (t *treasurer) alarms(ctx context.Context, counted *tally) []alarm {
	outlooks, held, err := t.outlook(ctx, counted)
	if err != nil {
		return nil
	}
	var out []alarm
	if held.Away != "" {
		out = append(out, alarm{"The node does not answer: nothing is sent, and nobody sees what lands. " + held.Away, "/messages", "Messages and money"})
	}
	for _, f := range held.Funds {
		if f.Trouble != "" {
			out = append(out, alarm{fmt.Sprintf("Nothing can be sent for %s: %s", f.Miner, f.Trouble), "/messages", "Messages and money"})
		}
	}
	for _, o := range outlooks {
		if o.Short.Sign() > 0 {
			out = append(out, alarm{fmt.Sprintf("Money of t0%d will be short by %s %s.", o.Miner, chain.FIL(o.Short), soon(o.ShortAt, t.Clock.Now())), "/messages", "Messages and money"})
		}
	}
	return out
}

// soon says in how long something will be.
func soon(at, now time.Time) string {
	if !at.After(now) {
		return "now"
	}
	return "in about " + brief(at.Sub(now))
}

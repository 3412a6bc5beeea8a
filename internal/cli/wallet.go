package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

func (a *app) walletCmd() *cobra.Command {
	return group("wallet", "Show who pays", a.balancesCmd())
}

// money is what `wallet balances` prints.
type money struct {
	Funds   []*chain.Funds `json:"funds"`
	Outlook []jobs.Outlook `json:"outlook"`
}

func (a *app) balancesCmd() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:   "balances",
		Short: "Show the senders, what they and the miners have, and what the pipeline will need",
		Long: `Show each miner's free balance, and the addresses that may send for it: what they hold, whether the node's wallet has their key,
and what keeps one from being used. The forecast makes the payments of all sectors in the pipeline at today's prices and base fee, when they are due at the
pace of the sectors at hand, and says whether, when and by how much money will be short.`,
		Args: args(),
		RunE: a.joined(func(ctx context.Context, c *cluster, _ []string) error {
			if len(c.cfg.Miners) == 0 {
				return usage("add one to the configuration: miners: [{id: t01000}]", "no miner is configured")
			}
			node, err := c.dial(ctx)
			if err != nil {
				return err
			}
			defer node.Close()
			m, err := c.money(ctx, node)
			if err != nil {
				return err
			}
			return a.emit(m, func(w io.Writer) error { return printMoney(w, m, time.Now()) })
		}),
	})
}

// money asks what there is and foresees what the pipeline needs.
func (c *cluster) money(ctx context.Context, node *chain.Client) (money, error) {
	treasury, funds, err := node.Treasury(ctx, c.miners())
	if err != nil {
		return money{}, err
	}
	ids, err := c.store.All(ctx, nil)
	if err != nil {
		return money{}, err
	}
	records, err := c.store.LoadMany(ctx, ids)
	var unreadable *sectors.UnreadableError
	if err != nil && !errors.As(err, &unreadable) {
		return money{}, err
	}
	pace, now := jobs.MeasurePace(records), time.Now()
	var owed []jobs.Payment
	for _, r := range records {
		if r != nil {
			owed = append(owed, jobs.Payments(r, pace, &treasury.Network, now)...)
		}
	}
	return money{funds, jobs.Foresee(owed, treasury)}, nil
}

func printMoney(w io.Writer, m money, now time.Time) error {
	for i, f := range m.Funds {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "miner %s has %s free; a sector's deposit is %s, its pledge %s; base fee %s\n",
			f.Miner, chain.FIL(f.Available), chain.FIL(f.Deposit), chain.FIL(f.Pledge), chain.FIL(f.BaseFee))
		err := table(w, "ROLE\tBALANCE\tSENDS\tKEY HELD\tID\tADDRESS\tREMARK", func(row func(string, ...any)) {
			for _, a := range f.Wallets {
				row("%s\t%s\t%s\t%s\t%s\t%s\t%s", strings.Join(a.Roles, ", "), chain.FIL(a.Balance), yesNo(a.Sends), yesNo(a.Held), a.ID, a.Key, or(a.Why, "-"))
			}
		})
		if err != nil {
			return err
		}
		if f.Trouble != "" {
			fmt.Fprintf(w, "nothing can be sent: %s\n", f.Trouble)
		}
		fmt.Fprintln(w, forecastText(m.Outlook[i], now))
	}
	return nil
}

// forecastText says in a sentence what a miner's sectors will need.
func forecastText(o jobs.Outlook, now time.Time) string {
	pre, commit := o.Messages[jobs.PreCommit], o.Messages[jobs.Commit]
	if pre+commit == 0 {
		return "forecast: no sector owes anything"
	}
	text := fmt.Sprintf("forecast: %d pre-commits and %d commits need %s of deposits, %s more of pledge and %s of gas: ",
		pre, commit, chain.FIL(o.Deposits), chain.FIL(o.Pledges), chain.FIL(o.Gas))
	if o.Short.IsZero() {
		return text + "enough is there"
	}
	return fmt.Sprintf("%sSHORT by %s %s; send it to a sender, or to the miner where collateral_from_miner is set", text, chain.FIL(o.Short), soon(o.ShortAt, now))
}

// soon says in how long something will be.
func soon(t, now time.Time) string {
	if !t.After(now.Add(time.Minute)) {
		return "now"
	}
	return "in about " + t.Sub(now).Round(time.Minute).String()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/jobs"
)

func (a *app) messagesCmd() *cobra.Command {
	return group("messages", "Show the messages that were sent, raise their fees, take them back",
		a.messagesListCmd(), a.messagesShowCmd(),
		a.messageOrder("replace", "Raise the fee of a message that does not land, under the same nonce", "", (*chain.Client).Replace),
		a.messageOrder("cancel", "Take a message back: a transfer of nothing lands with its nonce instead",
			"its gas is offered again for a transfer of nothing, and the sector sends a new message afterwards unless it is held (lpseal sectors hold)", (*chain.Client).Cancel),
	)
}

// ledger reads the messages: Redis's, and what schedulers of this host have on disk in case Redis lost it.
func (c *cluster) ledger() (chain.Ledger, error) {
	l := chain.Ledger{Shared: c.store.Journal()}
	files, err := filepath.Glob(filepath.Join(c.journalDir(), "*.jsonl"))
	if err != nil {
		return l, fmt.Errorf("chain.journal_dir: %w", err)
	}
	for _, file := range files {
		disk, err := chain.ReadFileJournal(file)
		if err != nil {
			c.logs.of("chain").Warn("a message journal on this host's disk is not shown", "err", err)
			continue
		}
		l.Disks = append(l.Disks, disk)
	}
	return l, nil
}

// messageList is what `messages list` prints.
type messageList struct {
	Head     abi.ChainEpoch  `json:"head,omitempty"` // 0: the node did not answer
	Messages []chain.Tracked `json:"messages"`
	Matched  int             `json:"matched"`
	// Forgotten: of messages that were settled before this epoch only those are listed that a sector in the pipeline depends on. 0: all are.
	Forgotten abi.ChainEpoch `json:"forgotten,omitempty"`
}

func (a *app) messagesListCmd() *cobra.Command {
	var (
		all   bool
		limit int
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List messages that are not settled; with --all the settled ones after them",
		Long: "List messages that are not settled; with --all the settled ones after them, as far back as they are kept: those of sectors in the pipeline, and any other for " +
			"31 days at 30 s an epoch after it was settled.",
		Args: args(),
		RunE: a.joined(func(ctx context.Context, c *cluster, _ []string) error {
			ledger, err := c.ledger()
			if err != nil {
				return err
			}
			read, none := ledger.Waiting, "no message waits to land; --all shows those that are settled"
			if all {
				read, none = ledger.All, "no message was sent yet"
			}
			var l messageList
			if l.Messages, err = read(ctx); err != nil {
				return err
			}
			if l.Messages == nil {
				l.Messages = []chain.Tracked{} // a list also in JSON
			}
			if all {
				if l.Forgotten, err = ledger.Forgotten(ctx); err != nil {
					return err
				}
			}
			if l.Matched = len(l.Messages); limit > 0 && l.Matched > limit {
				l.Messages = l.Messages[:limit]
			}
			l.Head = c.observe(ctx, l.Messages)
			return a.emit(l, func(w io.Writer) error { return printMessages(w, l, none) })
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "settled ones, too")
	cmd.Flags().IntVar(&limit, "limit", 200, "print at most this many; 0: all")
	return a.jsonFlag(cmd)
}

// observePatience is less than a person waits for a list.
const observePatience = 5 * time.Second

// observe adds what the node knows, if it answers: the journal alone is worth seeing, above all when the node is away.
func (c *cluster) observe(ctx context.Context, all []chain.Tracked) abi.ChainEpoch {
	ctx, cancel := context.WithTimeout(ctx, observePatience)
	defer cancel()
	node, err := c.dial(ctx)
	if err == nil {
		defer node.Close()
		var head abi.ChainEpoch
		if head, err = node.Observe(ctx, all); err == nil {
			return head
		}
	}
	c.logs.of("chain").Warn("the node does not say which messages landed", "err", err)
	return 0
}

func printMessages(w io.Writer, l messageList, none string) error {
	err := tableOr(w, none, "STATE\tAGE\tNONCE\tSENDER\tFOR\tFEE\tCID", func(row func(string, ...any)) {
		for _, t := range l.Messages {
			age := "-"
			if t.Age > 0 {
				age = fmt.Sprintf("%d epochs", t.Age)
			}
			row("%s\t%s\t%d\t%s\t%s\t%s\t%s", stateText(&t), age, t.Nonce, or(chain.BriefAddress(t.Sender), "-"), messageFor(&t), fee(&t), or(t.CID, "-"))
		}
	})
	if n := l.Matched - len(l.Messages); n > 0 {
		fmt.Fprintf(w, "… %d more; --limit 0 prints all\n", n)
	}
	if l.Forgotten > 0 {
		fmt.Fprintf(w, "what was settled before epoch %d is listed only where a sector in the pipeline depends on it\n", l.Forgotten)
	}
	return err
}

// stateText is the state with what is remarkable about it.
func stateText(t *chain.Tracked) string {
	out := string(t.State)
	if t.Canceled != "" && t.Waits() {
		out += ", canceled"
	}
	if t.DiskOnly {
		out += ", on disk only"
	}
	return out
}

// messageFor is what the message is for: its one sector, its batch, or the use of a nonce.
func messageFor(t *chain.Tracked) string {
	switch n := len(t.Members); n {
	case 0:
		return t.Key
	case 1:
		return t.Members[0].For
	default:
		return fmt.Sprintf("%s (%d sectors)", t.Key, n)
	}
}

// fee is what the message paid, or the most that it may.
func fee(t *chain.Tracked) string {
	switch {
	case !t.Paid.NilOrZero():
		return chain.FIL(t.Paid).String()
	case t.State.Terminal() || t.Offered.NilOrZero():
		return "-"
	}
	return "at most " + chain.FIL(t.Offered).String()
}

func (a *app) messagesShowCmd() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:   "show MESSAGE|SECTOR",
		Short: "Show a message, or all of a sector, with members and past attempts",
		Long:  "Show a message by its CID (that of a replaced version, too) or by its name in lpseal messages list, or all messages of a sector.",
		Args:  args("MESSAGE|SECTOR"),
		RunE: a.joined(func(ctx context.Context, c *cluster, given []string) error {
			found, err := c.findMessages(ctx, given[0])
			if err != nil {
				return err
			}
			c.observe(ctx, found)
			return a.emit(found, func(w io.Writer) error {
				for i := range found {
					printMessage(w, &found[i])
				}
				return nil
			})
		}),
	})
}

// findMessages finds by name, CID or sector; none is an error.
func (c *cluster) findMessages(ctx context.Context, name string) ([]chain.Tracked, error) {
	if id, err := jobs.ParseSectorID(name); err == nil {
		r, err := c.store.Load(ctx, id)
		if err != nil {
			return nil, err
		}
		found, err := c.messagesOf(ctx, r)
		if err == nil && len(found) == 0 {
			err = notFound("lpseal sectors show "+name+" says how far it is", "%s has sent no message", id)
		}
		return found, err
	}
	ledger, err := c.ledger()
	if err != nil {
		return nil, err
	}
	found, err := ledger.Find(ctx, name)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, notFound("lpseal messages list --all shows what was sent", "no message of ours is named %s", name)
	}
	return []chain.Tracked{*found}, nil
}

// messagesOf gives the messages of a sector's stages, earlier fences among them.
func (c *cluster) messagesOf(ctx context.Context, r *jobs.Record) ([]chain.Tracked, error) {
	ledger, err := c.ledger()
	if err != nil {
		return nil, err
	}
	return ledger.Of(ctx, r.Meanings()...)
}

// messageOrder makes the command that gives an order for one message; cost, if any, is said before it is given.
func (a *app) messageOrder(use, short, cost string, order func(*chain.Client, context.Context, string, abi.TokenAmount) (chain.Tracked, error)) *cobra.Command {
	var (
		limit string
		yes   bool
	)
	cmd := &cobra.Command{
		Use:   use + " MESSAGE|SECTOR",
		Short: short,
		Args:  args("MESSAGE|SECTOR"),
		RunE: func(cmd *cobra.Command, given []string) error {
			ctx := cmd.Context()
			maxFee := big.Zero()
			if limit != "" {
				most, err := configs.ParseFIL(limit)
				if err != nil {
					return usage("write it as 0.1 FIL", "--max-fee: %w", err)
				}
				maxFee = most.Atto()
			}
			c, err := a.join(ctx)
			if err != nil {
				return err
			}
			defer c.close()
			t, err := c.waitingMessage(ctx, given[0])
			if err != nil {
				return err
			}
			if cost != "" && !yes {
				return refused("give --yes to go on", "%s %s: %s", use, t.Key, cost)
			}
			node, closeNode, err := c.dialOperator(ctx)
			if err != nil {
				return err
			}
			defer closeNode()
			now, err := order(node, ctx, t.Key, maxFee)
			if err != nil {
				return err
			}
			return a.emit(now, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s: nonce %d is for %s now, fee %s\n", messageFor(t), now.Nonce, newest(&now), fee(&now))
				return err
			})
		},
	}
	cmd.Flags().StringVar(&limit, "max-fee", "", "most gas fee, such as '0.1 FIL' (default chain.max_fee_precommit or chain.max_fee_commit)")
	if cost != "" {
		cmd.Flags().BoolVar(&yes, "yes", false, "really do it")
	}
	return a.jsonFlag(cmd)
}

// newest names what was pushed last.
func newest(t *chain.Tracked) string {
	if t.Canceled != "" {
		return "a transfer of nothing"
	}
	return t.CID
}

// waitingMessage finds the one message that an order can be meant for.
func (c *cluster) waitingMessage(ctx context.Context, name string) (*chain.Tracked, error) {
	found, err := c.findMessages(ctx, name)
	if err != nil {
		return nil, err
	}
	var waiting []chain.Tracked
	for _, t := range found {
		if t.Waits() {
			waiting = append(waiting, t)
		}
	}
	switch {
	case len(waiting) == 0:
		return nil, refused("lpseal messages show "+name, "no message of %s waits to land", name)
	case len(waiting) > 1:
		keys := make([]string, len(waiting))
		for i, t := range waiting {
			keys[i] = t.Key
		}
		return nil, usage("name one of them", "%s has %d messages that wait: %s", name, len(waiting), strings.Join(keys, ", "))
	}
	return &waiting[0], nil
}

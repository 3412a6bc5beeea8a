package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/lpseal/lpseal/chain"
)

// printMessage prints a message with everything that is known of it.
func printMessage(w io.Writer, t *chain.Tracked) {
	fmt.Fprintf(w, "%s  %s\n", messageFor(t), stateText(t))
	field := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	if t.CID != "" {
		field("cid", "%s", t.CID)
	}
	to := ""
	if t.Miner != "" {
		to = " of miner " + t.Miner
	}
	field("method", "%s%s", t.Method, to)
	if t.Aggregate {
		field("proof", "one aggregate of %d sectors", len(t.Members))
	}
	if t.Sender != "" {
		field("sender", "%s, nonce %d", t.Sender, t.Nonce)
	}
	if !t.Value.NilOrZero() {
		field("value", "%s", chain.FIL(t.Value))
	}
	field("fee", "%s%s", fee(t), gasText(t))
	if t.Signed != 0 {
		field("signed", "epoch %d%s", t.Signed, ageText(t))
	}
	if t.Pushed > t.Signed {
		field("pushed", "epoch %d, the last time", t.Pushed)
	}
	if t.Settled != 0 {
		field("settled", "epoch %d, exit code %d", t.Settled, t.Exit)
	}
	if len(t.Replaced) > 0 {
		field("replaced", "%s", strings.Join(t.Replaced, ", "))
	}
	if t.Canceled != "" {
		field("canceled", "%s, by a transfer of nothing with its nonce", t.Canceled)
	}
	for _, p := range t.Past {
		field("before", "%s: %s, exit code %d", or(p.CID, "unsigned"), p.State, p.Exit)
	}
	for _, m := range t.Members {
		if len(t.Members) > 1 || m.Exit != t.Exit {
			field("member", "%s, exit code %d", m.For, m.Exit)
		}
	}
}

func gasText(t *chain.Tracked) string {
	switch {
	case t.GasUsed > 0:
		return fmt.Sprintf(", %d gas used", t.GasUsed)
	case t.GasLimit > 0:
		return fmt.Sprintf(", %d gas at %s, premium %s", t.GasLimit, chain.FIL(t.FeeCap), chain.FIL(t.Premium))
	}
	return ""
}

func ageText(t *chain.Tracked) string {
	if t.Age == 0 {
		return ""
	}
	return fmt.Sprintf(", %d epochs ago", t.Age)
}

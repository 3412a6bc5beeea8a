package cli

import (
	"context"
	"slices"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/handover"
	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/jobs"
)

// handover sees that whoever proves has this host's storage paths, and leaves lpseal its
// sector numbers and its sender.
func (d *doctor) handover(ctx context.Context) {
	to := d.cfg.Handover.To
	if to == jobs.HandoverNone {
		return
	}
	h, err := handover.New(to, d.cfg.Handover.API.Reveal())
	if err != nil {
		d.fail("prover", "lpseal config view --origin", "%w", err)
		return
	}
	for _, m := range d.cfg.Miners {
		for _, configured := range d.cfg.Worker.Paths {
			p, err := files.OpenPath(configured.Dir)
			if err != nil || !p.CanStore {
				continue // a finding of its own; or nothing is stored there
			}
			if by, err := h.Attached(ctx, abi.ActorID(m.ID), p.ID); err != nil {
				d.fail("prover", "", "%s: %w", configured.Dir, err) // which says what to do
			} else {
				d.ok("prover", "%s has %s attached for miner %s", by, configured.Dir, m.ID)
			}
		}
		if to == jobs.HandoverLotusMiner {
			d.numbers(ctx, h, m)
			if sender, ok := d.senders[m.ID]; ok {
				d.sender(ctx, h, m, sender)
			}
		}
	}
}

// numbers sees that lotus-miner, if it seals too, takes no number that lpseal may take.
func (d *doctor) numbers(ctx context.Context, h *handover.Handover, m configs.Miner) {
	if len(m.Ranges) == 0 {
		d.warn("prover", "if it does, give miners[].ranges and reserve them there: lotus-miner sectors numbers reserve lpseal FIRST-LAST",
			"miner %s has no number ranges: its lotus-miner must not seal beside lpseal", m.ID)
		return
	}
	reserved, err := h.Reserved(ctx, abi.ActorID(m.ID))
	if err != nil {
		d.fail("prover", "", "%w", err)
		return
	}
	for _, r := range m.Ranges {
		free, err := bitfield.SubtractBitField(r.Bits(), reserved)
		if err != nil {
			d.fail("prover", "", "sector numbers of %s: %w", m.ID, err)
			return
		}
		if count, err := free.Count(); err != nil || count > 0 {
			d.fail("prover", "lotus-miner sectors numbers reserve lpseal "+r.String(),
				"the lotus-miner of %s may take %d of the sector numbers %s, too", m.ID, count, r)
			continue
		}
		d.ok("prover", "the lotus-miner of %s leaves the sector numbers %s to lpseal", m.ID, r)
	}
}

// sender sees that lotus-miner does not send from the key whose nonces lpseal counts. It sends its WindowPoSts from every control address that its
// configuration names no use for, and from the worker and the owner besides (Lotus, storage/ctladdr).
func (d *doctor) sender(ctx context.Context, h *handover.Handover, m configs.Miner, sender chain.Wallet) {
	named, err := h.NamedSenders(ctx, abi.ActorID(m.ID))
	if err != nil {
		d.fail("prover", "", "%w", err)
		return
	}
	isNamed := slices.ContainsFunc(named, func(a address.Address) bool { return a.String() == sender.Key || a.String() == sender.ID })
	if isNamed && slices.Equal(sender.Roles, []string{"control"}) {
		d.ok("prover", "the lotus-miner of %s sends no WindowPoSt from %s", m.ID, sender.Key)
		return
	}
	d.warn("prover", `have lotus-miner use it for nothing, in its config.toml: [Addresses] TerminateControl = ["`+sender.Key+`"]; or set chain.sender.shared`,
		"the lotus-miner of %s sends WindowPoSts from %s, too, while lpseal counts its nonces", m.ID, sender.Key)
}

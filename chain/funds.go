package chain

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/filecoin-project/go-address"
	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// Funds is the money of a miner and of those who may send for it, as of the head. Amounts are in attoFIL.
type Funds struct {
	Miner     string          `json:"miner"`
	Available abi.TokenAmount `json:"available"` // of the miner actor, free for collateral
	BaseFee   abi.TokenAmount `json:"base_fee"`  // of one unit of gas
	Deposit   abi.TokenAmount `json:"deposit"`   // of one sector's pre-commit, now
	Pledge    abi.TokenAmount `json:"pledge"`    // of one sector, the deposit in it
	Wallets   []Wallet        `json:"wallets"`
	// Trouble says why no wallet can send; empty if one can.
	Trouble string `json:"trouble,omitempty"`

	account jobs.Account
}

// Wallet is an address that belongs to a miner.
type Wallet struct {
	Roles   []string        `json:"roles"` // control, worker, owner
	ID      string          `json:"id"`    // ID address
	Key     string          `json:"key"`   // the address that signs for it; the ID address of an actor that has no key, such as a multisig
	Balance abi.TokenAmount `json:"balance"`
	Held    bool            `json:"held"`  // the node's wallet has the key
	Sends   bool            `json:"sends"` // messages may be sent from it
	Why     string          `json:"why,omitempty"`
}

// What a message of one sector of a network of version 28 uses, as recorded.
const (
	gasPreCommit = 13_000_000
	gasCommit    = 91_000_000
	// gasMargin is what estimates add to the use, in percent.
	gasMargin = 125
)

// Funds gives the money of a miner. Its calls are made once for each head.
func (c *Client) Funds(ctx context.Context, id abi.ActorID) (*Funds, error) {
	head, err := c.headTipSet(ctx)
	if err != nil {
		return nil, err
	}
	f := &Funds{Miner: minerAddress(id).String(), BaseFee: head.Blocks[0].ParentBaseFee}
	if f.Available, err = c.available(ctx, id, head); err != nil {
		return nil, err
	}
	if f.Deposit, f.Pledge, err = c.collateral(ctx, id, head); err != nil {
		return nil, err
	}
	if err := c.wallets(ctx, id, f); err != nil {
		return nil, err
	}
	premium, err := memo(ctx, c, head.Key(), "GasEstimateGasPremium", f.Miner, func(ctx context.Context, api *api) (abi.TokenAmount, error) {
		return api.GasEstimateGasPremium(ctx, premiumBlocks, minerAddress(id), gasCommit, lotus.EmptyTSK)
	})
	if err != nil {
		return nil, err
	}
	fee := func(used int64) abi.TokenAmount {
		m := lotus.Message{GasLimit: used * gasMargin / 100, GasFeeCap: big.Add(f.BaseFee, premium), GasPremium: premium}
		return lotus.ChargeGas(&m, used, f.BaseFee).Total()
	}
	f.account = jobs.Account{
		Available: f.Available, FromMiner: c.cfg.CollateralFromMiner, Deposit: f.Deposit, Pledge: f.Pledge,
		Gas:    map[jobs.Stage]abi.TokenAmount{jobs.PreCommit: fee(gasPreCommit), jobs.Commit: fee(gasCommit)},
		MaxFee: map[jobs.Stage]abi.TokenAmount{jobs.PreCommit: c.cfg.MaxFeePreCommit, jobs.Commit: c.cfg.MaxFeeCommit},
	}
	for _, w := range f.Wallets {
		if w.Sends {
			f.account.Senders = append(f.account.Senders, w.Key)
		}
	}
	return f, nil
}

// Treasury gives the money of miners, by number, and all of it together for a forecast.
func (c *Client) Treasury(ctx context.Context, miners []abi.ActorID) (*jobs.Treasury, []*Funds, error) {
	t := &jobs.Treasury{Network: c.network, Miners: map[abi.ActorID]jobs.Account{}, Senders: map[string]abi.TokenAmount{}}
	var all []*Funds
	for _, id := range slices.Sorted(slices.Values(miners)) {
		f, err := c.Funds(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		t.Miners[id] = f.account
		for _, w := range f.Wallets {
			t.Senders[w.Key] = w.Balance
		}
		all = append(all, f)
	}
	return t, all, nil
}

func (c *Client) available(ctx context.Context, id abi.ActorID, head *lotus.TipSet) (abi.TokenAmount, error) {
	free, err := memo(ctx, c, head.Key(), "StateMinerAvailableBalance", minerAddress(id).String(), func(ctx context.Context, api *api) (abi.TokenAmount, error) {
		return api.StateMinerAvailableBalance(ctx, minerAddress(id), head.Key())
	})
	if err != nil {
		return free, fmt.Errorf("miner %s: available balance: %w", minerAddress(id), err)
	}
	return free, nil
}

// collateral asks what a CC sector of the miner costs now: the deposit of its pre-commit, and the whole pledge.
func (c *Client) collateral(ctx context.Context, id abi.ActorID, head *lotus.TipSet) (deposit, pledge abi.TokenAmount, err error) {
	m, err := c.Miner(ctx, id)
	if err != nil {
		return deposit, pledge, err
	}
	addr := minerAddress(id)
	replica, err := commcid.ReplicaCommitmentV1ToCID(make([]byte, 32))
	if err != nil {
		return deposit, pledge, jobs.Failf(jobs.Bug, "CID of a replica: %w", err)
	}
	info := miner.SectorPreCommitInfo{
		SealProof: m.SealProof, SealedCID: replica, SealRandEpoch: head.Height - 1, Expiration: head.Height + miner.MaxSectorExpirationExtension,
	}
	deposit, err = memo(ctx, c, head.Key(), "StateMinerPreCommitDepositForPower", addr.String(), func(ctx context.Context, api *api) (abi.TokenAmount, error) {
		return api.StateMinerPreCommitDepositForPower(ctx, addr, info, head.Key())
	})
	if err != nil {
		return deposit, pledge, fmt.Errorf("miner %s: deposit of a pre-commit: %w", addr, err)
	}
	pledge, err = memo(ctx, c, head.Key(), "StateMinerInitialPledgeForSector", addr.String(), func(ctx context.Context, api *api) (abi.TokenAmount, error) {
		return api.StateMinerInitialPledgeForSector(ctx, miner.MaxSectorExpirationExtension, m.SectorSize, 0, head.Key())
	})
	if err != nil {
		return deposit, pledge, fmt.Errorf("miner %s: pledge of a sector: %w", addr, err)
	}
	return deposit, pledge, nil
}

// wallets lists the miner's addresses: those that may send first, in the order in which they are tried, then the others.
func (c *Client) wallets(ctx context.Context, id abi.ActorID, f *Funds) error {
	info, err := c.minerInfo(ctx, id)
	if err != nil {
		return err
	}
	senders, err := c.candidates(ctx, id)
	if err != nil {
		var fault *jobs.Fault
		if !errors.As(err, &fault) || fault.Class != jobs.Rejected {
			return err
		}
		f.Trouble = fault.Text
	}
	all := slices.Concat(senders, info.ControlAddresses, []address.Address{info.Worker, info.Owner})
	for i, a := range all {
		if slices.Index(all, a) < i {
			continue
		}
		w, err := c.wallet(ctx, a)
		if err != nil {
			return err
		}
		for role, of := range map[string][]address.Address{"control": info.ControlAddresses, "worker": {info.Worker}, "owner": {info.Owner}} {
			if slices.Contains(of, a) {
				w.Roles = append(w.Roles, role)
			}
		}
		slices.Sort(w.Roles)
		allowed := slices.Contains(senders, a)
		switch w.Sends = allowed && w.Held; {
		case w.Sends:
		case allowed:
			w.Why = "the node's wallet has no key for it"
		case len(c.cfg.Senders) > 0:
			w.Why = "it is not chain.sender.address"
		default:
			w.Why = "other software signs with it; chain.sender.shared allows it"
		}
		f.Wallets = append(f.Wallets, w)
	}
	if f.Trouble == "" && !slices.ContainsFunc(f.Wallets, func(w Wallet) bool { return w.Sends }) {
		f.Trouble = "the node's wallet has the key of none of its senders; import one"
	}
	return nil
}

func (c *Client) wallet(ctx context.Context, a address.Address) (Wallet, error) {
	w := Wallet{ID: a.String()}
	key, err := c.keyAddress(ctx, a)
	if err != nil { // a multisig has no key: it owns, and signs nothing
		key = a
	} else if w.Held, err = c.hasKey(ctx, key); err != nil {
		return w, err
	}
	w.Key = key.String()
	w.Balance, err = c.balance(ctx, key)
	return w, err
}

func (c *Client) hasKey(ctx context.Context, key address.Address) (bool, error) {
	return read(ctx, c.node, "WalletHas", func(ctx context.Context, api *api) (bool, error) { return api.WalletHas(ctx, key) })
}

func (c *Client) balance(ctx context.Context, key address.Address) (abi.TokenAmount, error) {
	got, err := c.atHead(ctx, "WalletBalance", key, func(ctx context.Context, api *api) (any, error) { return api.WalletBalance(ctx, key) })
	if err != nil {
		return big.Zero(), err
	}
	return got.(abi.TokenAmount), nil
}

package jobs

import (
	"maps"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
)

// Pace is how long stages take from the moment that nothing is missing, waits for a
// worker and for the chain included. A stage that nobody has seen takes no time.
type Pace map[Stage]time.Duration

// MeasurePace takes the median of what records show of each stage.
func MeasurePace(records []*Record) Pace {
	seen := map[Stage][]time.Duration{}
	for _, r := range records {
		if r == nil {
			continue
		}
		for _, row := range Stages {
			if took, ok := r.took(row); ok {
				seen[row.Stage] = append(seen[row.Stage], took)
			}
		}
	}
	pace := Pace{}
	for s, all := range seen {
		slices.Sort(all)
		pace[s] = all[len(all)/2]
	}
	return pace
}

// took is how long after its last dependency a done stage was done.
func (r *Record) took(row *Row) (time.Duration, bool) {
	sr := r.Stage(row.Stage)
	if row.Recovery || sr.State != Done {
		return 0, false
	}
	from := r.Created
	for _, s := range row.After {
		before := r.Stage(s)
		if before.State != Done {
			return 0, false
		}
		if before.Since.After(from) {
			from = before.Since
		}
	}
	took := sr.Since.Sub(from)
	return took, took >= 0 // below: a dependency was done again afterwards
}

// Payment is a message's part that one sector owes: a pre-commit's deposit or a
// commit's pledge, and gas.
type Payment struct {
	Sector SectorID
	Stage  Stage // PreCommit or Commit
	Due    time.Time
}

// Payments are what a sector still owes, and when, at a pace. Until a message has landed
// it is owed. A held sector owes nothing: nothing starts for it.
func Payments(r *Record, pace Pace, net *Network, now time.Time) []Payment {
	if r.Outcome != Open || r.Abandoned || r.Hold != nil || r.Activation != 0 {
		return nil
	}
	start, end := map[Stage]time.Time{}, map[Stage]time.Time{}
	for _, row := range Stages { // which lists a stage after those it needs
		begun := now
		for _, s := range row.After {
			if end[s].After(begun) {
				begun = end[s]
			}
		}
		start[row.Stage] = begun
		switch sr := r.Stage(row.Stage); sr.State {
		case Done:
			end[row.Stage] = now
		case Queued, Running:
			end[row.Stage] = sr.Since.Add(pace[row.Stage])
		default:
			end[row.Stage] = begun.Add(pace.of(row.Stage, net))
		}
	}
	var out []Payment
	for _, s := range []Stage{PreCommit, Commit} {
		if s == PreCommit && r.PreCommitted() {
			continue
		}
		out = append(out, Payment{Sector: r.ID, Stage: s, Due: start[s]})
	}
	return out
}

// of is a stage's time; the wait for the seed is known without having been seen.
func (p Pace) of(s Stage, net *Network) time.Duration {
	if s == C1 {
		return max(p[s], epochs(net.ChallengeDelay, net))
	}
	return p[s]
}

// Treasury is what there is to pay with, and the prices.
type Treasury struct {
	Network Network
	Miners  map[abi.ActorID]Account
	Senders map[string]abi.TokenAmount // balances by key address; one may send for several miners
}

// Account is the money side of one miner. Amounts are in attoFIL, prices those of now.
type Account struct {
	Available abi.TokenAmount // the miner actor's free balance
	FromMiner bool            // deposit and pledge are taken from it first
	Senders   []string        // who may send for the miner, in order of preference
	Deposit   abi.TokenAmount // of a sector's pre-commit
	Pledge    abi.TokenAmount // initial pledge of a sector, the deposit in it
	// Gas is the fee of a message for one sector; MaxFee is what its sender must be able
	// to pay.
	Gas, MaxFee map[Stage]abi.TokenAmount
}

// Outlook is what one miner's sectors will need, in attoFIL.
type Outlook struct {
	Miner    abi.ActorID     `json:"miner"`
	Messages map[Stage]int   `json:"messages"` // sectors that owe a message, by stage
	Deposits abi.TokenAmount `json:"deposits"`
	Pledges  abi.TokenAmount `json:"pledges"` // beyond deposits
	Gas      abi.TokenAmount `json:"gas"`
	// Short is what must be sent to the senders so that every payment can be made, zero
	// if all is there; ShortAt is when the first one cannot.
	Short   abi.TokenAmount `json:"short"`
	ShortAt time.Time       `json:"short_at,omitzero"`
}

// Foresee makes the payments in order of time, as the senders would be chosen, and says of
// every miner in the treasury what it needs and what is missing. Prices are taken to stay.
func Foresee(payments []Payment, t *Treasury) []Outlook {
	purse := purse{maps.Clone(t.Senders), map[abi.ActorID]abi.TokenAmount{}}
	if purse.senders == nil {
		purse.senders = map[string]abi.TokenAmount{}
	}
	outlooks := map[abi.ActorID]*Outlook{}
	for id, a := range t.Miners {
		purse.miners[id] = big.Max(big.Zero(), a.Available)
		outlooks[id] = &Outlook{
			Miner: id, Messages: map[Stage]int{}, Deposits: big.Zero(), Pledges: big.Zero(), Gas: big.Zero(), Short: big.Zero(),
		}
	}
	payments = slices.SortedStableFunc(slices.Values(payments), func(a, b Payment) int { return a.Due.Compare(b.Due) })
	for _, p := range payments {
		o := outlooks[p.Sector.Miner]
		if o == nil {
			continue
		}
		a := t.Miners[p.Sector.Miner]
		value := a.Deposit
		if p.Stage == Commit {
			value = big.Max(big.Zero(), big.Sub(a.Pledge, a.Deposit))
			o.Pledges = big.Add(o.Pledges, value)
		} else {
			o.Deposits = big.Add(o.Deposits, value)
		}
		o.Messages[p.Stage]++
		o.Gas = big.Add(o.Gas, a.Gas[p.Stage])
		if missing := purse.pay(p.Sector.Miner, &a, p.Stage, value); missing.Sign() > 0 {
			if o.Short.IsZero() {
				o.ShortAt = p.Due
			}
			o.Short = big.Add(o.Short, missing)
		}
	}
	out := make([]Outlook, 0, len(outlooks))
	for _, id := range slices.Sorted(maps.Keys(outlooks)) {
		out = append(out, *outlooks[id])
	}
	return out
}

// purse is what is left after payments.
type purse struct {
	senders map[string]abi.TokenAmount
	miners  map[abi.ActorID]abi.TokenAmount
}

// pay takes a message's value and gas from whoever would send it, and gives what had to be
// added to the richest sender where none could.
func (p *purse) pay(miner abi.ActorID, a *Account, s Stage, value abi.TokenAmount) (missing abi.TokenAmount) {
	if a.FromMiner {
		used := big.Min(value, p.miners[miner])
		p.miners[miner], value = big.Sub(p.miners[miner], used), big.Sub(value, used)
	}
	need, from := big.Add(value, a.MaxFee[s]), ""
	most := big.NewInt(-1)
	for _, sender := range a.Senders {
		has := p.balance(sender)
		if has.GreaterThanEqual(need) {
			from = sender
			break
		}
		if has.GreaterThan(most) {
			from, most = sender, has
		}
	}
	has := p.balance(from)
	missing = big.Max(big.Zero(), big.Sub(need, has))
	p.senders[from] = big.Sub(big.Add(has, missing), big.Add(value, a.Gas[s]))
	return missing
}

func (p *purse) balance(sender string) abi.TokenAmount {
	if b, ok := p.senders[sender]; ok {
		return b
	}
	return big.Zero()
}

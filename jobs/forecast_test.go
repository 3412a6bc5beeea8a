package jobs

import (
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/stretchr/testify/require"
)

var forecastNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// sectorAt is a sector whose stages were done so long before now.
func sectorAt(n int, done map[Stage]time.Duration) *Record {
	r := &Record{ID: SectorID{Miner: 1000, Number: abi.SectorNumber(n)}, Created: forecastNow.Add(-10 * time.Hour), Stages: map[Stage]StageRecord{}}
	for s, ago := range done {
		r.Stages[s] = StageRecord{State: Done, Fence: 1, Since: forecastNow.Add(-ago)}
	}
	return r
}

func TestMeasurePace(t *testing.T) {
	t.Parallel()
	records := []*Record{
		nil,
		sectorAt(1, map[Stage]time.Duration{TreeD: 9 * time.Hour, SDR: 7 * time.Hour, TreeRC: 6 * time.Hour}),
		sectorAt(2, map[Stage]time.Duration{TreeD: 9 * time.Hour, SDR: 6 * time.Hour, TreeRC: 5 * time.Hour}),
		sectorAt(3, map[Stage]time.Duration{TreeD: 9 * time.Hour, SDR: 5 * time.Hour, TreeRC: 1 * time.Hour}),
		sectorAt(4, map[Stage]time.Duration{SDR: time.Hour, TreeRC: 2 * time.Hour}), // its layers were made again
	}
	pace := MeasurePace(records)
	require.Equal(t, time.Hour, pace[TreeD])
	require.Equal(t, 5*time.Hour, pace[SDR], "the upper of two in the middle")
	require.Equal(t, time.Hour, pace[TreeRC], "from the later of its two inputs, and never less than nothing")
	require.NotContains(t, pace, C1)
}

func TestPayments(t *testing.T) {
	t.Parallel()
	net := &Network{BlockDelay: 30 * time.Second, ChallengeDelay: 150}
	pace := Pace{TreeD: time.Hour, SDR: 4 * time.Hour, TreeRC: 2 * time.Hour, PreCommit: time.Minute, C2: time.Hour, Store: 3 * time.Hour}
	due := func(r *Record) (out map[Stage]time.Duration) {
		for _, p := range Payments(r, pace, net, forecastNow) {
			if out == nil {
				out = map[Stage]time.Duration{}
			}
			require.Equal(t, r.ID, p.Sector)
			out[p.Stage] = p.Due.Sub(forecastNow)
		}
		return out
	}
	fresh := sectorAt(1, nil)
	require.Equal(t, map[Stage]time.Duration{PreCommit: 6 * time.Hour, Commit: 9 * time.Hour}, due(fresh), "store takes longer than the seed and c2")

	running := sectorAt(2, map[Stage]time.Duration{TreeD: 5 * time.Hour})
	running.Stages[SDR] = StageRecord{State: Running, Fence: 1, Since: forecastNow.Add(-3 * time.Hour)}
	require.Equal(t, 3*time.Hour, due(running)[PreCommit], "what is left of sdr, and tree_rc")

	sealed := sectorAt(3, map[Stage]time.Duration{TreeD: 5, SDR: 4, TreeRC: 3})
	require.Equal(t, time.Duration(0), due(sealed)[PreCommit], "at once")

	waiting := sectorAt(4, map[Stage]time.Duration{TreeD: 5, SDR: 4, TreeRC: 3, PreCommit: 2, Store: 1})
	require.Contains(t, due(waiting), PreCommit, "until it landed")
	waiting.PreCommitEpoch = 100
	require.Equal(t, map[Stage]time.Duration{Commit: 75*time.Minute + time.Hour}, due(waiting), "150 epochs and c2")

	waiting.Hold = &Hold{}
	require.Empty(t, due(waiting))
	waiting.Hold, waiting.Activation = nil, 300
	require.Empty(t, due(waiting))
}

func attos(n int64) abi.TokenAmount { return big.NewInt(n) }

func account(change func(*Account)) Account {
	a := Account{
		Available: attos(0), Senders: []string{"f1a", "f1b"}, Deposit: attos(100), Pledge: attos(250),
		Gas:    map[Stage]abi.TokenAmount{PreCommit: attos(2), Commit: attos(6)},
		MaxFee: map[Stage]abi.TokenAmount{PreCommit: attos(10), Commit: attos(20)},
	}
	if change != nil {
		change(&a)
	}
	return a
}

// owed are payments of sectors of miner 1000, an hour apart.
func owed(stages ...Stage) (out []Payment) {
	for i, s := range stages {
		out = append(out, Payment{SectorID{1000, abi.SectorNumber(i)}, s, forecastNow.Add(time.Duration(i) * time.Hour)})
	}
	return out
}

func TestForesee(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		account Account
		senders map[string]abi.TokenAmount
		owed    []Payment
		short   int64
		at      time.Duration
	}{
		"nothing is owed": {account(nil), nil, nil, 0, 0},
		"exactly enough, the fee that may be asked too": {account(nil), map[string]abi.TokenAmount{"f1a": attos(110)}, owed(PreCommit), 0, 0},
		"one short of the fee":                          {account(nil), map[string]abi.TokenAmount{"f1a": attos(109)}, owed(PreCommit), 1, 0},
		"the next sender pays":                          {account(nil), map[string]abi.TokenAmount{"f1a": attos(109), "f1b": attos(110)}, owed(PreCommit), 0, 0},
		"no sender":                                     {account(func(a *Account) { a.Senders = nil }), nil, owed(PreCommit), 110, 0},
		"the third cannot be paid":                      {account(nil), map[string]abi.TokenAmount{"f1a": attos(220)}, owed(PreCommit, PreCommit, PreCommit), 94, 2 * time.Hour},
		"all that is missing is counted, each reserve once": {
			account(nil), map[string]abi.TokenAmount{"f1a": attos(110)}, owed(PreCommit, PreCommit, PreCommit), 204, time.Hour,
		},
		"a commit pays the pledge less the deposit": {account(nil), map[string]abi.TokenAmount{"f1a": attos(169)}, owed(Commit), 1, 0},
		"the miner pays first": {
			account(func(a *Account) { a.FromMiner, a.Available = true, attos(90) }), map[string]abi.TokenAmount{"f1a": attos(20)}, owed(PreCommit), 0, 0,
		},
		"the miner's money is spent once": {
			account(func(a *Account) { a.FromMiner, a.Available = true, attos(150) }), map[string]abi.TokenAmount{"f1a": attos(20)}, owed(PreCommit, PreCommit), 42, time.Hour,
		},
		"a miner in debt pays nothing": {
			account(func(a *Account) { a.FromMiner, a.Available = true, attos(-50) }), map[string]abi.TokenAmount{"f1a": attos(110)}, owed(PreCommit), 0, 0,
		},
		"not from the miner": {account(func(a *Account) { a.Available = attos(1000) }), map[string]abi.TokenAmount{"f1a": attos(20)}, owed(PreCommit), 90, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Foresee(tc.owed, &Treasury{Miners: map[abi.ActorID]Account{1000: tc.account}, Senders: tc.senders})
			require.Len(t, o, 1)
			require.Equal(t, attos(tc.short).String(), o[0].Short.String())
			if tc.short == 0 {
				require.Zero(t, o[0].ShortAt)
				return
			}
			require.Equal(t, tc.at, o[0].ShortAt.Sub(forecastNow))
		})
	}
}

// Two miners that share a sender spend its money once, in order of time.
func TestForeseeSharedSender(t *testing.T) {
	t.Parallel()
	one := account(func(a *Account) { a.Senders = []string{"f1a"} })
	payments := []Payment{
		{SectorID{1001, 1}, PreCommit, forecastNow.Add(time.Hour)},
		{SectorID{1000, 1}, PreCommit, forecastNow},
		{SectorID{1002, 1}, PreCommit, forecastNow}, // of nobody we know
	}
	o := Foresee(payments, &Treasury{Miners: map[abi.ActorID]Account{1000: one, 1001: one}, Senders: map[string]abi.TokenAmount{"f1a": attos(110)}})
	require.Equal(t, []abi.ActorID{1000, 1001}, []abi.ActorID{o[0].Miner, o[1].Miner})
	require.True(t, o[0].Short.IsZero())
	require.Equal(t, "102", o[1].Short.String())
	require.Equal(t, map[Stage]int{PreCommit: 1}, o[0].Messages)
	require.Equal(t, "100", o[0].Deposits.String())
	require.Equal(t, "2", o[0].Gas.String())
}

package chain

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/exitcode"

	"github.com/lpseal/lpseal/jobs"
)

// Tracked is a message in a journal, as operators see it. Amounts are in attoFIL.
type Tracked struct {
	Key      string            `json:"key"` // in the journal, such as message/b-1/1
	State    jobs.MessageState `json:"state"`
	CID      string            `json:"cid,omitempty"`
	Method   string            `json:"method"`
	Miner    string            `json:"miner,omitempty"`
	Members  []Member          `json:"members"` // in the order of the parameters
	Sender   string            `json:"sender,omitempty"`
	Nonce    uint64            `json:"nonce"`
	Value    abi.TokenAmount   `json:"value"`
	Offered  abi.TokenAmount   `json:"offered"` // the most that its gas may cost
	Paid     abi.TokenAmount   `json:"paid"`    // for gas, once landed and known
	GasLimit int64             `json:"gas_limit,omitempty"`
	FeeCap   abi.TokenAmount   `json:"fee_cap"`
	Premium  abi.TokenAmount   `json:"premium"`
	GasUsed  int64             `json:"gas_used,omitempty"`
	Signed   abi.ChainEpoch    `json:"signed,omitempty"` // the head when it was first signed
	Pushed   abi.ChainEpoch    `json:"pushed,omitempty"` // when it was last pushed
	Settled  abi.ChainEpoch    `json:"settled,omitempty"`
	Age      abi.ChainEpoch    `json:"age,omitempty"` // epochs since it was signed, while it has not landed; needs a node
	Exit     exitcode.ExitCode `json:"exit"`
	Replaced []string          `json:"replaced,omitempty"`  // versions with a lower fee
	Canceled string            `json:"canceled,omitempty"`  // the message that a transfer of nothing outbids
	Past     []PastMessage     `json:"past,omitempty"`      // earlier messages for the same, where one meaning was asked about
	DiskOnly bool              `json:"disk_only,omitempty"` // Redis lost it; a scheduler of this host puts it back

	// Aggregate says that one SnarkPack proof stands for those of all members.
	Aggregate bool `json:"aggregate,omitempty"`
}

// Member is one sector of a message.
type Member struct {
	Meaning jobs.Meaning      `json:"-"`
	For     string            `json:"for"` // the meaning as text
	Exit    exitcode.ExitCode `json:"exit"`
}

// PastMessage is an earlier message that ended without effect.
type PastMessage struct {
	CID   string            `json:"cid"`
	State jobs.MessageState `json:"state"`
	Exit  exitcode.ExitCode `json:"exit"`
}

// MessageUnreadable is the state of what the journal holds and cannot be parsed: nothing but its key is known.
const MessageUnreadable jobs.MessageState = "unreadable"

func unreadableUnder(key string) Tracked {
	return Tracked{Key: key, State: MessageUnreadable, Members: []Member{}}
}

// MessageReserved is the state of a message whose nonce is reserved and that nobody has signed.
const MessageReserved jobs.MessageState = "reserved"

func (e *entry) tracked(key string) Tracked {
	t := Tracked{
		Key: key, State: e.State, CID: e.name(), Method: methodName(e.Method), Members: []Member{}, Aggregate: e.Aggregate, Signed: e.SignedAt, Pushed: e.PushedAt, Exit: e.Exit,
	}
	if e.State == jobs.MessageNone {
		t.State = MessageReserved
	}
	if e.State.Terminal() {
		t.Settled = e.Height
	}
	if e.Miner != address.Undef {
		t.Miner = e.Miner.String()
	}
	for i, m := range e.Members {
		t.Members = append(t.Members, Member{m, m.String(), e.memberExit(i)})
	}
	b := e.Bill
	if e.Signed != nil {
		m := &e.Signed.Message
		b = billOf(m)
		t.GasLimit, t.FeeCap, t.Premium = m.GasLimit, m.GasFeeCap, m.GasPremium
	}
	if b != nil {
		t.Sender, t.Nonce, t.Value, t.Offered, t.Paid, t.GasUsed = b.From.String(), b.Nonce, b.Value, b.Offered, b.Paid, b.Gas
	}
	for _, c := range e.Replaced {
		t.Replaced = append(t.Replaced, c.String())
	}
	if e.Canceled.Defined() {
		t.Canceled = e.Canceled.String()
	}
	return t
}

// Waits tells whether the message may still land.
func (t *Tracked) Waits() bool { return !t.State.Terminal() }

// named tells whether name is the message's key, what it is for, or the CID of one of its versions.
func (t *Tracked) named(name string) bool {
	return name == t.Key || name == t.CID || name == t.Canceled || slices.Contains(t.Replaced, name) ||
		slices.ContainsFunc(t.Members, func(m Member) bool { return m.For == name })
}

// Ledger reads the messages of journals: the shared one, and those on this host's disk for what the shared one lost. It writes nothing and needs no node.
type Ledger struct {
	Shared Journal
	Disks  []Journal
}

// Waiting gives the messages that are not settled, by sender and nonce. It costs two reads, however many were ever sent.
func (l Ledger) Waiting(ctx context.Context) ([]Tracked, error) {
	return l.gather(ctx, func(log messages) ([]Tracked, error) {
		senders, unread, err := log.senders(ctx)
		if err != nil {
			return nil, err
		}
		var out []Tracked
		for key := range unread {
			out = append(out, unreadableUnder(key))
		}
		for from, s := range senders {
			var keys []string
			for _, nonce := range s.nonces() {
				keys = append(keys, s.Reserved[nonce].Meaning)
			}
			found, err := log.tracked(ctx, keys)
			if err != nil {
				return nil, err
			}
			for i, nonce := range s.nonces() {
				t := found[i]
				switch {
				case t == nil:
					t = &Tracked{Key: keys[i], State: MessageReserved, Members: []Member{}}
				case !t.Waits():
					continue // settled; its nonce is about to be taken off the list
				}
				if t.State == MessageReserved {
					t.Signed, t.Sender, t.Nonce = s.Reserved[nonce].At, from.String(), nonce
				}
				out = append(out, *t)
			}
		}
		return out, nil
	})
}

// All gives every message, those that wait first, by sender and nonce, then the others, the newest first. It reads whole journals.
func (l Ledger) All(ctx context.Context) ([]Tracked, error) {
	waiting, err := l.Waiting(ctx)
	if err != nil {
		return nil, err
	}
	all, err := l.gather(ctx, func(log messages) ([]Tracked, error) {
		var out []Tracked
		for _, prefix := range []string{messagePrefix, fillPrefix} {
			entries, err := log.List(ctx, prefix)
			if err != nil {
				return nil, journalFault(err)
			}
			for key, raw := range entries {
				e, err := decodeEntry(key, raw)
				if err != nil {
					out = append(out, unreadableUnder(key))
					continue
				}
				if e.Signed != nil || e.Name.Defined() { // others were left before anything was signed
					out = append(out, e.tracked(key))
				}
			}
		}
		return out, nil
	})
	return sorted(append(waiting, all...)), err
}

// Of gives the messages of meanings, those that there are, each with those that came before it.
func (l Ledger) Of(ctx context.Context, meanings ...jobs.Meaning) ([]Tracked, error) {
	return l.gather(ctx, func(log messages) ([]Tracked, error) {
		stands, err := log.standings(ctx, meanings)
		if err != nil {
			return nil, err
		}
		var out []Tracked
		for _, s := range stands {
			if s.err != nil {
				out = append(out, unreadableUnder(s.key))
			}
			if s.entry == nil {
				continue
			}
			t := s.entry.tracked(s.Message)
			before, err := log.tracked(ctx, s.Past)
			if err != nil {
				return nil, err
			}
			for _, b := range before {
				if b != nil {
					t.Past = append(t.Past, PastMessage{CID: b.CID, State: b.State, Exit: b.Exit})
				}
			}
			out = append(out, t)
		}
		return out, nil
	})
}

// Find gives the message of a key, or of a CID, which may be that of a replaced version or an earlier attempt; nil if there is none.
func (l Ledger) Find(ctx context.Context, name string) (*Tracked, error) {
	for _, list := range []func(context.Context) ([]Tracked, error){l.Waiting, l.All} {
		found, err := list(ctx)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(found, func(t Tracked) bool { return t.named(name) }); i >= 0 {
			return &found[i], nil
		}
	}
	return nil, nil
}

// Forgotten is the epoch before which messages were settled that the shared journal no longer has; 0 while it has all, or cannot tell.
func (l Ledger) Forgotten(ctx context.Context) (abi.ChainEpoch, error) {
	before, _, err := messages{l.Shared}.forgotten(ctx)
	if isUnreadable(err) {
		return 0, nil
	}
	return max(0, before), err
}

// gather reads from the shared journal, and from disks what the shared one lost.
func (l Ledger) gather(ctx context.Context, read func(messages) ([]Tracked, error)) ([]Tracked, error) {
	out, err := read(messages{l.Shared})
	if err != nil {
		return nil, err
	}
	before, _, err := messages{l.Shared}.forgotten(ctx)
	if err != nil && !isUnreadable(err) { // for want of it a copy of what was forgotten may be listed
		return nil, err
	}
	for _, disk := range l.Disks {
		found, err := read(messages{disk})
		if err != nil {
			return nil, err
		}
		keys := make([]string, len(found))
		for i, t := range found {
			keys[i] = t.Key
		}
		values, err := messages{l.Shared}.get(ctx, keys...)
		if err != nil {
			return nil, err
		}
		for i, t := range found {
			if values[i] == nil && max(t.Settled, t.Pushed, t.Signed) >= before {
				t.DiskOnly = true
				out = append(out, t)
			}
		}
	}
	return sorted(out), nil
}

// tracked reads messages by key; nil where there is none.
func (l messages) tracked(ctx context.Context, keys []string) ([]*Tracked, error) {
	values, err := l.get(ctx, keys...)
	if err != nil {
		return nil, err
	}
	out := make([]*Tracked, len(keys))
	for i, raw := range values {
		if raw == nil {
			continue
		}
		t := unreadableUnder(keys[i])
		if e, err := decodeEntry(keys[i], raw); err == nil {
			t = e.tracked(keys[i])
		}
		out[i] = &t
	}
	return out, nil
}

// sorted orders messages and keeps one of each key: the shared journal's comes first.
func sorted(all []Tracked) []Tracked {
	first := map[string]Tracked{}
	for _, t := range all {
		if _, ok := first[t.Key]; !ok {
			first[t.Key] = t
		}
	}
	return slices.SortedFunc(maps.Values(first), func(a, b Tracked) int {
		switch {
		case a.Waits() != b.Waits():
			if a.Waits() {
				return -1
			}
			return 1
		case a.Waits():
			return cmp.Or(cmp.Compare(a.Sender, b.Sender), cmp.Compare(a.Nonce, b.Nonce), cmp.Compare(a.Key, b.Key))
		}
		return cmp.Or(cmp.Compare(b.Settled, a.Settled), cmp.Compare(a.Sender, b.Sender), cmp.Compare(b.Nonce, a.Nonce), cmp.Compare(a.Key, b.Key))
	})
}

// Observe fills in what the node knows of messages that wait: which have landed, and how old the others are. It gives the head.
func (c *Client) Observe(ctx context.Context, all []Tracked) (abi.ChainEpoch, error) {
	head, err := c.headTipSet(ctx)
	if err != nil {
		return 0, err
	}
	for i := range all {
		t := &all[i]
		if !t.Waits() || t.Sender == "" {
			continue
		}
		from, err := address.NewFromString(t.Sender)
		if err != nil {
			return 0, jobs.Failf(jobs.Bug, "message %s: sender: %w", t.Key, err)
		}
		next, err := c.nonceAt(ctx, from, head)
		if err != nil {
			return 0, err
		}
		if t.Nonce < next {
			t.State = jobs.MessageLanded
			continue
		}
		t.Age = max(0, head.Height-t.Signed)
	}
	return head.Height, nil
}

package chain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// entry is one message in the journal, under a key of [messageKey]. What it is for points at it: see claim.
type entry struct {
	Members []jobs.Meaning // in the order of the parameters; they stand once Signed does
	Miner   address.Address
	Method  abi.MethodNum
	State   jobs.MessageState
	// UUID is new whenever the entry is opened. It makes the node's own nonce assignment idempotent, and Asked is what the node was asked to sign under it
	// (shared keys): from then on the message may exist, and asking again tells.
	UUID  uuid.UUID
	Asked *lotus.Message `json:",omitempty"`
	// Signed is what was or will be pushed: always these bytes. Until it is set, nothing was pushed.
	Signed *lotus.SignedMessage `json:",omitempty"`
	// Replaced are earlier versions of Signed with the same nonce and a lower fee: one of them may land instead.
	Replaced []cid.Cid       `json:",omitempty"`
	Ticket   abi.ChainEpoch  // the oldest of a pre-commit's members
	Drawn    abi.TokenAmount // what the message takes from the miner's balance
	OpenedAt abi.ChainEpoch  // the head when the members were written
	SignedAt abi.ChainEpoch  // the head when the message was first signed: it cannot have landed before
	PushedAt abi.ChainEpoch  // the head when it was last pushed
	// Canceled is the message that an operator took back: Signed is then a transfer of nothing with the same nonce, and either may land.
	Canceled cid.Cid `json:",omitzero"`
	// Aggregate says that one SnarkPack proof stands for those of all members.
	Aggregate bool `json:",omitempty"`
	Void      int  // raised when a reserved nonce is taken away, so that a late signer's write fails

	// What the chain said, once State is terminal: Signed is then dropped, and Name is the message that landed, one of Replaced perhaps.
	Name        cid.Cid             `json:",omitzero"`
	Height      abi.ChainEpoch      `json:",omitempty"`
	Exit        exitcode.ExitCode   `json:",omitempty"`
	MemberExits []exitcode.ExitCode `json:",omitempty"` // of a BatchReturn
	Bill        *bill               `json:",omitempty"`
}

// cid is the name of the message that landed, was taken back or was pushed last; undefined before it is signed.
func (e *entry) cid() cid.Cid {
	switch {
	case e.Name.Defined():
		return e.Name
	case e.Canceled.Defined():
		return e.Canceled
	case e.Signed == nil:
		return cid.Undef
	}
	return e.Signed.Cid()
}

// name prints the CID; empty if there is no message.
func (e *entry) name() string {
	if e == nil || !e.cid().Defined() {
		return ""
	}
	return e.cid().String()
}

// pending tells whether signed bytes are on their way: nothing else may be sent for the members.
func (e *entry) pending() bool { return e != nil && e.Signed != nil && !e.State.Terminal() }

// open tells whether nobody has signed the message yet. One that the node was asked for may exist all the same.
func (e *entry) open() bool { return e != nil && e.Signed == nil && !e.State.Terminal() }

// end makes the entry terminal under the name of the message that decided it. Its bytes are no longer needed.
func (e *entry) end(state jobs.MessageState, name cid.Cid, height abi.ChainEpoch) {
	if e.Bill == nil && e.Signed != nil {
		e.Bill = billOf(&e.Signed.Message)
	}
	e.State, e.Name, e.Height, e.Signed, e.Asked = state, name, height, nil, nil
}

// uses tells whether the entry's message is the one of a sender's nonce.
func (e *entry) uses(from address.Address, nonce uint64) bool {
	return e != nil && e.Signed != nil && e.Signed.Message.From == from && e.Signed.Message.Nonce == nonce
}

// effective tells whether the message did, or may still do, what member i asks for.
func (e *entry) effective(i int) bool {
	switch e.State {
	case jobs.MessageFailed, jobs.MessageDropped:
		return false
	case jobs.MessageConfirmed:
		return e.memberExit(i).IsSuccess()
	default:
		return true
	}
}

func (e *entry) memberExit(i int) exitcode.ExitCode {
	if !e.Exit.IsSuccess() || i >= len(e.MemberExits) {
		return e.Exit
	}
	return e.MemberExits[i]
}

// fact is the message as jobs sees it for member i.
func (e *entry) fact(i int) jobs.Message {
	m := jobs.Message{CID: e.name(), State: e.State}
	if e.State.Terminal() {
		m.Epoch = e.Height
	}
	switch exit := e.memberExit(i); {
	case e.State == jobs.MessageDropped && e.Canceled.Defined():
		m.Fault = jobs.Failf(jobs.Transient, "message %s was taken back by an order", e.Canceled)
	case e.State != jobs.MessageConfirmed && e.State != jobs.MessageFailed:
	case !exit.IsSuccess():
		m.State, m.Fault = jobs.MessageFailed, exitFault(e.Method, exit, e.Exit.IsSuccess(), e.late())
		if !e.Exit.IsSuccess() && len(e.Members) > 1 && memberTrouble(e.Method, exit) {
			// The receipt does not say whose fault it is, and the others must not be condemned with it.
			m.Fault = jobs.Failf(jobs.Transient, "one of the %d sectors of %s made it fail with exit code %d (%s); they are sent again, and the estimate tells which it was",
				len(e.Members), e.name(), exit, exit)
		}
	}
	return m
}

// late tells whether the message landed after its tickets' window: its result is in the tipset above the one that holds it.
func (e *entry) late() bool {
	return e.Method == preCommitBatch2 && e.Height-1-e.Ticket > maxTicketAge
}

// messages reads and writes entries.
type messages struct{ Journal }

// load gives the entry of a key and its stored bytes, both nil if there is none.
func (l messages) load(ctx context.Context, key string) (*entry, []byte, error) {
	values, err := l.get(ctx, key)
	if err != nil || values[0] == nil {
		return nil, nil, err
	}
	e, err := decodeEntry(key, values[0])
	return e, values[0], err
}

// get reads keys in one round trip.
func (l messages) get(ctx context.Context, keys ...string) ([][]byte, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	values, err := l.Get(ctx, keys...)
	if err != nil {
		return nil, journalFault(err)
	}
	return values, nil
}

// unreadableError is that the value of one key of the journal could not be parsed. What is read together with it is not affected, and what depends on it
// waits for as long as it stands.
type unreadableError struct{ *jobs.Fault }

func (e unreadableError) Unwrap() error { return e.Fault }

func unreadable(key string, err error) error {
	return unreadableError{jobs.Failf(jobs.Transient, "message journal: entry %s cannot be read: a newer lpseal wrote it, so upgrade this one, or it is damaged (%w)", key, err)}
}

func isUnreadable(err error) bool {
	var u unreadableError
	return errors.As(err, &u)
}

// decode parses what the journal holds under a key, as strictly as a sector's record.
func decode(key string, raw []byte, v any) error {
	if err := jobs.DecodeStrictly(bytes.NewReader(raw), v); err != nil {
		return unreadable(key, err)
	}
	return nil
}

// states are those that an entry may have.
var states = []jobs.MessageState{
	jobs.MessageNone, jobs.MessageJournaled, jobs.MessagePushed, jobs.MessageConfirmed, jobs.MessageFailed, jobs.MessageDropped,
}

func decodeEntry(key string, raw []byte) (*entry, error) {
	var e entry
	if err := decode(key, raw, &e); err != nil {
		return nil, err
	}
	if !slices.Contains(states, e.State) {
		return nil, unreadable(key, fmt.Errorf("unknown state %q", e.State))
	}
	return &e, nil
}

// save writes an entry over the bytes it was loaded from. When another process wrote meanwhile, ok is false and the caller starts over.
func (l messages) save(ctx context.Context, key string, old []byte, e *entry) (raw []byte, ok bool, err error) {
	return swap(ctx, l.Journal, key, old, e)
}

func swap(ctx context.Context, j Journal, key string, old []byte, v any) (raw []byte, ok bool, err error) {
	if raw, err = json.Marshal(v); err != nil {
		return nil, false, jobs.Failf(jobs.Bug, "message journal: entry %s: %w", key, err)
	}
	if ok, err = j.Swap(ctx, key, old, raw); err != nil {
		return nil, false, journalFault(err)
	}
	return raw, ok, nil
}

// journalFault keeps cancellation what it is; any other failure of the journal is infrastructure and passes.
func journalFault(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return jobs.Failf(jobs.Transient, "%w", err)
}

// sender is what the journal knows of a sending key, under "sender/ADDRESS": which nonces are given to which meanings. One
// compare-and-set on it reserves a nonce, so two schedulers never give one twice.
type sender struct {
	Next     uint64 // lowest nonce never given
	Reserved map[uint64]reservation
}

// reservation gives a nonce to a meaning, which must use it: a gap would hold up every later message.
type reservation struct {
	Meaning string         // journal key of the entry
	At      abi.ChainEpoch // the head then
	Instead string         `json:",omitempty"` // the meaning that a filler took the nonce from
}

const senderPrefix = "sender/"

// senderKey writes the address with f, however this process prints addresses.
func senderKey(a address.Address) string { return senderPrefix + "f" + a.String()[1:] }

func senderOf(key string) (address.Address, error) {
	a, err := address.NewFromString(strings.TrimPrefix(key, senderPrefix))
	if err != nil {
		return a, unreadable(key, err)
	}
	return a, nil
}

// nonceOf finds the nonce that is reserved for a meaning, from a given one on.
func (s *sender) nonceOf(key string, from uint64) (uint64, bool) {
	for nonce, r := range s.Reserved {
		if r.Meaning == key && nonce >= from {
			return nonce, true
		}
	}
	return 0, false
}

// nonces lists the reserved nonces in order.
func (s *sender) nonces() []uint64 {
	all := make([]uint64, 0, len(s.Reserved))
	for n := range s.Reserved {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

// waiting are the reserved nonces that have not landed, where next is the sender's next one.
func (s *sender) waiting(next uint64) []uint64 {
	return slices.DeleteFunc(s.nonces(), func(nonce uint64) bool { return nonce < next })
}

// update changes a sender's record by compare-and-set until it holds. change says whether there is anything to write.
func (l messages) update(ctx context.Context, a address.Address, change func(*sender) bool) error {
	for {
		s, raw, err := l.sender(ctx, a)
		if err != nil || !change(s) {
			return err
		}
		if _, ok, err := swap(ctx, l.Journal, senderKey(a), raw, s); ok || err != nil {
			return err
		}
	}
}

// sender gives one sender's record, empty if there is none, and its stored bytes.
func (l messages) sender(ctx context.Context, a address.Address) (*sender, []byte, error) {
	key := senderKey(a)
	values, err := l.get(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	s := sender{Reserved: map[uint64]reservation{}}
	if values[0] != nil {
		if err := decode(key, values[0], &s); err != nil {
			return nil, nil, err
		}
	}
	return &s, values[0], nil
}

// senders gives every sender's record, and why those that cannot be read are not among them, by key.
func (l messages) senders(ctx context.Context) (all map[address.Address]*sender, unread map[string]error, err error) {
	values, err := l.List(ctx, senderPrefix)
	if err != nil {
		return nil, nil, journalFault(err)
	}
	all, unread = map[address.Address]*sender{}, map[string]error{}
	for key, raw := range values {
		a, err := senderOf(key)
		s := &sender{}
		if err == nil {
			err = decode(key, raw, s)
		}
		if err != nil {
			unread[key] = err
			continue
		}
		all[a] = s
	}
	return all, unread, nil
}

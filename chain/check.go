package chain

import (
	"context"
	"errors"
	"slices"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/exitcode"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// quote is a message that the node would execute for a set of members, with its gas figures.
type quote struct {
	set   []int
	msg   *lotus.Message
	drawn abi.TokenAmount // from the miner's balance
	// aggregate says that the message carries one proof of all members.
	aggregate bool
}

// fit gives the first members that a message holds, by number and bytes.
func (s *sending) fit(set []int) []int {
	room := jobs.MaxBatchBytes
	for n, i := range set {
		if room -= s.bytes(i); n > 0 && room < 0 || n == s.most() {
			return set[:n]
		}
	}
	return set
}

// checked finds a message of the set that the node would execute: bad members are taken out with their reasons. It is nil if none is left, or those that are
// go in another message.
func (s *sending) checked(ctx context.Context, head *lotus.TipSet, set []int) (*quote, error) {
	for asked := set; len(set) > 0; {
		q, err := s.quote(ctx, head, set)
		switch divisible := outOfGas(err) || errors.Is(err, errShort) || errors.Is(err, errTooLong); {
		case err == nil:
			return q, nil
		case divisible && len(set) > 1:
			set = set[:len(set)/2] // a block or a message has no room for more, or the sender no money; the others go in the next message
			continue
		case divisible:
			return nil, s.unpayable(ctx, head, set[0], asked, err)
		case !isMembers(err):
			return nil, err
		}
		bad, why, err := s.blame(ctx, head, set, err)
		if err != nil {
			return nil, err
		}
		for _, i := range bad {
			if err := s.takeOut(ctx, i, why); err != nil {
				return nil, err
			}
		}
		set = slices.DeleteFunc(slices.Clone(set), func(i int) bool { return slices.Contains(bad, i) })
	}
	return nil, nil
}

// unpayable takes member i out, which alone is too much for a block, a message or the sender, and where it is the money, those of the set that cost no less.
// Cheaper ones may go still.
func (s *sending) unpayable(ctx context.Context, head *lotus.TipSet, i int, set []int, why error) error {
	if !errors.Is(why, errShort) {
		return s.takeOut(ctx, i, why)
	}
	need, err := s.locks(ctx, head, i)
	if err != nil {
		return err
	}
	for _, j := range set {
		cost, err := s.locks(ctx, head, j)
		if err != nil {
			return err
		}
		if cost.LessThan(need) {
			continue
		}
		if err := s.takeOut(ctx, j, why); err != nil {
			return err
		}
	}
	return nil
}

// isMembers tells whether a failed estimate is the trouble of a member and not of the whole message.
func isMembers(err error) bool {
	var k *nodeFault
	return errors.As(err, &k) && k.member
}

func outOfGas(err error) bool {
	exit, executed := execution(err)
	return executed && exit == exitcode.SysErrOutOfGas
}

// blame finds members that a failed estimate of a set is about: those that its text names or, where it names none, the last one of the shortest run from the
// front that fails. That one fails alone or in company of those before it, so that the others can go without it; it is found in as many estimates as the set
// can be halved, and one. why is the error that the members get.
func (s *sending) blame(ctx context.Context, head *lotus.TipSet, set []int, why error) (bad []int, _ error, err error) {
	good := 0 // so many from the front do not fail
	for {
		if bad := s.named(set, why); len(bad) > 0 {
			return bad, why, nil
		}
		if len(set) == good+1 {
			break
		}
		half := (good + len(set)) / 2
		switch _, failed := s.quote(ctx, head, set[:half]); {
		case failed == nil, outOfGas(failed):
			good = half
		case isMembers(failed):
			set, why = set[:half], failed
		default:
			return nil, nil, failed
		}
	}
	last := set[good:]
	if good == 0 {
		return last, why, nil
	}
	switch _, alone := s.quote(ctx, head, last); {
	case alone == nil:
		why = jobs.Failf(jobs.Transient, "sector %s is refused with others of batch %s and not alone; it goes in another message (%w)", s.meaning(last[0]).ID, s.batch, why)
	case isMembers(alone):
		why = alone
	default:
		return nil, nil, alone
	}
	return last, why, nil
}

// named gives the members of a set that the text of an error names.
func (s *sending) named(set []int, err error) (bad []int) {
	text := err.Error()
	for _, i := range set {
		if s.blamed(i, text) {
			bad = append(bad, i)
		}
	}
	return bad
}

// takeOut gives member i its reason to stay behind. A refusal that says that the work is done or impossible is judged first: the chain may have moved
// on since it was asked, or a message in the mempool that the journal lost may be about to do it.
func (s *sending) takeOut(ctx context.Context, i int, why error) error {
	m := s.meaning(i)
	if errors.Is(why, errOvertaken) {
		known, err := s.log().standings(ctx, []jobs.Meaning{m})
		if err != nil {
			return err
		}
		if known[0].entry.pending() || known[0].err != nil {
			return nil // another process has just written, as the survey will see
		}
		head, err := s.freshHead(ctx)
		if err != nil {
			return err
		}
		found, err := s.sectorsAt(ctx, s.miner, []jobs.SectorID{m.ID}, head)
		if err != nil {
			return err
		}
		on := found[0]
		switch there, err := s.there(i, on); {
		case err != nil:
			why = err
		case there:
			s.done(i, "")
			return nil
		case m.Stage == jobs.Commit:
			why = jobs.Failf(jobs.Transient, "sector %s: a message in the mempool proves it already; waiting for it to land (%w)", m.ID, why)
		default:
			if why, err = s.usedNumber(ctx, m.ID, head, why); err != nil {
				return err
			}
		}
	}
	if !s.fault(ctx, i, why) {
		return why
	}
	return nil
}

// usedNumber judges a refusal for a number that is used: on chain, or only in the mempool.
func (s *sending) usedNumber(ctx context.Context, id jobs.SectorID, head *lotus.TipSet, refusal error) (why, err error) {
	used, err := s.allocatedAt(ctx, s.miner, head.Key())
	if err != nil {
		return nil, err
	}
	switch set, err := used.IsSet(uint64(id.Number)); {
	case err != nil:
		return nil, jobs.Failf(jobs.Bug, "sector %s: allocated numbers: %w", id, err)
	case set:
		return refusal, nil
	}
	return jobs.Failf(jobs.Transient, "sector %s: a message in the mempool uses the number already; waiting for it to land (%w)", id, refusal), nil
}

// quote builds the message of a set and has the node estimate it, which executes it: the real check of the parameters. The message is estimated as one
// that fails for one bad member, so that the estimate tells of it, and comes back as one that does not.
func (s *sending) quote(ctx context.Context, head *lotus.TipSet, set []int) (*quote, error) {
	locked := big.Zero()
	for _, i := range set {
		one, err := s.locks(ctx, head, i)
		if err != nil {
			return nil, err
		}
		locked = big.Add(locked, one)
	}
	value, err := s.lessAvailable(ctx, s.miner, locked, head)
	if err != nil {
		return nil, err
	}
	strict, err := s.params(head, set, true)
	if err != nil {
		return nil, err
	}
	msg, err := s.priced(ctx, head, len(set), strict, value)
	if err != nil {
		return nil, err
	}
	msg.Params, err = s.params(head, set, false)
	return &quote{set: set, msg: msg, drawn: big.Sub(locked, value)}, err
}

// priced chooses a sender for parameters and value and fills in the gas figures.
func (s *sending) priced(ctx context.Context, head *lotus.TipSet, sectors int, params []byte, value abi.TokenAmount) (*lotus.Message, error) {
	spec := &lotus.MessageSendSpec{MaxFee: s.feeLimit(s.method(), sectors)}
	from, err := s.pickSender(ctx, s.miner, big.Add(value, spec.MaxFee))
	if err != nil {
		return nil, err
	}
	msg := &lotus.Message{
		To: minerAddress(s.miner), From: from, Value: value, Method: s.method(), Params: params,
		GasFeeCap: big.Zero(), GasPremium: big.Zero(),
	}
	if bytes, err := msg.Serialize(); err != nil {
		return nil, jobs.Failf(jobs.Bug, "%w", err)
	} else if len(bytes) > lotus.MaxMessageBytes-signatureBytes {
		return nil, &nodeFault{fault: jobs.Failf(jobs.Rejected, "%s of %d sectors has %d bytes; a message may have %d", methodName(msg.Method), sectors, len(bytes), lotus.MaxMessageBytes), known: errTooLong}
	}
	if msg.Nonce, err = s.poolNonce(ctx, from); err != nil {
		return nil, err
	}
	return s.estimate(ctx, msg, spec, head)
}

// poolNonce is the sender's next nonce in the mempool: the node executes what is below it first. It is asked once for each call.
func (s *sending) poolNonce(ctx context.Context, from address.Address) (uint64, error) {
	if nonce, ok := s.nonces[from]; ok {
		return nonce, nil
	}
	nonce, err := s.nextInPool(ctx, from)
	if err == nil {
		s.nonces[from] = nonce
	}
	return nonce, err
}

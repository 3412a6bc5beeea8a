package devnet

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/chain/lotus"
)

// maxPending is how many messages of one sender wait at most, as in Lotus.
const maxPending = 1000

// pool is the mempool: the messages of each sender by nonce, and every message it ever took.
type pool struct {
	journal *journal

	mu      sync.Mutex
	pending map[address.Address]map[uint64]*lotus.SignedMessage // by key address
	known   map[cid.Cid]*lotus.SignedMessage                    // also by the CID of the unsigned message
	byUUID  map[uuid.UUID]*lotus.SignedMessage
	signed  map[address.Address]uint64 // next nonce by what the node itself signed, kept even when the messages are lost
	sending sync.Mutex                 // held while MpoolPushMessage takes a nonce and pushes
}

func newPool() *pool {
	return &pool{
		pending: map[address.Address]map[uint64]*lotus.SignedMessage{},
		known:   map[cid.Cid]*lotus.SignedMessage{}, byUUID: map[uuid.UUID]*lotus.SignedMessage{},
		signed: map[address.Address]uint64{},
	}
}

// add takes a message that is good in itself, or refuses it for what is pending already. The sender is as of the head.
func (p *pool) add(m *lotus.SignedMessage, sender actor) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	msg := &m.Message
	waiting := p.pending[sender.key]
	required := msg.RequiredFunds()
	if sender.balance.LessThan(required) {
		return fmt.Errorf("failed to check balance: not enough funds (required: %s, balance: %s): not enough funds to execute transaction",
			filUnit(required), filUnit(sender.balance))
	}
	for nonce, w := range waiting {
		if nonce != msg.Nonce {
			required = big.Sum(required, w.Message.RequiredFunds(), w.Message.Value)
		}
	}
	if sender.balance.LessThan(required) {
		return fmt.Errorf("failed to check balance: not enough funds including pending messages (required: %s, balance: %s): validation failure",
			filUnit(required), filUnit(sender.balance))
	}
	if old, ok := waiting[msg.Nonce]; ok {
		if old.Cid() == m.Cid() {
			return fmt.Errorf("failed to add locked: message from %s with nonce %d already in mpool: message with nonce already exists", msg.From, msg.Nonce)
		}
		floor := big.Add(big.Div(big.Mul(old.Message.GasPremium, big.NewInt(replaceByFeePercent)), big.NewInt(100)), big.NewInt(1))
		if msg.GasPremium.LessThan(floor) {
			return fmt.Errorf("failed to add locked: message from %s with nonce %d already in mpool, increase GasPremium to %s from %s to trigger replace by fee: replace by fee has too low GasPremium",
				msg.From, msg.Nonce, floor, msg.GasPremium)
		}
	} else if len(waiting) >= maxPending {
		return fmt.Errorf("failed to add locked: too many pending messages for actor")
	}
	if err := p.journal.write(entry{Push: m}); err != nil {
		return fmt.Errorf("error persisting local message: %w", err)
	}
	p.put(sender.key, m)
	return nil
}

func (p *pool) put(from address.Address, m *lotus.SignedMessage) {
	if p.pending[from] == nil {
		p.pending[from] = map[uint64]*lotus.SignedMessage{}
	}
	p.pending[from][m.Message.Nonce] = m
	p.known[m.Cid()], p.known[m.Message.Cid()] = m, m
}

// lose makes a message known that the pool takes but does not keep.
func (p *pool) lose(m *lotus.SignedMessage) error {
	if err := p.journal.write(entry{Push: m, Dropped: true}); err != nil {
		return fmt.Errorf("error persisting local message: %w", err)
	}
	p.remember(m)
	return nil
}

func (p *pool) remember(m *lotus.SignedMessage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[m.Cid()], p.known[m.Message.Cid()] = m, m
}

// keep remembers that the node itself signed a message, and for whose MsgUuid. The caller holds sending.
func (p *pool) keep(m *lotus.SignedMessage, id uuid.UUID) {
	p.signed[m.Message.From] = m.Message.Nonce + 1
	if id != uuid.Nil {
		p.byUUID[id] = m
	}
}

// message gives a message that the pool ever took.
func (p *pool) message(c cid.Cid) (*lotus.SignedMessage, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, ok := p.known[c]
	return m, ok
}

// nonce is the first one above the state's that no pending message has.
func (p *pool) nonce(sender actor) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := sender.nonce
	for p.pending[sender.key][n] != nil {
		n++
	}
	return n
}

// of lists a sender's messages by nonce.
func (p *pool) of(key address.Address) []*lotus.SignedMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return byNonce(p.pending[key])
}

// all lists every pending message, by sender and nonce.
func (p *pool) all() []*lotus.SignedMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := []*lotus.SignedMessage{}
	for _, key := range p.senders() {
		list = append(list, byNonce(p.pending[key])...)
	}
	return list
}

func (p *pool) senders() []address.Address {
	return slices.SortedFunc(maps.Keys(p.pending), func(a, b address.Address) int { return cmp.Compare(a.String(), b.String()) })
}

func byNonce(waiting map[uint64]*lotus.SignedMessage) []*lotus.SignedMessage {
	list := []*lotus.SignedMessage{}
	for _, nonce := range slices.Sorted(maps.Keys(waiting)) {
		list = append(list, waiting[nonce])
	}
	return list
}

// choose picks what the next block holds: of each sender the messages without a gap in nonce or funds whose fee cap covers the base
// fee, BLS messages before others, as a block orders them. A careless choice does not look at funds.
func (p *pool) choose(s *state, baseFee abi.TokenAmount, careless bool) []*lotus.SignedMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []*lotus.SignedMessage
	gas := int64(0)
	for _, key := range p.senders() {
		sender, ok := s.resolve(key)
		if !ok {
			continue
		}
		nonce, balance := sender.nonce, sender.balance
		for {
			m := p.pending[key][nonce]
			if m == nil || m.Message.GasFeeCap.LessThan(baseFee) || gas+m.Message.GasLimit > lotus.BlockGasLimit {
				break
			}
			if balance = big.Sub(balance, m.Message.RequiredFunds()); balance.Sign() < 0 && !careless {
				break
			}
			balance = big.Max(big.Sub(balance, m.Message.Value), big.Zero())
			gas += m.Message.GasLimit
			list = append(list, m)
			nonce++
		}
	}
	slices.SortStableFunc(list, func(a, b *lotus.SignedMessage) int { return cmp.Compare(blockOrder(a), blockOrder(b)) })
	return list
}

func blockOrder(m *lotus.SignedMessage) int {
	if m.Signature.Type == crypto.SigTypeBLS {
		return 0
	}
	return 1
}

// remove forgets what landed; whatever has a nonce that is used now can never land.
func (p *pool) remove(landed []*landing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range landed {
		from := l.message.Message.From
		delete(p.pending[from], l.message.Message.Nonce)
		if len(p.pending[from]) == 0 {
			delete(p.pending, from)
		}
	}
}

// restore takes back what a reorg reverted, unless its nonce was given to another message since.
func (p *pool) restore(reverted []*landing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range reverted {
		from := l.message.Message.From
		if p.pending[from][l.message.Message.Nonce] == nil {
			p.put(from, l.message)
		}
	}
}

// discard drops pending messages, as a node does that is short of memory or restarts.
func (p *pool) discard() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, waiting := range p.pending {
		n += len(waiting)
	}
	clear(p.pending)
	return n
}

// filUnit prints an amount in FIL with its unit, as Lotus does.
func filUnit(amount abi.TokenAmount) string {
	s := fil(amount)
	if len(s) > 2 && s[len(s)-2:] == ".0" {
		s = s[:len(s)-2]
	}
	return s + " FIL"
}

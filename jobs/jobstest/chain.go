package jobstest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/jobs"
)

// Chain is a Filecoin chain in memory that moves only when told to. A message is
// executed in the epoch after its push and believed Confidence epochs later. It
// checks nothing: it is truthful about what was sent, not about proofs.
type Chain struct {
	Confidence abi.ChainEpoch // 5
	// CommitWithin is how many epochs after a pre-commit its proof may land.
	CommitWithin abi.ChainEpoch

	mu        sync.Mutex
	network   jobs.Network
	head      abi.ChainEpoch
	proof     abi.RegisteredSealProof
	messages  map[jobs.Meaning]*message
	order     []*message
	pre       map[jobs.SectorID]jobs.OnChainPreCommit
	sectors   map[jobs.SectorID]jobs.OnChainSector
	allocated map[abi.ActorID]map[uint64]bool
	fates     map[jobs.Meaning]Fate
	proving   map[jobs.SectorID]jobs.Proving
	terms     map[string]pieceTerms // by piece CID
	failing   map[string]error
	calls     map[string]uint64
}

// Fate is what becomes of a message that is pushed.
type Fate struct {
	TakenOut *jobs.Fault // never sent: its batch goes without it
	Fault    *jobs.Fault // executed with an exit code
	Dropped  bool        // its nonce goes to another message
	Stuck    bool        // stays in the mempool
	Unknown  error       // nothing can be known of it
}

// message is one member's part of a message.
type message struct {
	meaning jobs.Meaning
	cid     string
	pushed  abi.ChainEpoch
	apply   func(at abi.ChainEpoch)
	landed  abi.ChainEpoch // 0: not executed
}

var _ jobs.Chain = (*Chain)(nil)

// NewChain makes a chain at epoch 10,000 with sectors of 2 KiB and an epoch a
// second. It calls itself the embedded node's network, so that native proofs count.
func NewChain() *Chain {
	return &Chain{
		Confidence:   5,
		CommitWithin: 30*2880 + 150,
		network:      jobs.Network{Name: "jobstest", Version: 28, BlockDelay: time.Second, ChallengeDelay: 10, Embedded: true},
		head:         10_000,
		proof:        abi.RegisteredSealProof_StackedDrg2KiBV1_1,
		messages:     map[jobs.Meaning]*message{},
		pre:          map[jobs.SectorID]jobs.OnChainPreCommit{},
		sectors:      map[jobs.SectorID]jobs.OnChainSector{},
		allocated:    map[abi.ActorID]map[uint64]bool{},
		fates:        map[jobs.Meaning]Fate{},
		proving:      map[jobs.SectorID]jobs.Proving{},
		terms:        map[string]pieceTerms{},
		failing:      map[string]error{},
		calls:        map[string]uint64{},
	}
}

// SetNetwork replaces what the node says of its network.
func (c *Chain) SetNetwork(n jobs.Network) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.network = n
}

// Advance makes n epochs and executes what is in the mempool.
func (c *Chain) Advance(n abi.ChainEpoch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head += n
	for _, m := range c.order {
		fate := c.fates[m.meaning]
		if m.landed != 0 || fate.Stuck || m.pushed >= c.head {
			continue
		}
		if m.landed = m.pushed + 1; fate.Fault == nil && !fate.Dropped {
			m.apply(m.landed)
		}
	}
}

// Doom decides what becomes of a message before it is sent.
func (c *Chain) Doom(m jobs.Meaning, f Fate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fates[m] = f
}

// TakeNumber makes somebody else use a sector number.
func (c *Chain) TakeNumber(id jobs.SectorID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.use(id)
}

func (c *Chain) use(id jobs.SectorID) {
	if c.allocated[id.Miner] == nil {
		c.allocated[id.Miner] = map[uint64]bool{}
	}
	c.allocated[id.Miner][uint64(id.Number)] = true
}

// SetPreCommit puts a pre-commit into the state, or with nil takes it out, as a
// reorganisation does.
func (c *Chain) SetPreCommit(id jobs.SectorID, p *jobs.OnChainPreCommit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p == nil {
		delete(c.pre, id)
		return
	}
	c.pre[id] = *p
	c.use(id)
}

// SetProving makes Proving answer for a sector; one that nothing was said of is due.
func (c *Chain) SetProving(id jobs.SectorID, v jobs.Proving) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proving[id] = v
}

// pieceTerms is what the chain says of a piece's allocation and deals.
type pieceTerms struct {
	terms jobs.Terms
	err   error
}

// SetTerms decides what PieceTerms answers of a piece.
func (c *Chain) SetTerms(p jobs.Piece, terms jobs.Terms, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.terms[p.CID.String()] = pieceTerms{terms, err}
}

// Fail makes a method answer with err until it is given nil; the name "*" stands
// for all of them.
func (c *Chain) Fail(method string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failing[method] = err; err == nil {
		delete(c.failing, method)
	}
}

// Calls counts calls by method.
func (c *Chain) Calls() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.calls)
}

// Sent counts the sectors that messages of a stage carried, one meaning sent twice
// included.
func (c *Chain) Sent(s jobs.Stage) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.order {
		if m.meaning.Stage == s {
			n++
		}
	}
	return n
}

// Batches counts the messages of a stage.
func (c *Chain) Batches(s jobs.Stage) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	cids := map[string]bool{}
	for _, m := range c.order {
		if m.meaning.Stage == s {
			cids[m.cid] = true
		}
	}
	return len(cids)
}

// call locks the chain for a method, unless it was told to fail.
func (c *Chain) call(ctx context.Context, method string) (func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.calls[method]++
	for _, name := range []string{method, "*"} {
		if err := c.failing[name]; err != nil {
			c.mu.Unlock()
			return nil, err
		}
	}
	return c.mu.Unlock, nil
}

// Network implements [jobs.Chain].
func (c *Chain) Network(ctx context.Context) (jobs.Network, error) {
	unlock, err := c.call(ctx, "Network")
	if err != nil {
		return jobs.Network{}, err
	}
	defer unlock()
	return c.network, nil
}

// Head implements [jobs.Chain].
func (c *Chain) Head(ctx context.Context) (jobs.Head, error) {
	unlock, err := c.call(ctx, "Head")
	if err != nil {
		return jobs.Head{}, err
	}
	defer unlock()
	return jobs.Head{Epoch: c.head, Key: fmt.Sprint(c.head)}, nil
}

// Miner implements [jobs.Chain].
func (c *Chain) Miner(ctx context.Context, _ abi.ActorID) (jobs.Miner, error) {
	unlock, err := c.call(ctx, "Miner")
	if err != nil {
		return jobs.Miner{}, err
	}
	defer unlock()
	size, err := c.proof.SectorSize()
	return jobs.Miner{SectorSize: size, SealProof: c.proof}, err
}

// Allocated implements [jobs.Chain].
func (c *Chain) Allocated(ctx context.Context, miner abi.ActorID) (bitfield.BitField, error) {
	unlock, err := c.call(ctx, "Allocated")
	if err != nil {
		return bitfield.BitField{}, err
	}
	defer unlock()
	used := bitfield.New()
	for n := range c.allocated[miner] {
		used.Set(n)
	}
	return used, nil
}

// Ticket implements [jobs.Chain].
func (c *Chain) Ticket(ctx context.Context, miner abi.ActorID, epoch abi.ChainEpoch) ([]byte, error) {
	return c.randomness(ctx, "Ticket", miner, epoch)
}

// Seed implements [jobs.Chain].
func (c *Chain) Seed(ctx context.Context, miner abi.ActorID, epoch abi.ChainEpoch) ([]byte, error) {
	return c.randomness(ctx, "Seed", miner, epoch)
}

func (c *Chain) randomness(ctx context.Context, kind string, miner abi.ActorID, epoch abi.ChainEpoch) ([]byte, error) {
	unlock, err := c.call(ctx, kind)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if epoch > c.head {
		return nil, jobs.Failf(jobs.Transient, "%s of epoch %d is in the future of head %d", kind, epoch, c.head)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d/%d", kind, miner, epoch))
	return sum[:], nil
}

// OnChain implements [jobs.Chain].
func (c *Chain) OnChain(ctx context.Context, id jobs.SectorID) (jobs.OnChain, error) {
	unlock, err := c.call(ctx, "OnChain")
	if err != nil {
		return jobs.OnChain{}, err
	}
	defer unlock()
	out := jobs.OnChain{AsOf: c.head - c.Confidence}
	if s, ok := c.sectors[id]; ok && s.Activation <= out.AsOf {
		out.Sector = &s
		return out, nil
	}
	if p, ok := c.pre[id]; ok && p.Epoch <= out.AsOf && out.AsOf <= p.Expires {
		out.PreCommit = &p
	}
	return out, nil
}

// PieceTerms implements [jobs.Chain].
func (c *Chain) PieceTerms(ctx context.Context, _ abi.ActorID, p jobs.Piece) (jobs.Terms, error) {
	unlock, err := c.call(ctx, "PieceTerms")
	if err != nil {
		return jobs.Terms{}, err
	}
	defer unlock()
	answer := c.terms[p.CID.String()]
	return answer.terms, answer.err
}

// Proving implements [jobs.Chain].
func (c *Chain) Proving(ctx context.Context, id jobs.SectorID, committed abi.ChainEpoch) (jobs.Proving, error) {
	unlock, err := c.call(ctx, "Proving")
	if err != nil {
		return jobs.Proving{}, err
	}
	defer unlock()
	if v, ok := c.proving[id]; ok {
		return v, nil
	}
	return jobs.Proving{State: jobs.ProvingDue, Deadline: 5, Closes: committed + 2880}, nil
}

// Messages implements [jobs.Chain].
func (c *Chain) Messages(ctx context.Context, meanings []jobs.Meaning) ([]jobs.Message, error) {
	unlock, err := c.call(ctx, "Messages")
	if err != nil {
		return nil, err
	}
	defer unlock()
	out := make([]jobs.Message, len(meanings))
	for i, meaning := range meanings {
		if m := c.messages[meaning]; m != nil {
			out[i] = c.state(m)
		}
		if unknown := c.fates[meaning].Unknown; unknown != nil {
			out[i] = jobs.Message{Unknown: unknown}
		}
	}
	return out, nil
}

func (c *Chain) state(m *message) jobs.Message {
	out := jobs.Message{CID: m.cid, State: jobs.MessagePushed}
	fate := c.fates[m.meaning]
	switch {
	case m.landed == 0:
	case c.head < m.landed+c.Confidence:
		out.State = jobs.MessageLanded
	case fate.Dropped:
		out.State = jobs.MessageDropped
	case fate.Fault != nil:
		out.State, out.Fault = jobs.MessageFailed, fate.Fault
	default:
		out.State = jobs.MessageConfirmed
	}
	return out
}

// SendPreCommits implements [jobs.Chain].
func (c *Chain) SendPreCommits(ctx context.Context, batch string, rs []jobs.PreCommitRequest) ([]jobs.Sent, error) {
	return send(ctx, c, "SendPreCommits", batch, rs, func(r jobs.PreCommitRequest) *message {
		return &message{meaning: r.Meaning, apply: func(at abi.ChainEpoch) {
			c.use(r.Seal.ID)
			p := jobs.OnChainPreCommit{Epoch: at, CommR: r.Seal.CommR, Expires: at + c.CommitWithin, TicketEpoch: r.TicketEpoch}
			if !r.CC {
				p.CommD = r.Seal.CommD
			}
			c.pre[r.Seal.ID] = p
		}}
	})
}

// SendCommits implements [jobs.Chain]. It never aggregates.
func (c *Chain) SendCommits(ctx context.Context, batch string, rs []jobs.CommitRequest, _ jobs.Aggregator) ([]jobs.Sent, error) {
	return send(ctx, c, "SendCommits", batch, rs, func(r jobs.CommitRequest) *message {
		return &message{meaning: r.Meaning, apply: func(at abi.ChainEpoch) {
			id := r.Seal.ID
			c.sectors[id] = jobs.OnChainSector{CommR: c.pre[id].CommR, Activation: at, Expiration: at + 180*2880}
			delete(c.pre, id)
		}}
	})
}

// send gives the members of a batch that have no message one together, but for
// those that were told to be taken out.
func send[R any](ctx context.Context, c *Chain, method, batch string, rs []R, of func(R) *message) ([]jobs.Sent, error) {
	unlock, err := c.call(ctx, method)
	if err != nil {
		return nil, err
	}
	defer unlock()
	sum := sha256.Sum256(fmt.Append(nil, batch, " ", c.head, " ", len(c.order)))
	cid := fmt.Sprintf("bafy%x", sum[:16])
	sent := make([]jobs.Sent, len(rs))
	for i, r := range rs {
		m := of(r)
		known := c.messages[m.meaning]
		switch fate := c.fates[m.meaning]; {
		case known != nil:
			sent[i].Message = known.cid
		case fate.TakenOut != nil:
			sent[i].Fault = fate.TakenOut
		default:
			m.cid, m.pushed = cid, c.head
			c.messages[m.meaning] = m
			c.order = append(c.order, m)
			sent[i].Message = cid
		}
	}
	return sent, nil
}

// OfferVanilla implements [jobs.Chain].
func (c *Chain) OfferVanilla(ctx context.Context, _ jobs.SectorID, _ []byte) error {
	unlock, err := c.call(ctx, "OfferVanilla")
	if err != nil {
		return err
	}
	unlock()
	return nil
}

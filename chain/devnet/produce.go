package devnet

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/builtin/v18/verifreg"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	"golang.org/x/crypto/blake2b"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// tipsetWeight is what one tipset adds to its chain's weight.
const tipsetWeight = 5760

// genesis is the state that the configuration describes, as a tipset of height 0.
func (n *Node) genesis() *tipset {
	s := state{nextID: firstFreeID}
	s.put(actor{id: burntFunds, kind: kindAccount, balance: big.Zero()})
	for i, a := range n.cfg.Accounts {
		s.account(firstAccount+abi.ActorID(i), a.Key.Address(), a.Balance)
	}
	for _, m := range n.cfg.Miners {
		s.put(actor{id: m.ID, kind: kindMiner, balance: m.Balance})
		s.miners = s.miners.set(m.ID, newMiner(m))
	}
	ts := &tipset{pre: s, post: s, baseFee: big.NewInt(genesisBaseFee), root: digestCid("genesis", []byte(n.cfg.NetworkName), n.source.secret[:])}
	n.seal(ts, nil, 0)
	return ts
}

// plan is what a new tipset shall hold. Its JSON is a journal's.
type plan struct {
	messages []*lotus.SignedMessage // checked by the pool, in order

	Height   abi.ChainEpoch
	Fork     uint64          `json:",omitempty"` // how many reorgs there were before: it makes another ticket
	CID      *cid.Cid        `json:",omitempty"` // of the block that came of it, where it is not empty
	BaseFee  abi.TokenAmount // attoFIL
	Messages []cid.Cid       `json:",omitempty"` // names of messages, for the journal
	Lost     []int           `json:",omitempty"` // messages whose receipts no search finds
	Orders   []order         `json:",omitempty"`
}

// order is what [Node.SetSector], [Node.Fund], [Node.Allocate] and [Node.PublishDeal] change.
type order struct {
	Allocation *verifreg.Allocation `json:",omitempty"`
	Deal       *market.DealProposal `json:",omitempty"`

	Sector *jobs.SectorID `json:",omitempty"`
	Status SectorStatus   `json:",omitempty"`

	Actor  abi.ActorID `json:",omitempty"`
	Amount abi.TokenAmount
}

func (o order) apply(s *state) error {
	switch {
	case o.Allocation != nil:
		s.deals.allocate(*o.Allocation)
		return nil
	case o.Deal != nil:
		s.deals.publish(*o.Deal)
		return nil
	case o.Sector == nil:
		s.credit(o.Actor, o.Amount)
		return nil
	}
	m, _ := s.miners.get(o.Sector.Miner)
	p, ok := m.placements.get(o.Sector.Number)
	if !ok {
		return fmt.Errorf("set sector %s %s: it is not committed on this fork", o.Sector, o.Status)
	}
	p.status = o.Status
	c := m.copy()
	c.placements = c.placements.set(o.Sector.Number, p)
	s.miners = s.miners.set(c.id, c)
	return nil
}

// produce makes the child of parent that a plan describes and executes it, the actors' own clean-up included. It completes the plan.
func (n *Node) produce(ctx context.Context, parent *tipset, p *plan) (*tipset, error) {
	ts := &tipset{pre: parent.post, post: parent.post, baseFee: p.BaseFee}
	p.Height = parent.Height + 1
	vm := n.vm(parent, p.Height, ts.baseFee)
	root := [][]byte{parent.root.Bytes()}
	for i, m := range p.messages {
		sender, _ := ts.post.resolve(m.Message.From)
		r := vm.apply(ctx, &ts.post, m)
		if vm.broken != nil {
			return nil, vm.broken
		}
		l := &landing{epoch: p.Height, message: m, cid: m.Cid(), receipt: r.receipt, lost: slices.Contains(p.Lost, i)}
		ts.post.land(sender.id, l)
		ts.landed = append(ts.landed, l)
		p.Messages = append(p.Messages, l.cid)
		root = append(root, l.cid.Bytes(), binary.BigEndian.AppendUint64(nil, uint64(r.receipt.ExitCode)), r.receipt.Return)
	}
	for _, o := range p.Orders {
		if err := o.apply(&ts.post); err != nil {
			n.log.Warn("embedded node", "error", err)
		}
		root = append(root, []byte("order"))
	}
	for id, m := range ts.post.miners.all() {
		c, burnt := m.cleanUp(p.Height)
		if !burnt.IsZero() {
			ts.post.miners = ts.post.miners.set(id, c)
			ts.post.transfer(id, burntFunds, burnt)
			root = append(root, []byte("clean-up"))
		}
	}
	ts.root = parent.root
	if len(root) > 1 {
		ts.root = digestCid("state", root...)
	}
	n.seal(ts, parent, p.Fork)
	if len(root) > 1 {
		p.CID = &ts.Cids[0]
	}
	return ts, nil
}

// vm executes messages of an epoch on top of parent. Randomness of the epoch itself is never needed: tickets and seeds are older.
func (n *Node) vm(parent *tipset, epoch abi.ChainEpoch, baseFee abi.TokenAmount) *vm {
	return &vm{
		epoch: epoch, baseFee: baseFee, rules: n.rules, proofs: n.proofs,
		random: func(tag crypto.DomainSeparationTag, at abi.ChainEpoch, data []byte) (abi.Randomness, error) {
			return n.chain.randomness(parent, tag, at, data, tag == crypto.DomainSeparationTag_InteractiveSealChallengeSeed)
		},
	}
}

// seal gives the tipset its one block.
func (n *Node) seal(ts, parent *tipset, fork uint64) {
	h := &lotus.BlockHeader{
		Miner: idAddress(n.cfg.Miners[0].ID), Parents: []cid.Cid{}, ParentWeight: big.Zero(), ParentBaseFee: ts.baseFee,
		ParentStateRoot: ts.root, ParentMessageReceipts: receiptsRoot(nil), Messages: messagesRoot(ts.landed),
		WinPoStProof: []proof.PoStProof{{ProofBytes: []byte("valid proof")}},
		BLSAggregate: &crypto.Signature{Type: crypto.SigTypeBLS, Data: make([]byte, vrfBytes)},
		BlockSig:     &crypto.Signature{Type: crypto.SigTypeBLS, Data: make([]byte, vrfBytes)},
	}
	if parent != nil {
		h.Parents, h.Height = parent.Cids, parent.Height+1
		h.ParentWeight = big.Add(parent.Blocks[0].ParentWeight, big.NewInt(tipsetWeight))
		h.ParentStateRoot, h.ParentMessageReceipts = parent.root, receiptsRoot(parent.landed)
	}
	beacon := n.source.beacon(h.Height)
	h.BeaconEntries = []lotus.BeaconEntry{beacon}
	h.Ticket = &lotus.Ticket{VRFProof: n.source.ticket(h.Parents, h.Height, fork)}
	h.ElectionProof = &lotus.ElectionProof{WinCount: 5, VRFProof: h.Ticket.VRFProof}
	h.Timestamp = uint64(n.cfg.Genesis.Add(time.Duration(h.Height) * n.cfg.EpochDuration).Unix())
	ts.entropy = entropy{blake2b.Sum256(h.Ticket.VRFProof), blake2b.Sum256(beacon.Data)}
	ts.TipSet = lotus.NewTipSet(h)
	ts.key = ts.TipSet.Key()
}

// baseFeeOn is the base fee that the children of a tipset pay.
func (n *Node) baseFeeOn(parent *tipset) abi.TokenAmount {
	return n.chaos.baseFee(parent.Height+1, parent.nextBaseFee())
}

// nextBaseFee is what the chain's own rule makes of the tipset's load.
func (ts *tipset) nextBaseFee() abi.TokenAmount {
	var limits int64
	for _, l := range ts.landed {
		limits += l.message.Message.GasLimit
	}
	return nextBaseFee(ts.baseFee, limits)
}

// Most epochs are empty.
var noReceipts, noMessages = digestCid("receipts"), digestCid("messages")

// receiptsRoot and messagesRoot stand for the roots of a block's AMTs.
func receiptsRoot(landed []*landing) cid.Cid {
	if len(landed) == 0 {
		return noReceipts
	}
	var all bytes.Buffer
	for _, l := range landed {
		fmt.Fprintf(&all, "%d %x %d\n", l.receipt.ExitCode, l.receipt.Return, l.receipt.GasUsed)
	}
	return digestCid("receipts", all.Bytes())
}

func messagesRoot(landed []*landing) cid.Cid {
	if len(landed) == 0 {
		return noMessages
	}
	var all [][]byte
	for _, l := range landed {
		all = append(all, l.cid.Bytes())
	}
	return digestCid("messages", all...)
}

func newMiner(m Miner) *miner {
	window, err := sealProofs[m.Size][0].RegisteredWindowPoStProofByNetworkVersion(networkVersion)
	if err != nil {
		panic(fmt.Sprintf("devnet: %v", err)) // the table holds known proofs only
	}
	punished := m.PunishedUntil
	if punished == 0 {
		punished = -1
	}
	account := func(i int) address.Address { return idAddress(firstAccount + abi.ActorID(i)) }
	info := lotus.MinerInfo{
		Owner: account(m.Owner), Worker: account(m.Worker), Beneficiary: account(m.Owner),
		BeneficiaryTerm:   &lotus.BeneficiaryTerm{Quota: big.Zero(), UsedQuota: big.Zero()},
		WorkerChangeEpoch: -1, ConsensusFaultElapsed: punished,
		WindowPoStProofType: window, SectorSize: m.Size, WindowPoStPartitionSectors: partitionSectors(m.Size),
	}
	for _, i := range m.Control {
		info.ControlAddresses = append(info.ControlAddresses, account(i))
	}
	return &miner{
		id: m.ID, info: info, periodStart: -abi.ChainEpoch(uint64(m.ID) * 658 % 2880),
		deposits: big.Zero(), pledge: big.Zero(),
	}
}

// partitionSectors is how many sectors one WindowPoSt proves, by size.
func partitionSectors(size abi.SectorSize) uint64 {
	switch size {
	case 32 << 30:
		return 2349
	case 64 << 30:
		return 2300
	default:
		return 2
	}
}

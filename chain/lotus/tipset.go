package lotus

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
)

// TipSetKey names a tipset by its block CIDs, in canonical order. It is comparable, so it keys caches. The zero key means
// "the node's head" in a request.
type TipSetKey struct{ value string }

// EmptyTSK asks for the node's current head.
var EmptyTSK = TipSetKey{}

// NewTipSetKey joins the block CIDs in the order given.
func NewTipSetKey(cids ...cid.Cid) TipSetKey {
	var b strings.Builder
	for _, c := range cids {
		b.WriteString(c.KeyString())
	}
	return TipSetKey{b.String()}
}

// Cids returns the block CIDs.
func (k TipSetKey) Cids() []cid.Cid {
	cids := []cid.Cid{}
	for rest := []byte(k.value); len(rest) > 0; {
		n, c, err := cid.CidFromBytes(rest)
		if err != nil {
			panic(fmt.Sprintf("lotus: tipset key: %v", err)) // only NewTipSetKey makes values
		}
		cids = append(cids, c)
		rest = rest[n:]
	}
	return cids
}

// IsEmpty tells whether the key means the node's head.
func (k TipSetKey) IsEmpty() bool { return k.value == "" }

// String lists the CIDs in braces, as Lotus logs them.
func (k TipSetKey) String() string {
	names := make([]string, 0, 1)
	for _, c := range k.Cids() {
		names = append(names, c.String())
	}
	return "{" + strings.Join(names, ",") + "}"
}

// MarshalJSON writes the CIDs as a list, empty for the head.
func (k TipSetKey) MarshalJSON() ([]byte, error) { return json.Marshal(k.Cids()) }

// UnmarshalJSON reads a list of CIDs; null is the head.
func (k *TipSetKey) UnmarshalJSON(b []byte) error {
	var cids []cid.Cid
	if err := json.Unmarshal(b, &cids); err != nil {
		return fmt.Errorf("decode tipset key: %w", err)
	}
	*k = NewTipSetKey(cids...)
	return nil
}

// Ticket is a block's VRF ticket, from which ticket randomness is drawn.
type Ticket struct{ VRFProof []byte }

// ElectionProof proves that a miner won WinCount times in its epoch.
type ElectionProof struct {
	WinCount int64
	VRFProof []byte
}

// BeaconEntry is one round of the random beacon.
type BeaconEntry struct {
	Round uint64
	Data  []byte
}

// BlockHeader is one block of a tipset.
type BlockHeader struct {
	Miner                 address.Address
	Ticket                *Ticket
	ElectionProof         *ElectionProof
	BeaconEntries         []BeaconEntry
	WinPoStProof          []proof.PoStProof
	Parents               []cid.Cid
	ParentWeight          big.Int
	Height                abi.ChainEpoch
	ParentStateRoot       cid.Cid
	ParentMessageReceipts cid.Cid
	Messages              cid.Cid
	BLSAggregate          *crypto.Signature
	Timestamp             uint64
	BlockSig              *crypto.Signature
	ForkSignaling         uint64
	ParentBaseFee         abi.TokenAmount
}

// Cid returns the block's name.
func (h *BlockHeader) Cid() cid.Cid { return cborCid(h) }

// TipSet is a set of blocks of one height on the same parents. NewTipSet makes one whose key matches its blocks.
type TipSet struct {
	Cids   []cid.Cid
	Blocks []*BlockHeader
	Height abi.ChainEpoch
}

// NewTipSet joins blocks of one height.
func NewTipSet(blocks ...*BlockHeader) *TipSet {
	ts := &TipSet{Blocks: blocks, Height: blocks[0].Height}
	for _, b := range blocks {
		ts.Cids = append(ts.Cids, b.Cid())
	}
	return ts
}

// UnmarshalJSON refuses what is no tipset: one has blocks, and a base fee in each.
func (ts *TipSet) UnmarshalJSON(b []byte) error {
	type plain TipSet
	if err := json.Unmarshal(b, (*plain)(ts)); err != nil {
		return fmt.Errorf("decode tipset: %w", err)
	}
	if len(ts.Blocks) == 0 || len(ts.Cids) != len(ts.Blocks) {
		return fmt.Errorf("decode tipset: %d names and %d blocks", len(ts.Cids), len(ts.Blocks))
	}
	for _, block := range ts.Blocks {
		if block == nil || block.ParentBaseFee.Nil() {
			return errors.New("decode tipset: a block without a base fee")
		}
	}
	return nil
}

// Key returns the tipset's name.
func (ts *TipSet) Key() TipSetKey { return NewTipSetKey(ts.Cids...) }

// Parents returns the name of the tipset below.
func (ts *TipSet) Parents() TipSetKey { return NewTipSetKey(ts.Blocks[0].Parents...) }

// The kinds of HeadChange.
const (
	HeadCurrent = "current" // the first notification after subscribing
	HeadApply   = "apply"
	HeadRevert  = "revert"
)

// HeadChange is one step of the chain's head; ChainNotify sends lists of them, reverts before applies.
type HeadChange struct {
	Type string
	Val  *TipSet
}

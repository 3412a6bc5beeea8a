package lotus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	cbg "github.com/whyrusleeping/cbor-gen"
)

// MaxMessageBytes is the largest message a node takes into its pool (signed CBOR of a secp256k1 message; a BLS
// message is measured the same way): 64 KiB.
const MaxMessageBytes = 64 << 10

// BlockGasLimit is the gas that one block may hold, and so the most that a message may ask for.
const BlockGasLimit = int64(10_000_000_000)

// Message is an unsigned chain message. Amounts are in attoFIL.
type Message struct {
	Version    uint64
	To         address.Address
	From       address.Address
	Nonce      uint64
	Value      abi.TokenAmount
	GasLimit   int64
	GasFeeCap  abi.TokenAmount
	GasPremium abi.TokenAmount
	Method     abi.MethodNum
	Params     []byte
}

// Serialize returns the CBOR of the message, as it is hashed and, for BLS, stored in a block.
func (m *Message) Serialize() ([]byte, error) {
	var buf bytes.Buffer
	if err := m.MarshalCBOR(&buf); err != nil {
		return nil, fmt.Errorf("encode message from %s: %w", m.From, err)
	}
	return buf.Bytes(), nil
}

// Cid returns the CID of the unsigned message: what is signed, and what names a BLS message.
func (m *Message) Cid() cid.Cid { return cborCid(m) }

// RequiredFunds returns the most gas that the message may cost (limit × fee cap), without its value.
func (m *Message) RequiredFunds() abi.TokenAmount {
	return big.Mul(m.GasFeeCap, big.NewInt(m.GasLimit))
}

// MarshalJSON adds the CID, as Lotus does.
func (m *Message) MarshalJSON() ([]byte, error) {
	type fields Message
	return json.Marshal(struct {
		*fields
		CID cid.Cid
	}{(*fields)(m), m.Cid()})
}

// UnmarshalJSON ignores the CID, and what else it does not know, however strict the decoder is that meets the message.
func (m *Message) UnmarshalJSON(b []byte) error {
	type fields Message
	return json.Unmarshal(b, (*fields)(m))
}

// SignedMessage is a message with its sender's signature.
type SignedMessage struct {
	Message   Message
	Signature crypto.Signature
}

// Serialize returns the CBOR of message and signature.
func (s *SignedMessage) Serialize() ([]byte, error) {
	var buf bytes.Buffer
	if err := s.MarshalCBOR(&buf); err != nil {
		return nil, fmt.Errorf("encode signed message from %s: %w", s.Message.From, err)
	}
	return buf.Bytes(), nil
}

// Cid returns the name of the message on chain: BLS signatures are aggregated in the block, so such a message keeps
// the CID of its unsigned form; every other is named with its signature.
func (s *SignedMessage) Cid() cid.Cid {
	if s.Signature.Type == crypto.SigTypeBLS {
		return s.Message.Cid()
	}
	return cborCid(s)
}

// ChainLength is the size in bytes that the node measures against MaxMessageBytes.
func (s *SignedMessage) ChainLength() (int, error) {
	var (
		raw []byte
		err error
	)
	if s.Signature.Type == crypto.SigTypeBLS {
		raw, err = s.Message.Serialize()
	} else {
		raw, err = s.Serialize()
	}
	return len(raw), err
}

// MarshalJSON adds the CID, as Lotus does.
func (s *SignedMessage) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Message   *Message
		Signature *crypto.Signature
		CID       cid.Cid
	}{&s.Message, &s.Signature, s.Cid()})
}

// UnmarshalJSON ignores the CID, as that of [Message] does, and refuses what nobody can have signed.
func (s *SignedMessage) UnmarshalJSON(b []byte) error {
	type fields SignedMessage
	if err := json.Unmarshal(b, (*fields)(s)); err != nil {
		return err
	}
	if m := &s.Message; m.From == address.Undef || m.To == address.Undef || m.Value.Nil() || m.GasFeeCap.Nil() || m.GasPremium.Nil() {
		return errors.New("decode signed message: it lacks an address or an amount")
	}
	return nil
}

// MessageSendSpec is the second parameter of MpoolPushMessage and GasEstimateMessageGas. A MsgUuid makes
// MpoolPushMessage idempotent: the same one again returns the first message.
type MessageSendSpec struct {
	MaxFee         abi.TokenAmount
	MsgUuid        uuid.UUID
	MaximizeFeeCap bool
}

// MessageReceipt is what the execution of a message left behind. EventsRoot is nil when it raised no events.
type MessageReceipt struct {
	ExitCode   int64
	Return     []byte
	GasUsed    int64
	EventsRoot *cid.Cid
}

// MsgLookup says where a message landed. TipSet and Height are those of the tipset whose parent state holds the result:
// one epoch after the one that included it. Message is the CID that executed, which may be a replacement.
type MsgLookup struct {
	Message   cid.Cid
	Receipt   MessageReceipt
	ReturnDec json.RawMessage
	TipSet    TipSetKey
	Height    abi.ChainEpoch
}

// BlockMessages are the messages of one block.
type BlockMessages struct {
	BlsMessages   []*Message
	SecpkMessages []*SignedMessage
	Cids          []cid.Cid
}

var blockPrefix = cid.Prefix{Version: 1, Codec: cid.DagCBOR, MhType: multihash.BLAKE2B_MIN + 31, MhLength: 32}

// cborCid names an object by the BLAKE2b-256 of its CBOR. The types of this package always encode: an address or number that
// does not fit fails long before, so an error here is a bug.
func cborCid(v cbg.CBORMarshaler) cid.Cid {
	var buf bytes.Buffer
	if err := v.MarshalCBOR(&buf); err != nil {
		panic(fmt.Sprintf("lotus: encode %T: %v", v, err))
	}
	c, err := blockPrefix.Sum(buf.Bytes())
	if err != nil {
		panic(fmt.Sprintf("lotus: hash %T: %v", v, err))
	}
	return c
}

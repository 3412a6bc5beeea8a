package devnet

import (
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/chain/lotus"
)

// burntFunds is f099, where burnt gas and forfeited deposits go.
const burntFunds = abi.ActorID(99)

// firstAccount is the ID of the first account of the genesis; f0100 is what Lotus gives its first key, too.
const firstAccount = abi.ActorID(100)

// firstFreeID is where accounts made by a transfer to an unknown key start, above the miners of any sensible configuration.
const firstFreeID = abi.ActorID(1_000_000)

// state is the whole chain state at one point, an immutable value: a change is made on a copy.
type state struct {
	actors ordered[abi.ActorID, actor]
	ids    ordered[string, abi.ActorID] // by address bytes
	miners ordered[abi.ActorID, *miner]
	landed ordered[abi.ActorID, ordered[uint64, *landing]] // by sender and nonce: a search costs O(log n) and answers as of its tipset
	nextID abi.ActorID
	deals  deals
}

// actor is the head of an account or a miner.
type actor struct {
	id      abi.ActorID
	kind    actorKind
	key     address.Address // f1 or f3 of an account, undefined for others
	nonce   uint64
	balance abi.TokenAmount // attoFIL
}

// actorKind is the name of the actor's code in the builtin actors' manifest.
type actorKind string

const (
	kindAccount actorKind = "account"
	kindMiner   actorKind = "storageminer"
)

// landing is an executed message. The epoch is the one that included it; its result is state from the next one on.
type landing struct {
	epoch   abi.ChainEpoch
	message *lotus.SignedMessage
	cid     cid.Cid
	receipt lotus.MessageReceipt
	lost    bool // by order of a Misbehaviour: no search finds it
}

func idAddress(id abi.ActorID) address.Address {
	a, err := address.NewIDAddress(uint64(id))
	if err != nil {
		panic(fmt.Sprintf("devnet: actor id %d: %v", id, err)) // only an ID above 2^63 fails
	}
	return a
}

// resolve gives the actor behind any form of address.
func (s *state) resolve(a address.Address) (actor, bool) {
	if a.Protocol() == address.ID {
		id, err := address.IDFromAddress(a)
		if err != nil {
			return actor{}, false
		}
		return s.actors.get(abi.ActorID(id))
	}
	id, ok := s.ids.get(string(a.Bytes()))
	if !ok {
		return actor{}, false
	}
	return s.actors.get(id)
}

func (s *state) put(a actor) { s.actors = s.actors.set(a.id, a) }

// account makes an account for a key address.
func (s *state) account(id abi.ActorID, key address.Address, balance abi.TokenAmount) actor {
	a := actor{id: id, kind: kindAccount, key: key, balance: balance}
	s.put(a)
	s.ids = s.ids.set(string(key.Bytes()), id)
	return a
}

// credit adds an amount, which may be negative, to an actor's balance; an unknown actor is a bug of the caller.
func (s *state) credit(id abi.ActorID, amount abi.TokenAmount) {
	a, ok := s.actors.get(id)
	if !ok {
		panic(fmt.Sprintf("devnet: credit of unknown actor f0%d", id))
	}
	a.balance = big.Add(a.balance, amount)
	s.put(a)
}

// transfer moves value between actors; the caller has checked the balance.
func (s *state) transfer(from, to abi.ActorID, value abi.TokenAmount) {
	s.credit(from, value.Neg())
	s.credit(to, value)
}

// land keeps where a message landed. Of one that two blocks hold, because its sender could not pay when the first was executed, a Lotus node with an index
// tells the first for ever.
func (s *state) land(sender abi.ActorID, l *landing) {
	byNonce, _ := s.landed.get(sender)
	if first, ok := byNonce.get(l.message.Message.Nonce); ok && first.cid == l.cid {
		return
	}
	s.landed = s.landed.set(sender, byNonce.set(l.message.Message.Nonce, l))
}

func (s *state) landing(sender abi.ActorID, nonce uint64) (*landing, bool) {
	byNonce, _ := s.landed.get(sender)
	return byNonce.get(nonce)
}

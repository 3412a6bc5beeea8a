package devnet

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"

	"github.com/lpseal/lpseal/chain/lotus"
)

var errActorNotFound = errors.New("actor not found")

// actorAt gives an actor as of a tipset.
func (a *api) actorAt(addr address.Address, key lotus.TipSetKey) (actor, *tipset, error) {
	ts, err := a.n.chain.at(key)
	if err != nil {
		return actor{}, nil, err
	}
	found, err := lookup(&ts.pre, addr)
	return found, ts, err
}

// lookup finds an actor or says what Lotus says.
func lookup(s *state, addr address.Address) (actor, error) {
	found, ok := s.resolve(addr)
	switch {
	case ok:
		return found, nil
	case addr.Protocol() == address.ID:
		return actor{}, errActorNotFound
	default:
		return actor{}, fmt.Errorf("resolution lookup failed (%s): %w", addr, errActorNotFound)
	}
}

// StateAccountKey looks at the newest state, too, for an account that was only just made.
func (a *api) StateAccountKey(_ context.Context, addr address.Address, key lotus.TipSetKey) (address.Address, error) {
	ts, err := a.n.chain.at(key)
	if err != nil {
		return address.Undef, err
	}
	return accountKey(&ts.post, addr)
}

func accountKey(s *state, addr address.Address) (address.Address, error) {
	switch addr.Protocol() {
	case address.SECP256K1, address.BLS:
		return addr, nil
	case address.Actor:
		return address.Undef, errors.New("cannot resolve actor address to key address")
	}
	found, ok := s.resolve(addr)
	if !ok {
		return address.Undef, fmt.Errorf("failed to find actor: %s", addr)
	}
	if found.kind != kindAccount || found.key.Empty() {
		return address.Undef, fmt.Errorf("failed to get account actor state for %s: unknown actor code %s", addr, network28.Actors[string(found.kind)])
	}
	return found.key, nil
}

func (a *api) StateLookupID(_ context.Context, addr address.Address, key lotus.TipSetKey) (address.Address, error) {
	ts, err := a.n.chain.at(key)
	if err != nil {
		return address.Undef, err
	}
	if addr.Protocol() == address.ID {
		return addr, nil
	}
	found, ok := ts.pre.resolve(addr)
	if !ok {
		return address.Undef, &actorNotFound{}
	}
	return idAddress(found.id), nil
}

func (a *api) StateGetActor(_ context.Context, addr address.Address, key lotus.TipSetKey) (*lotus.Actor, error) {
	found, ts, err := a.actorAt(addr, key)
	if err != nil {
		return nil, err
	}
	return found.wire(ts), nil
}

// wire is the actor as Lotus shows it. Its state's root is a digest of the tipset: nobody can read that state.
func (a actor) wire(ts *tipset) *lotus.Actor {
	return &lotus.Actor{
		Code: network28.Actors[string(a.kind)], Head: digestCid("actor", ts.Blocks[0].ParentStateRoot.Bytes(), idAddress(a.id).Bytes()),
		Nonce: a.nonce, Balance: a.balance,
	}
}

// StateListMiners lists the miners by ID.
func (a *api) StateListMiners(_ context.Context, key lotus.TipSetKey) ([]address.Address, error) {
	ts, err := a.n.chain.at(key)
	if err != nil {
		return nil, err
	}
	var out []address.Address
	for id := range ts.pre.miners.all() {
		out = append(out, idAddress(id))
	}
	return out, nil
}

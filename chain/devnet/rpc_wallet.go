package devnet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"

	"github.com/lpseal/lpseal/chain/lotus"
)

func (a *api) WalletHas(ctx context.Context, addr address.Address) (bool, error) {
	if err := permit(ctx, "WalletHas", Write); err != nil {
		return false, err
	}
	_, ok := a.n.wallet[addr]
	return ok, nil
}

func (a *api) WalletList(ctx context.Context) ([]address.Address, error) {
	if err := permit(ctx, "WalletList", Write); err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Keys(a.n.wallet), func(x, y address.Address) int { return cmp.Compare(x.String(), y.String()) }), nil
}

// WalletDefaultAddress is the first account's.
func (a *api) WalletDefaultAddress(ctx context.Context) (address.Address, error) {
	if err := permit(ctx, "WalletDefaultAddress", Write); err != nil {
		return address.Undef, err
	}
	return a.n.cfg.Accounts[0].Key.Address(), nil
}

// WalletBalance is 0 for an address that the chain does not know.
func (a *api) WalletBalance(_ context.Context, addr address.Address) (abi.TokenAmount, error) {
	found, _, err := a.actorAt(addr, lotus.EmptyTSK)
	if errors.Is(err, errActorNotFound) {
		return big.Zero(), nil
	}
	return found.balance, err
}

func (a *api) WalletSign(ctx context.Context, addr address.Address, data []byte) (*crypto.Signature, error) {
	if err := permit(ctx, "WalletSign", Sign); err != nil {
		return nil, err
	}
	key, err := a.key(addr)
	if err != nil {
		return nil, err
	}
	return key.Sign(data)
}

// WalletSignMessage signs a message as it is: the caller has resolved From to the key's address.
func (a *api) WalletSignMessage(ctx context.Context, addr address.Address, msg *lotus.Message) (*lotus.SignedMessage, error) {
	if err := permit(ctx, "WalletSignMessage", Sign); err != nil {
		return nil, err
	}
	key, err := a.key(addr)
	if err != nil {
		return nil, fmt.Errorf("failed to sign message: %w", err)
	}
	sig, err := key.Sign(msg.Cid().Bytes())
	if err != nil {
		return nil, fmt.Errorf("failed to sign message: %w", err)
	}
	return &lotus.SignedMessage{Message: *msg, Signature: *sig}, nil
}

func (a *api) WalletVerify(_ context.Context, addr address.Address, data []byte, sig *crypto.Signature) (bool, error) {
	return lotus.VerifySignature(sig, addr, data) == nil, nil
}

// key gives the wallet's key of an address in any form.
func (a *api) key(addr address.Address) (*lotus.Key, error) {
	head, _ := a.n.chain.at(lotus.EmptyTSK)
	keyAddr, err := accountKey(&head.post, addr)
	if err != nil {
		return nil, fmt.Errorf("failed to resolve ID address: %w", err)
	}
	key, ok := a.n.wallet[keyAddr]
	if !ok {
		return nil, fmt.Errorf("key not found for %s", keyAddr)
	}
	return key, nil
}

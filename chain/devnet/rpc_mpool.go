package devnet

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/chain/lotus"
)

// MpoolPush takes a signed message. Gaps in the nonces are allowed, as for every message that is not from the network.
func (a *api) MpoolPush(ctx context.Context, m *lotus.SignedMessage) (cid.Cid, error) {
	if err := permit(ctx, "MpoolPush", Write); err != nil {
		return cid.Undef, err
	}
	if err := a.push(m); err != nil {
		return cid.Undef, err
	}
	return m.Cid(), nil
}

func (a *api) push(m *lotus.SignedMessage) error {
	if err := checkMessage(m); err != nil {
		return err
	}
	head, _ := a.n.chain.at(lotus.EmptyTSK)
	sender, err := lookup(&head.post, m.Message.From)
	switch {
	case err != nil:
		return fmt.Errorf("failed to look up actor state nonce: %w: validation failure", err)
	case sender.nonce > m.Message.Nonce:
		return fmt.Errorf("minimum expected nonce is %d, got %d: message nonce too low", sender.nonce, m.Message.Nonce)
	case sender.kind != kindAccount:
		return fmt.Errorf("sender actor %s is not a valid top-level sender", m.Message.From)
	}
	if least := storageGas(m); m.Message.GasLimit < least {
		return fmt.Errorf("verify msg failed: message will not be included in a block: 'GasLimit' field cannot be less than the cost of storing a message on chain %d < %d",
			m.Message.GasLimit, least)
	}
	if a.n.chaos.dropsMessage() {
		return a.n.pool.lose(m)
	}
	return a.n.pool.add(m, sender)
}

// checkMessage holds what a node checks of a message by itself.
func checkMessage(m *lotus.SignedMessage) error {
	raw, err := m.Serialize()
	if err != nil {
		return err
	}
	if len(raw) > lotus.MaxMessageBytes {
		return fmt.Errorf("mpool message too large (%dB): message too big", len(raw))
	}
	if err := validForBlock(&m.Message); err != nil {
		return fmt.Errorf("message not valid for block inclusion: %w", err)
	}
	if m.Message.GasFeeCap.LessThan(big.NewInt(minimumBaseFee)) {
		return errors.New("gas fee cap too low")
	}
	if m.Verify() != nil {
		reason := "signature did not match"
		if m.Signature.Type == crypto.SigTypeBLS {
			reason = "bls signature failed to verify"
		}
		return fmt.Errorf("signature verification failed: failed to validate signature: invalid signature for message %s (type %d): %s", m.Cid(), m.Signature.Type, reason)
	}
	return nil
}

func validForBlock(m *lotus.Message) error {
	switch {
	case m.Version != 0:
		return errors.New("'Version' unsupported")
	case m.To == address.Undef:
		return errors.New("'To' address cannot be empty")
	case m.From == address.Undef:
		return errors.New("'From' address cannot be empty")
	case m.Value.Int == nil:
		return errors.New("'Value' cannot be nil")
	case m.Value.Sign() < 0:
		return errors.New("'Value' field cannot be negative")
	case m.Value.GreaterThan(builtin.TotalFilecoin):
		return errors.New("'Value' field cannot be greater than total filecoin supply")
	case m.GasFeeCap.Int == nil:
		return errors.New("'GasFeeCap' cannot be nil")
	case m.GasFeeCap.Sign() < 0:
		return errors.New("'GasFeeCap' field cannot be negative")
	case m.GasPremium.Int == nil:
		return errors.New("'GasPremium' cannot be nil")
	case m.GasPremium.Sign() < 0:
		return errors.New("'GasPremium' field cannot be negative")
	case m.GasPremium.GreaterThan(m.GasFeeCap):
		return errors.New("'GasFeeCap' less than 'GasPremium'")
	case m.GasLimit > lotus.BlockGasLimit:
		return fmt.Errorf("'GasLimit' field cannot be greater than a block's gas limit (%d > %d)", m.GasLimit, lotus.BlockGasLimit)
	case m.GasLimit <= 0:
		return fmt.Errorf("'GasLimit' field %d must be positive", m.GasLimit)
	}
	return nil
}

// MpoolPushMessage estimates, signs with the node's nonce and pushes. A MsgUuid that was used gives its message again.
func (a *api) MpoolPushMessage(ctx context.Context, in *lotus.Message, spec *lotus.MessageSendSpec) (*lotus.SignedMessage, error) {
	if err := permit(ctx, "MpoolPushMessage", Sign); err != nil {
		return nil, err
	}
	p := a.n.pool
	p.sending.Lock()
	defer p.sending.Unlock()
	if spec == nil {
		spec = &lotus.MessageSendSpec{}
	}
	if m, ok := p.byUUID[spec.MsgUuid]; ok {
		return m, nil
	}
	head, _ := a.n.chain.at(lotus.EmptyTSK)
	from, err := accountKey(&head.post, in.From)
	if err != nil {
		return nil, fmt.Errorf("getting key address: %w", err)
	}
	if in.Nonce != 0 {
		return nil, fmt.Errorf("MpoolPushMessage expects message nonce to be 0, was %d", in.Nonce)
	}
	msg, err := a.GasEstimateMessageGas(ctx, in, spec, lotus.EmptyTSK)
	if err != nil {
		return nil, fmt.Errorf("GasEstimateMessageGas error: %w", err)
	}
	msg.From = from
	sender, err := lookup(&head.post, from)
	if err != nil {
		return nil, fmt.Errorf("mpool push: getting origin balance: %w", err)
	}
	if required := big.Add(msg.Value, msg.RequiredFunds()); sender.balance.LessThan(required) {
		return nil, fmt.Errorf("mpool push: not enough funds: %s < %s", sender.balance, required)
	}
	key, err := a.key(from)
	if err != nil {
		return nil, fmt.Errorf("failed to sign message: %w, addr=%s", err, from)
	}
	msg.Nonce = max(p.nonce(sender), p.signed[from])
	m, err := key.SignMessage(msg)
	if err != nil {
		return nil, fmt.Errorf("failed to sign message: %w, addr=%s", err, from)
	}
	if err := a.push(m); err != nil {
		return nil, fmt.Errorf("mpool push: failed to push message: %w", err)
	}
	s := signing{Message: m.Cid(), UUID: spec.MsgUuid}
	if err := p.journal.write(entry{Signed: &s}); err != nil {
		return nil, fmt.Errorf("failed to save nonce: %w", err)
	}
	p.keep(m, s.UUID)
	return m, nil
}

func (a *api) MpoolPending(_ context.Context, key lotus.TipSetKey) ([]*lotus.SignedMessage, error) {
	if _, err := a.n.chain.at(key); err != nil {
		return nil, err
	}
	return a.n.pool.all(), nil
}

// MpoolSelect is what a block on the tipset would hold; a block takes all it can, whatever the ticket's quality.
func (a *api) MpoolSelect(_ context.Context, key lotus.TipSetKey, _ float64) ([]*lotus.SignedMessage, error) {
	ts, err := a.n.chain.at(key)
	if err != nil {
		return nil, err
	}
	return append([]*lotus.SignedMessage{}, a.n.pool.choose(&ts.post, a.n.baseFeeOn(ts), false)...), nil
}

func (a *api) MpoolGetNonce(_ context.Context, addr address.Address) (uint64, error) {
	head, _ := a.n.chain.at(lotus.EmptyTSK)
	sender, err := lookup(&head.post, addr)
	if err != nil {
		return 0, err
	}
	return a.n.pool.nonce(sender), nil
}

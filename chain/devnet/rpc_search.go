package devnet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/batch"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/chain/lotus"
)

// noLimit is the lookback limit that means the whole chain.
const noLimit = abi.ChainEpoch(-1)

// StateSearchMsg finds where a message landed as of a tipset, or nil. The answer names the tipset after the one that included it: its
// parent state is the first that holds the result.
func (a *api) StateSearchMsg(_ context.Context, from lotus.TipSetKey, msg cid.Cid, limit abi.ChainEpoch, allowReplaced bool) (*lotus.MsgLookup, error) {
	ts, err := a.n.chain.at(from)
	if err != nil {
		return nil, err
	}
	wanted, ok := a.n.pool.message(msg)
	if !ok {
		return nil, notLoaded(msg)
	}
	return a.search(ts, wanted, msg, limit, allowReplaced)
}

// notLoaded is Lotus's error for a message that it never saw, with its slip in the format.
func notLoaded(msg cid.Cid) error {
	return fmt.Errorf("%s: ipld: could not find %s", "%!w(*errors.errorString=&{failed to load message})", msg)
}

func (a *api) search(ts *tipset, wanted *lotus.SignedMessage, name cid.Cid, limit abi.ChainEpoch, allowReplaced bool) (*lotus.MsgLookup, error) {
	sender, ok := ts.pre.resolve(wanted.Message.From)
	if !ok {
		return nil, nil
	}
	l, ok := ts.pre.landing(sender.id, wanted.Message.Nonce)
	if !ok || l.lost || limit != noLimit && l.epoch+1+limit < ts.Height {
		return nil, nil
	}
	if l.cid != name {
		switch {
		case !allowReplaced:
			return nil, nil
		case !sameCall(&l.message.Message, &wanted.Message):
			return nil, fmt.Errorf("checking for message execution during lookback: message was replaced: found message with equal nonce as the one we are looking for that is NOT a valid replacement message (F:%s n %d, TS: %s n%d): message was replaced",
				name, wanted.Message.Nonce, l.cid, l.message.Message.Nonce)
		}
	}
	key, err := a.n.chain.keyBelow(ts, l.epoch+1)
	if err != nil {
		return nil, fmt.Errorf("search message %s: %w", name, err)
	}
	return &lotus.MsgLookup{Message: l.cid, Receipt: l.receipt, ReturnDec: json.RawMessage("null"), TipSet: key, Height: l.epoch + 1}, nil
}

// sameCall says whether two messages of one sender and nonce do the same: a replacement differs in gas alone.
func sameCall(a, b *lotus.Message) bool {
	return a.To == b.To && a.Value.Equals(b.Value) && a.Method == b.Method && bytes.Equal(a.Params, b.Params)
}

// StateWaitMsg waits until a message landed and has confidence epochs on top.
func (a *api) StateWaitMsg(ctx context.Context, msg cid.Cid, confidence uint64, limit abi.ChainEpoch, allowReplaced bool) (*lotus.MsgLookup, error) {
	wanted, ok := a.n.pool.message(msg)
	if !ok {
		return nil, notLoaded(msg)
	}
	changes, stop := a.n.chain.watch()
	defer stop()
	for {
		head, err := a.n.chain.at(lotus.EmptyTSK)
		if err != nil {
			return nil, err
		}
		found, err := a.search(head, wanted, msg, limit, allowReplaced)
		if err != nil {
			return nil, err
		}
		if found != nil && head.Height >= found.Height+abi.ChainEpoch(confidence) {
			found.ReturnDec, err = decodeReturn(wanted.Message.Method, found.Receipt.Return)
			return found, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case _, ok := <-changes:
			if !ok {
				return nil, fmt.Errorf("wait for message %s: the watch fell behind", msg)
			}
		}
	}
}

// decodeReturn shows what a method returned, as JSON.
func decodeReturn(method abi.MethodNum, raw []byte) (json.RawMessage, error) {
	if method != builtin.MethodsMiner.ProveCommitSectors3 || len(raw) == 0 {
		return json.RawMessage("null"), nil
	}
	var ret batch.BatchReturn
	if err := ret.UnmarshalCBOR(bytes.NewReader(raw)); err != nil {
		return nil, fmt.Errorf("decode return: %w", err)
	}
	return json.Marshal(ret)
}

// StateGetReceipt is the receipt of a message as of a tipset, as API v0 asks for it.
func (a *api) StateGetReceipt(ctx context.Context, msg cid.Cid, from lotus.TipSetKey) (*lotus.MessageReceipt, error) {
	found, err := a.StateSearchMsg(ctx, from, msg, noLimit, true)
	if err != nil || found == nil {
		return nil, err
	}
	return &found.Receipt, nil
}

// apiV0 is API v0, whose searches have fewer parameters.
type apiV0 struct{ *api }

func (a *apiV0) StateSearchMsg(ctx context.Context, msg cid.Cid) (*lotus.MsgLookup, error) {
	return a.api.StateSearchMsg(ctx, lotus.EmptyTSK, msg, noLimit, true)
}

func (a *apiV0) StateSearchMsgLimited(ctx context.Context, msg cid.Cid, limit abi.ChainEpoch) (*lotus.MsgLookup, error) {
	return a.api.StateSearchMsg(ctx, lotus.EmptyTSK, msg, limit, true)
}

func (a *apiV0) StateWaitMsg(ctx context.Context, msg cid.Cid, confidence uint64) (*lotus.MsgLookup, error) {
	return a.api.StateWaitMsg(ctx, msg, confidence, noLimit, true)
}

func (a *apiV0) StateWaitMsgLimited(ctx context.Context, msg cid.Cid, confidence uint64, limit abi.ChainEpoch) (*lotus.MsgLookup, error) {
	return a.api.StateWaitMsg(ctx, msg, confidence, limit, true)
}

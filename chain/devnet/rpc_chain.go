package devnet

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/network"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// Agent is what the node calls itself in Filecoin.Version, where a Lotus node says "lotus": the one way to tell them apart.
const Agent = "lpseal-devnet"

// api is the node's JSON-RPC API: each exported method is one of the namespace "Filecoin".
type api struct{ n *Node }

// network28 holds the manifest of builtin actors and the upgrade heights of a network of version 28.
var network28 = func() (t struct {
	Actors map[string]cid.Cid
	Forks  map[string]abi.ChainEpoch
}) {
	var raw struct {
		Actors map[string]string
		Forks  map[string]abi.ChainEpoch
	}
	if err := json.Unmarshal(network28JSON, &raw); err != nil {
		panic(fmt.Sprintf("devnet: network28.json: %v", err)) // embedded at build
	}
	t.Actors, t.Forks = map[string]cid.Cid{}, raw.Forks
	for name, code := range raw.Actors {
		t.Actors[name] = cid.MustParse(code)
	}
	return t
}()

//go:embed network28.json
var network28JSON []byte

// Version of the API is 2.3.0, that of Lotus v1.36.
func (a *api) Version(context.Context) (lotus.Version, error) {
	return lotus.Version{Version: "v1.36.0+lpseal-devnet", APIVersion: 0x20300, BlockDelay: a.blockDelay(), Agent: Agent}, nil
}

// blockDelay is the epoch's duration in whole seconds begun and ended, as the API knows no shorter ones: whoever waits for an epoch by it
// asks a little too early and not, with ten epochs a second, ten times too late.
func (a *api) blockDelay() uint64 {
	if a.n.cfg.EpochDuration == 0 {
		return 1 // made by hand
	}
	return uint64(a.n.cfg.EpochDuration / time.Second)
}

func (a *api) StateNetworkName(context.Context) (string, error) { return a.n.cfg.NetworkName, nil }

func (a *api) StateNetworkVersion(_ context.Context, at lotus.TipSetKey) (network.Version, error) {
	if _, err := a.n.chain.at(at); err != nil {
		return 0, err
	}
	return networkVersion, nil
}

func (a *api) StateGetNetworkParams(context.Context) (*lotus.NetworkParams, error) {
	return &lotus.NetworkParams{
		NetworkName: a.n.cfg.NetworkName, BlockDelaySecs: a.blockDelay(), ConsensusMinerMinPower: big.NewInt(consensusMinerMinPower),
		PreCommitChallengeDelay: a.n.cfg.ChallengeDelay, ForkUpgradeParams: network28.Forks, Eip155ChainID: 31415926,
		GenesisTimestamp: uint64(a.n.cfg.Genesis.Unix()),
	}, nil
}

func (a *api) StateActorCodeCIDs(_ context.Context, v network.Version) (map[string]cid.Cid, error) {
	if v != networkVersion {
		return nil, fmt.Errorf("invalid network version %d: the embedded network has been of version %d since genesis", v, networkVersion)
	}
	return network28.Actors, nil
}

func (a *api) ChainHead(context.Context) (*lotus.TipSet, error) { return a.n.Head(), nil }

// ChainNotify sends the current head, then every change. The channel ends with ctx.
func (a *api) ChainNotify(ctx context.Context) (<-chan []*lotus.HeadChange, error) {
	changes, stop := a.n.chain.watch()
	context.AfterFunc(ctx, stop)
	return changes, nil
}

func (a *api) ChainGetGenesis(context.Context) (*lotus.TipSet, error) {
	head, _ := a.n.chain.at(lotus.EmptyTSK)
	ts, err := a.n.chain.below(head, 0)
	if err != nil {
		return nil, err
	}
	return ts.TipSet, nil
}

func (a *api) ChainGetTipSet(_ context.Context, key lotus.TipSetKey) (*lotus.TipSet, error) {
	ts, err := a.n.chain.at(key)
	if err != nil {
		return nil, err
	}
	return ts.TipSet, nil
}

func (a *api) ChainGetTipSetByHeight(_ context.Context, height abi.ChainEpoch, key lotus.TipSetKey) (*lotus.TipSet, error) {
	ts, err := a.n.chain.at(key)
	if err != nil {
		return nil, err
	}
	if ts, err = a.n.chain.below(ts, height); err != nil {
		return nil, err
	}
	return ts.TipSet, nil
}

// ChainGetTipSetAfterHeight is the same here: there are no null rounds.
func (a *api) ChainGetTipSetAfterHeight(ctx context.Context, height abi.ChainEpoch, key lotus.TipSetKey) (*lotus.TipSet, error) {
	return a.ChainGetTipSetByHeight(ctx, height, key)
}

func (a *api) ChainGetMessage(_ context.Context, c cid.Cid) (*lotus.Message, error) {
	m, ok := a.n.pool.message(c)
	if !ok {
		return nil, fmt.Errorf("ipld: could not find %s", c)
	}
	return &m.Message, nil
}

func (a *api) ChainGetBlockMessages(_ context.Context, block cid.Cid) (*lotus.BlockMessages, error) {
	ts, err := a.n.chain.at(lotus.NewTipSetKey(block))
	if err != nil {
		return nil, err
	}
	out := &lotus.BlockMessages{BlsMessages: []*lotus.Message{}, SecpkMessages: []*lotus.SignedMessage{}, Cids: []cid.Cid{}}
	for _, l := range ts.landed {
		if l.message.Signature.Type == crypto.SigTypeBLS {
			out.BlsMessages = append(out.BlsMessages, &l.message.Message)
		} else {
			out.SecpkMessages = append(out.SecpkMessages, l.message)
		}
		out.Cids = append(out.Cids, l.cid)
	}
	return out, nil
}

func (a *api) StateGetRandomnessFromTickets(_ context.Context, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch, entropy []byte, key lotus.TipSetKey) (abi.Randomness, error) {
	ts, err := a.n.chain.at(key)
	if err != nil {
		return nil, err
	}
	return a.n.chain.randomness(ts, tag, epoch, entropy, false)
}

func (a *api) StateGetRandomnessFromBeacon(_ context.Context, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch, entropy []byte, key lotus.TipSetKey) (abi.Randomness, error) {
	ts, err := a.n.chain.at(key)
	if err != nil {
		return nil, err
	}
	return a.n.chain.randomness(ts, tag, epoch, entropy, true)
}

// LpsealOfferVanilla gives the node the C1 output (base64) behind a native proof that is to come.
func (a *api) LpsealOfferVanilla(_ context.Context, miner address.Address, number abi.SectorNumber, c1 string) error {
	id, err := address.IDFromAddress(miner)
	if err != nil {
		return fmt.Errorf("offer vanilla proof: miner %s: %w", miner, err)
	}
	return a.n.proofs.offer(jobs.SectorID{Miner: abi.ActorID(id), Number: number}, c1)
}

// LpsealMisbehave orders misbehaviour; see [Misbehaviour].
func (a *api) LpsealMisbehave(ctx context.Context, m Misbehaviour) error {
	return a.n.Misbehave(ctx, m)
}

// LpsealAdvance makes epochs now.
func (a *api) LpsealAdvance(ctx context.Context, epochs int) error { return a.n.Advance(ctx, epochs) }

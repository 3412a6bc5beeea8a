package lotus

import (
	"context"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-jsonrpc/auth"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/builtin/v18/verifreg"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/filecoin-project/go-state-types/network"
	"github.com/ipfs/go-cid"
)

// Namespace is the prefix of every method on the wire.
const Namespace = "Filecoin"

// FullNode is the part of a node's API that sealing needs. go-jsonrpc fills the functions. Amounts are in attoFIL, heights in epochs;
// a zero TipSetKey asks at the head. A lookup of what is not there answers nil without an error where the result is a pointer.
type FullNode struct {
	Version    func(context.Context) (Version, error)
	AuthVerify func(ctx context.Context, token string) ([]auth.Permission, error) // what the token allows

	ChainHead                 func(context.Context) (*TipSet, error)
	ChainNotify               func(context.Context) (<-chan []*HeadChange, error) // WebSocket only
	ChainGetTipSet            func(context.Context, TipSetKey) (*TipSet, error)
	ChainGetTipSetByHeight    func(context.Context, abi.ChainEpoch, TipSetKey) (*TipSet, error)
	ChainGetTipSetAfterHeight func(context.Context, abi.ChainEpoch, TipSetKey) (*TipSet, error)
	ChainGetMessage           func(context.Context, cid.Cid) (*Message, error)
	ChainGetBlockMessages     func(context.Context, cid.Cid) (*BlockMessages, error)

	StateNetworkName              func(context.Context) (string, error)
	StateNetworkVersion           func(context.Context, TipSetKey) (network.Version, error)
	StateGetNetworkParams         func(context.Context) (*NetworkParams, error)
	StateActorCodeCIDs            func(context.Context, network.Version) (map[string]cid.Cid, error)
	StateGetRandomnessFromTickets func(context.Context, crypto.DomainSeparationTag, abi.ChainEpoch, []byte, TipSetKey) (abi.Randomness, error)
	StateGetRandomnessFromBeacon  func(context.Context, crypto.DomainSeparationTag, abi.ChainEpoch, []byte, TipSetKey) (abi.Randomness, error)

	StateAccountKey func(context.Context, address.Address, TipSetKey) (address.Address, error)
	StateLookupID   func(context.Context, address.Address, TipSetKey) (address.Address, error)
	StateGetActor   func(context.Context, address.Address, TipSetKey) (*Actor, error)

	StateCall       func(context.Context, *Message, TipSetKey) (*InvocResult, error)
	StateSearchMsg  func(ctx context.Context, from TipSetKey, msg cid.Cid, limit abi.ChainEpoch, allowReplaced bool) (*MsgLookup, error)
	StateWaitMsg    func(ctx context.Context, msg cid.Cid, confidence uint64, limit abi.ChainEpoch, allowReplaced bool) (*MsgLookup, error)
	StateGetReceipt func(context.Context, cid.Cid, TipSetKey) (*MessageReceipt, error)

	StateMinerInfo             func(context.Context, address.Address, TipSetKey) (MinerInfo, error)
	StateMinerPower            func(context.Context, address.Address, TipSetKey) (*MinerPower, error)
	StateMinerAvailableBalance func(context.Context, address.Address, TipSetKey) (abi.TokenAmount, error)
	StateMinerProvingDeadline  func(context.Context, address.Address, TipSetKey) (*dline.Info, error)
	StateMinerDeadlines        func(context.Context, address.Address, TipSetKey) ([]Deadline, error)
	StateMinerPartitions       func(context.Context, address.Address, uint64, TipSetKey) ([]Partition, error)
	StateMinerFaults           func(context.Context, address.Address, TipSetKey) (bitfield.BitField, error)
	StateMinerRecoveries       func(context.Context, address.Address, TipSetKey) (bitfield.BitField, error)

	StateMinerAllocated       func(context.Context, address.Address, TipSetKey) (*bitfield.BitField, error)
	StateMinerSectorAllocated func(context.Context, address.Address, abi.SectorNumber, TipSetKey) (bool, error)
	StateMinerSectors         func(context.Context, address.Address, *bitfield.BitField, TipSetKey) ([]*SectorOnChainInfo, error)
	StateMinerActiveSectors   func(context.Context, address.Address, TipSetKey) ([]*SectorOnChainInfo, error)
	StateSectorPreCommitInfo  func(context.Context, address.Address, abi.SectorNumber, TipSetKey) (*miner.SectorPreCommitOnChainInfo, error)
	StateSectorGetInfo        func(context.Context, address.Address, abi.SectorNumber, TipSetKey) (*SectorOnChainInfo, error)
	StateSectorExpiration     func(context.Context, address.Address, abi.SectorNumber, TipSetKey) (*SectorExpiration, error)
	StateSectorPartition      func(context.Context, address.Address, abi.SectorNumber, TipSetKey) (*SectorLocation, error)

	StateMinerPreCommitDepositForPower func(context.Context, address.Address, miner.SectorPreCommitInfo, TipSetKey) (abi.TokenAmount, error)
	StateMinerInitialPledgeCollateral  func(context.Context, address.Address, miner.SectorPreCommitInfo, TipSetKey) (abi.TokenAmount, error)
	StateMinerInitialPledgeForSector   func(ctx context.Context, duration abi.ChainEpoch, size abi.SectorSize, verifiedSize uint64, at TipSetKey) (abi.TokenAmount, error)

	StateGetAllocation     func(context.Context, address.Address, verifreg.AllocationId, TipSetKey) (*verifreg.Allocation, error)
	StateGetAllocations    func(context.Context, address.Address, TipSetKey) (map[verifreg.AllocationId]verifreg.Allocation, error)
	StateGetClaim          func(context.Context, address.Address, verifreg.ClaimId, TipSetKey) (*verifreg.Claim, error)
	StateGetClaims         func(context.Context, address.Address, TipSetKey) (map[verifreg.ClaimId]verifreg.Claim, error)
	StateMarketStorageDeal func(context.Context, abi.DealID, TipSetKey) (*MarketDeal, error)

	WalletHas            func(context.Context, address.Address) (bool, error)
	WalletList           func(context.Context) ([]address.Address, error)
	WalletBalance        func(context.Context, address.Address) (abi.TokenAmount, error)
	WalletDefaultAddress func(context.Context) (address.Address, error)
	WalletSign           func(context.Context, address.Address, []byte) (*crypto.Signature, error)
	WalletSignMessage    func(context.Context, address.Address, *Message) (*SignedMessage, error)

	GasEstimateMessageGas func(context.Context, *Message, *MessageSendSpec, TipSetKey) (*Message, error)
	GasEstimateFeeCap     func(ctx context.Context, msg *Message, maxQueueBlocks int64, at TipSetKey) (abi.TokenAmount, error)
	GasEstimateGasPremium func(ctx context.Context, blocks uint64, sender address.Address, gasLimit int64, at TipSetKey) (abi.TokenAmount, error)

	MpoolPending     func(context.Context, TipSetKey) ([]*SignedMessage, error)
	MpoolSelect      func(ctx context.Context, at TipSetKey, quality float64) ([]*SignedMessage, error)
	MpoolGetNonce    func(context.Context, address.Address) (uint64, error)
	MpoolPush        func(context.Context, *SignedMessage) (cid.Cid, error)
	MpoolPushMessage func(context.Context, *Message, *MessageSendSpec) (*SignedMessage, error)
}

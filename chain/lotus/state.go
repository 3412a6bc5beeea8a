package lotus

import (
	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/ipfs/go-cid"
)

// Version is the answer of Filecoin.Version. BlockDelay is in seconds.
type Version struct {
	Version    string
	APIVersion uint32
	BlockDelay uint64
	Agent      string
}

// NetworkParams are the constants that differ between networks. PreCommitChallengeDelay is in epochs (150; 10 on 2 KiB
// networks), BlockDelaySecs in seconds.
type NetworkParams struct {
	NetworkName             string
	BlockDelaySecs          uint64
	ConsensusMinerMinPower  abi.StoragePower
	PreCommitChallengeDelay abi.ChainEpoch
	ForkUpgradeParams       map[string]abi.ChainEpoch
	Eip155ChainID           int
	GenesisTimestamp        uint64
}

// Actor is the head of an actor's state. DelegatedAddress is nil for all but f4 accounts.
type Actor struct {
	Code             cid.Cid
	Head             cid.Cid
	Nonce            uint64
	Balance          abi.TokenAmount
	DelegatedAddress *address.Address
}

// MinerInfo is a storage miner's registration. Owner, Worker and control addresses are ID addresses.
type MinerInfo struct {
	Owner                      address.Address
	Worker                     address.Address
	NewWorker                  address.Address
	ControlAddresses           []address.Address
	WorkerChangeEpoch          abi.ChainEpoch
	PeerId                     *string
	Multiaddrs                 []abi.Multiaddrs
	WindowPoStProofType        abi.RegisteredPoStProof
	SectorSize                 abi.SectorSize
	WindowPoStPartitionSectors uint64
	ConsensusFaultElapsed      abi.ChainEpoch
	PendingOwnerAddress        *address.Address
	Beneficiary                address.Address
	BeneficiaryTerm            *BeneficiaryTerm
	PendingBeneficiaryTerm     *PendingBeneficiaryChange
}

// BeneficiaryTerm bounds what a beneficiary may withdraw.
type BeneficiaryTerm struct {
	Quota      abi.TokenAmount
	UsedQuota  abi.TokenAmount
	Expiration abi.ChainEpoch
}

// PendingBeneficiaryChange is a change of beneficiary that not everybody approved yet.
type PendingBeneficiaryChange struct {
	NewBeneficiary        address.Address
	NewQuota              abi.TokenAmount
	NewExpiration         abi.ChainEpoch
	ApprovedByBeneficiary bool
	ApprovedByNominee     bool
}

// SectorOnChainInfo is a committed sector. A nil amount is one that the network no longer records.
type SectorOnChainInfo struct {
	SectorNumber          abi.SectorNumber
	SealProof             abi.RegisteredSealProof
	SealedCID             cid.Cid
	Activation            abi.ChainEpoch
	Expiration            abi.ChainEpoch
	DealWeight            abi.DealWeight
	VerifiedDealWeight    abi.DealWeight
	InitialPledge         abi.TokenAmount
	ExpectedDayReward     *abi.TokenAmount
	ExpectedStoragePledge *abi.TokenAmount
	PowerBaseEpoch        abi.ChainEpoch
	ReplacedDayReward     *abi.TokenAmount
	SectorKeyCID          *cid.Cid
	Flags                 uint64
	DailyFee              abi.TokenAmount
}

// SectorExpiration says when a sector ends: OnTime as agreed, Early when faults end it; zero means not scheduled.
type SectorExpiration struct {
	OnTime abi.ChainEpoch
	Early  abi.ChainEpoch
}

// SectorLocation is where a sector is proven.
type SectorLocation struct {
	Deadline  uint64
	Partition uint64
}

// Partition is the sectors of one partition by state. Active sectors are live, proven and not faulty.
type Partition struct {
	AllSectors        bitfield.BitField
	FaultySectors     bitfield.BitField
	RecoveringSectors bitfield.BitField
	LiveSectors       bitfield.BitField
	ActiveSectors     bitfield.BitField
}

// Deadline is one of a miner's 48 deadlines.
type Deadline struct {
	PostSubmissions      bitfield.BitField
	DisputableProofCount uint64
}

// Claim is power, in bytes.
type Claim struct {
	RawBytePower    abi.StoragePower
	QualityAdjPower abi.StoragePower
}

// MinerPower is a miner's share of the network.
type MinerPower struct {
	MinerPower  Claim
	TotalPower  Claim
	HasMinPower bool
}

// MarketDeal is a deal of the built-in market actor.
type MarketDeal struct {
	Proposal market.DealProposal
	State    market.DealState
}

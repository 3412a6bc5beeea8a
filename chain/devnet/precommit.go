package devnet

import (
	"bytes"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	miner18 "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	cbg "github.com/whyrusleeping/cbor-gen"
)

// preCommitSectorBatch2 is method 28 (FIP-0076): it takes a deposit for each sector and starts its challenge delay. One bad sector
// fails the message. Checks come in the actor's order, so that the first refusal is the chain's.
func preCommitSectorBatch2(c *call, raw []byte) ([]byte, int64, error) {
	var params miner18.PreCommitSectorBatchParams2
	if err := decode(&params, raw); err != nil {
		return nil, 0, err
	}
	if len(params.Sectors) == 0 {
		return nil, 0, abortf(exitcode.ErrIllegalArgument, "batch empty")
	}
	seen := map[abi.SectorNumber]bool{}
	for _, s := range params.Sectors {
		if seen[s.SectorNumber] {
			return nil, 0, abortf(exitcode.ErrIllegalArgument, "duplicate sector number %d", s.SectorNumber)
		}
		seen[s.SectorNumber] = true
		if err := c.checkPreCommit(&s); err != nil {
			return nil, 0, err
		}
	}
	for _, s := range params.Sectors {
		if len(s.DealIDs) > 0 {
			return nil, 0, abortf(exitcode.ErrNotFound, "no such deal %d: the embedded node has no market", s.DealIDs[0])
		}
	}

	m, balance, err := c.miner()
	if err != nil {
		return nil, 0, err
	}
	if c.epoch <= m.info.ConsensusFaultElapsed {
		return nil, 0, abortf(exitcode.ErrForbidden, "pre-commit not allowed during active consensus fault")
	}
	deposit := preCommitDeposit(m.info.SectorSize)
	total := big.Mul(deposit, big.NewInt(int64(len(params.Sectors))))
	for _, s := range params.Sectors {
		// The actor's own text has a literal %d and its two figures one place late.
		if post, err := s.SealProof.RegisteredWindowPoStProofByNetworkVersion(networkVersion); err != nil || post != m.info.WindowPoStProofType {
			return nil, 0, abortf(exitcode.ErrIllegalArgument,
				"sector Window PoSt proof type %%d must match miner Window PoSt proof type %d (seal proof type %d)", post, m.info.WindowPoStProofType)
		}
	}
	if available := m.available(balance); available.LessThan(total) {
		return nil, 0, abortf(exitcode.ErrInsufficientFunds, "insufficient funds %s for pre-commit deposit: %s", fil(available), fil(total))
	}
	var taken []abi.SectorNumber
	for _, s := range params.Sectors {
		if m.allocated.has(s.SectorNumber) {
			taken = append(taken, s.SectorNumber)
		}
	}
	if len(taken) > 0 {
		return nil, 0, abortf(exitcode.ErrIllegalArgument, "sector numbers %s already allocated", rangesOf(taken))
	}

	m.deposits = big.Add(m.deposits, total)
	cleanUp := c.epoch + c.rules.maxProveCommit() + preCommitCleanUpDelay
	due, _ := m.expiries.get(cleanUp)
	due = due[:len(due):len(due)]
	for _, s := range params.Sectors {
		m.allocated = m.allocated.set(s.SectorNumber, struct{}{})
		m.precommits = m.precommits.set(s.SectorNumber, &miner18.SectorPreCommitOnChainInfo{
			Info: s, PreCommitDeposit: deposit, PreCommitEpoch: c.epoch,
		})
		due = append(due, s.SectorNumber)
	}
	m.expiries = m.expiries.set(cleanUp, due)
	c.state.miners = c.state.miners.set(m.id, m)
	return nil, gasPreCommit + gasPreCommitPerSector*int64(len(params.Sectors)), nil
}

// checkPreCommit holds what the actor checks of one sector before it looks at its state.
func (c *call) checkPreCommit(s *miner18.SectorPreCommitInfo) error {
	oldest := c.epoch - miner18.MaxPreCommitRandomnessLookback
	switch {
	case !c.rules.sealProofs[s.SealProof]:
		return abortf(exitcode.ErrIllegalArgument, "unsupported seal proof type %d", s.SealProof)
	case s.SectorNumber > abi.MaxSectorNumber:
		return abortf(exitcode.ErrIllegalArgument, "sector number %d out of range 0..(2^63-1)", s.SectorNumber)
	case !hasPrefix(s.SealedCID, miner18.SealedCIDPrefix):
		return abortf(exitcode.ErrIllegalArgument, "sealed CID had wrong prefix")
	case s.SealRandEpoch >= c.epoch:
		return abortf(exitcode.ErrIllegalArgument, "seal challenge epoch %d must be before now %d", s.SealRandEpoch, c.epoch)
	case s.SealRandEpoch < oldest:
		return abortf(exitcode.ErrIllegalArgument, "seal challenge epoch %d too old, must be after %d", s.SealRandEpoch, oldest)
	case s.UnsealedCid != nil && !hasPrefix(*s.UnsealedCid, unsealedCIDPrefix):
		return abortf(exitcode.ErrIllegalArgument, "unsealed CID had wrong prefix")
	}
	// The sector's life is counted from the last epoch at which its proof may come.
	activation := c.epoch + c.rules.maxProveCommit()
	switch {
	case s.Expiration <= activation:
		return abortf(exitcode.ErrIllegalArgument, "sector expiration %d must be after activation %d", s.Expiration, activation)
	case s.Expiration-activation < miner18.MinSectorExpiration:
		return abortf(exitcode.ErrIllegalArgument, "invalid expiration %d, total sector lifetime (%d) must exceed %d after activation %d",
			s.Expiration, s.Expiration-activation, miner18.MinSectorExpiration, activation)
	case s.Expiration > c.epoch+miner18.MaxSectorExpirationExtension:
		return abortf(exitcode.ErrIllegalArgument, "invalid expiration %d, cannot be more than %d past current epoch %d",
			s.Expiration, miner18.MaxSectorExpirationExtension, c.epoch)
	}
	return nil
}

var unsealedCIDPrefix = cid.Prefix{Version: 1, Codec: cid.FilCommitmentUnsealed, MhType: multihash.SHA2_256_TRUNC254_PADDED, MhLength: 32}

func hasPrefix(c cid.Cid, p cid.Prefix) bool { return c.Defined() && c.Prefix() == p }

// miner gives a copy of the receiver's state and its balance, value included, after checking that the caller may seal for it.
func (c *call) miner() (*miner, abi.TokenAmount, error) {
	m, ok := c.state.miners.get(c.receiver)
	if !ok {
		return nil, big.Zero(), fmt.Errorf("f0%d has no miner state", c.receiver)
	}
	if !m.mayCall(c.caller) {
		return nil, big.Zero(), abortf(exitcode.ErrForbidden, "caller f0%d is not one of supported", c.caller)
	}
	a, _ := c.state.actors.get(c.receiver)
	return m.copy(), a.balance, nil
}

func decode(params cbg.CBORUnmarshaler, raw []byte) error {
	if err := params.UnmarshalCBOR(bytes.NewReader(raw)); err != nil {
		return abortf(exitcode.ErrSerialization, "Serialization error for Cbor protocol: Msg(%q)", err)
	}
	return nil
}

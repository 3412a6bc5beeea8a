package devnet

import (
	"bytes"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/batch"
	"github.com/filecoin-project/go-state-types/big"
	miner18 "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// activation is one sector on its way through proveCommitSectors3; code says why it fell out, if it did.
type activation struct {
	manifest  miner18.SectorActivationManifest
	precommit *miner18.SectorPreCommitOnChainInfo
	proof     []byte
	verified  abi.PaddedPieceSize // of the pieces whose allocations it claimed
	code      exitcode.ExitCode
}

// proveCommitSectors3 is method 34 (FIP-0076): it verifies each sector's proof against what the chain itself drew and activates the
// good ones. Bad ones are skipped and named in the result unless the caller requires all; a message without one good sector fails.
func proveCommitSectors3(c *call, raw []byte) ([]byte, int64, error) {
	var params miner18.ProveCommitSectors3Params
	if err := decode(&params, raw); err != nil {
		return nil, 0, err
	}
	m, _, err := c.miner()
	if err != nil {
		return nil, 0, err
	}
	sectors, err := activations(m, &params)
	if err != nil {
		return nil, 0, err
	}
	if err := c.validatePreCommits(sectors, params.RequireActivationSuccess); err != nil {
		return nil, 0, err
	}
	gas := int64(gasProve + gasProvePerSector*len(sectors))
	if len(params.AggregateProof) > 0 {
		gas = gasProve + gasAggregate(len(sectors))
		err = c.verifyAggregate(m, sectors, params.AggregateProof)
	} else {
		err = c.verifyProofs(m, sectors, params.RequireActivationSuccess)
	}
	if err != nil {
		return nil, 0, err
	}
	if err := c.activateData(m, sectors, params.RequireActivationSuccess); err != nil {
		return nil, 0, err
	}
	if err := c.activate(m, sectors); err != nil {
		return nil, 0, err
	}
	c.state.miners = c.state.miners.set(m.id, m)
	if err := c.notify(m, sectors, params.RequireNotificationSuccess); err != nil {
		return nil, 0, err
	}

	var done batch.BatchReturn
	for i, s := range sectors {
		if s.code.IsSuccess() {
			done.SuccessCount++
		} else {
			done.FailCodes = append(done.FailCodes, batch.FailCode{Idx: uint64(i), Code: s.code})
		}
	}
	var ret bytes.Buffer
	if err := done.MarshalCBOR(&ret); err != nil {
		return nil, 0, fmt.Errorf("encode batch return: %w", err)
	}
	return ret.Bytes(), gas, nil
}

// activations joins the parameters with the pre-commitments they speak of.
func activations(m *miner, params *miner18.ProveCommitSectors3Params) ([]*activation, error) {
	sectors := make([]*activation, len(params.SectorActivations))
	for i, manifest := range params.SectorActivations {
		pc, ok := m.precommits.get(manifest.SectorNumber)
		if !ok {
			return nil, abortf(exitcode.ErrNotFound, "loading precommits: sector %d not found", manifest.SectorNumber)
		}
		sectors[i] = &activation{manifest: manifest, precommit: pc}
	}
	switch {
	case len(sectors) == 0:
		return nil, abortf(exitcode.ErrIllegalArgument, "no sectors to prove")
	case (len(params.SectorProofs) == 0) == (len(params.AggregateProof) == 0):
		return nil, abortf(exitcode.ErrIllegalArgument, "exactly one of sector proofs or aggregate proof must be non-empty")
	case len(params.AggregateProof) > 0:
		return sectors, checkAggregate(params)
	case params.AggregateProofType != nil:
		return nil, abortf(exitcode.ErrIllegalArgument, "aggregate proof type must be null with batched proofs")
	case len(sectors) != len(params.SectorProofs):
		return nil, abortf(exitcode.ErrIllegalArgument, "mismatched lengths: %d sector activations, %d proofs", len(sectors), len(params.SectorProofs))
	}
	longest, err := sectors[0].precommit.Info.SealProof.ProofSize()
	if err != nil {
		return nil, abortf(exitcode.ErrIllegalState, "failed to determine max proof size: %s", err)
	}
	for i, proof := range params.SectorProofs {
		if uint64(len(proof)) > longest {
			return nil, abortf(exitcode.ErrIllegalArgument, "sector proof size %d exceeds max %d", len(proof), longest)
		}
		sectors[i].proof = proof
	}
	return sectors, nil
}

// checkAggregate checks the form of an aggregate (FIP-0013).
func checkAggregate(params *miner18.ProveCommitSectors3Params) error {
	n := len(params.SectorActivations)
	switch kind := params.AggregateProofType; {
	case kind == nil || *kind != abi.RegisteredAggregationProof_SnarkPackV2:
		return abortf(exitcode.ErrIllegalArgument, "aggregate proof type must be SnarkPackV2")
	case n < miner18.MinAggregatedSectors:
		return abortf(exitcode.ErrIllegalArgument, "too few sectors addressed, addressed %d want >= %d", n, miner18.MinAggregatedSectors)
	case n > miner18.MaxAggregatedSectors:
		return abortf(exitcode.ErrIllegalArgument, "too many sectors addressed, addressed %d want <= %d", n, miner18.MaxAggregatedSectors)
	case len(params.AggregateProof) > maxAggregateProof:
		return abortf(exitcode.ErrIllegalArgument, "sector prove-commit proof of size %d exceeds max size of %d", len(params.AggregateProof), maxAggregateProof)
	}
	return nil
}

// validatePreCommits checks the time: a proof before its seed fails the message, a late one its sector.
func (c *call) validatePreCommits(sectors []*activation, all bool) error {
	good := 0
	for i, s := range sectors {
		if i > 0 && s.precommit.Info.SealProof != sectors[i-1].precommit.Info.SealProof {
			return abortf(exitcode.ErrIllegalState, "seal proof group for verification contains mismatched seal proofs %d and %d",
				sectors[i-1].precommit.Info.SealProof, s.precommit.Info.SealProof)
		}
		if c.epoch <= s.precommit.PreCommitEpoch+c.rules.challengeDelay {
			return abortf(exitcode.ErrForbidden, "too early to prove sector")
		}
		if c.epoch <= s.precommit.PreCommitEpoch+c.rules.maxProveCommit() {
			good++
			continue
		}
		if all {
			return abortf(exitcode.ErrIllegalArgument, "invalid pre-commit %d while requiring activation success: %+v", i, s.precommit.Info)
		}
		s.code = exitcode.ErrIllegalArgument
	}
	if good == 0 {
		return abortf(exitcode.ErrIllegalArgument, "no valid precommits specified")
	}
	return nil
}

// verifyProofs checks every proof that is in time against ticket and seed drawn from this chain.
func (c *call) verifyProofs(m *miner, sectors []*activation, all bool) error {
	good := 0
	for _, s := range sectors {
		if s.code != exitcode.Ok {
			continue
		}
		seal, err := c.seal(m, s.precommit)
		if err != nil {
			return err
		}
		valid, err := c.proofs.verify(c.ctx, seal, s.proof)
		if err != nil {
			return fmt.Errorf("verify proof of %s: %w", seal.ID, err)
		}
		if valid {
			good++
			continue
		}
		if all {
			return abortf(exitcode.ErrIllegalArgument, "invalid proof for sector %d while requiring activation success: [false]", s.manifest.SectorNumber)
		}
		s.code = exitcode.ErrIllegalArgument
	}
	if good == 0 {
		return abortf(exitcode.ErrIllegalArgument, "no valid proofs specified")
	}
	return nil
}

// verifyAggregate checks one proof for all sectors, those that are late among them: it holds
// for all or for none.
func (c *call) verifyAggregate(m *miner, sectors []*activation, aggregate []byte) error {
	seals := make([]jobs.Seal, len(sectors))
	for i, s := range sectors {
		var err error
		if seals[i], err = c.seal(m, s.precommit); err != nil {
			return err
		}
	}
	refusal, err := c.proofs.verifyAggregate(c.ctx, seals, aggregate)
	if err == nil && refusal != "" {
		err = abortf(exitcode.ErrIllegalArgument, "aggregate seal verify failed: %s", refusal)
	}
	return err
}

// seal is what a proof of the pre-commitment must be bound to.
func (c *call) seal(m *miner, pc *miner18.SectorPreCommitOnChainInfo) (jobs.Seal, error) {
	var entropy bytes.Buffer
	addr := idAddress(m.id)
	if err := addr.MarshalCBOR(&entropy); err != nil {
		return jobs.Seal{}, fmt.Errorf("entropy of f0%d: %w", m.id, err)
	}
	ticket, err := c.random(crypto.DomainSeparationTag_SealRandomness, pc.Info.SealRandEpoch, entropy.Bytes())
	if err != nil {
		return jobs.Seal{}, fmt.Errorf("ticket of sector %d: %w", pc.Info.SectorNumber, err)
	}
	seed, err := c.random(crypto.DomainSeparationTag_InteractiveSealChallengeSeed, pc.PreCommitEpoch+c.rules.challengeDelay, entropy.Bytes())
	if err != nil {
		return jobs.Seal{}, fmt.Errorf("seed of sector %d: %w", pc.Info.SectorNumber, err)
	}
	commD, err := declaredCommD(&pc.Info)
	if err != nil {
		return jobs.Seal{}, err
	}
	return jobs.Seal{
		ID:    jobs.SectorID{Miner: m.id, Number: pc.Info.SectorNumber},
		Proof: pc.Info.SealProof, Ticket: ticket, Seed: seed, CommD: commD, CommR: pc.Info.SealedCID,
	}, nil
}

// declaredCommD is the pre-committed CommD; a sector without one holds zeros.
func declaredCommD(info *miner18.SectorPreCommitInfo) (cid.Cid, error) {
	if info.UnsealedCid != nil {
		return *info.UnsealedCid, nil
	}
	return jobs.CommD(info.SealProof, nil)
}

// activateData compares the pieces of the activation with the pre-committed CommD and claims their allocations. A sector whose
// allocations cannot all be claimed falls out.
func (c *call) activateData(m *miner, sectors []*activation, all bool) error {
	good := 0
	for _, s := range sectors {
		if s.code != exitcode.Ok {
			continue
		}
		if err := s.checkCommD(); err != nil {
			return err
		}
	}
	for _, s := range sectors {
		if s.code != exitcode.Ok {
			continue
		}
		if s.code = c.claim(m, s); s.code == exitcode.Ok {
			good++
		} else if all {
			return abortf(exitcode.ErrIllegalArgument, "error claiming allocations on batch: send to f06 method 9 aborted: claim failed with all-or-nothing: sector %d: %s", s.manifest.SectorNumber, s.code)
		}
	}
	if good == 0 {
		return abortf(exitcode.ErrIllegalArgument, "all data activations failed")
	}
	return nil
}

func (s *activation) checkCommD() error {
	pieces := make([]jobs.Piece, len(s.manifest.Pieces))
	for i, p := range s.manifest.Pieces {
		pieces[i] = jobs.Piece{CID: p.CID, Size: p.Size}
	}
	computed, err := jobs.CommD(s.precommit.Info.SealProof, pieces)
	if err != nil {
		return abortf(exitcode.ErrIllegalArgument, "failed to compute unsealed sector CID: %s", err)
	}
	declared, err := declaredCommD(&s.precommit.Info)
	if err != nil {
		return err
	}
	if computed != declared {
		return abortf(exitcode.ErrIllegalArgument, "unsealed CID does not match pieces for sector %d, computed Cid(%s) declared Cid(%s)",
			s.manifest.SectorNumber, computed, declared)
	}
	return nil
}

// activate turns the good pre-commitments into sectors: deposits become free and the pledge is locked in their place.
func (c *call) activate(m *miner, sectors []*activation) error {
	size := m.info.SectorSize
	pledge := big.Zero()
	for _, s := range sectors {
		if s.code != exitcode.Ok {
			continue
		}
		info := &s.precommit.Info
		lifetime := info.Expiration - c.epoch // long enough, or the pre-commitment would not have been taken (docs/adr/0008)
		var data abi.PaddedPieceSize
		for _, p := range s.manifest.Pieces {
			data += p.Size
		}
		weight := func(space abi.PaddedPieceSize) abi.DealWeight {
			return big.Mul(big.NewIntUnsigned(uint64(space)), big.NewInt(int64(lifetime)))
		}
		own := initialPledge(adjusted(size, s.verified))
		m.sectors = m.sectors.set(info.SectorNumber, &lotus.SectorOnChainInfo{
			SectorNumber: info.SectorNumber, SealProof: info.SealProof, SealedCID: info.SealedCID,
			Activation: c.epoch, Expiration: info.Expiration, PowerBaseEpoch: c.epoch,
			DealWeight: weight(data - s.verified), VerifiedDealWeight: weight(s.verified),
			InitialPledge: own, DailyFee: dailyFee(adjusted(size, s.verified)),
			Flags: uint64(miner18.SIMPLE_QA_POWER),
		})
		m.precommits = m.precommits.drop(info.SectorNumber)
		m.assign(info.SectorNumber, c.epoch)
		m.deposits = big.Sub(m.deposits, s.precommit.PreCommitDeposit)
		pledge = big.Add(pledge, own)
	}
	a, _ := c.state.actors.get(m.id)
	if free := m.available(a.balance); free.LessThan(pledge) {
		return abortf(exitcode.ErrInsufficientFunds, "insufficient funds for aggregate initial pledge requirement %s, available: %s", fil(pledge), fil(free))
	}
	m.pledge = big.Add(m.pledge, pledge)
	return nil
}

package chain

import (
	"bytes"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	cbg "github.com/whyrusleeping/cbor-gen"

	"github.com/lpseal/lpseal/jobs"
)

// The actors' bounds on a pre-commitment (go-state-types builtin/v18/miner; design §6).
const (
	minSectorLife = miner.MinSectorExpiration          // 180 days
	maxSectorLife = miner.MaxSectorExpirationExtension // 1,278 days
)

// maxTicketAge is how old a ticket's epoch may be when its pre-commitment lands: 3,780 epochs.
var maxTicketAge = miner.MaxPreCommitRandomnessLookback

// landingMargin is how many epochs a message may wait in the mempool without its expiration becoming too near (2 h at 30 s).
const landingMargin = 240

// expirationFor gives the expiration that the actor accepts nearest to what is wanted; wanted 0 is the longest. The lower bound counts from the latest
// epoch at which the sector may be proven, and moves with the head: a margin is left for the landing. The upper bound moves too, but away.
func expirationFor(head, wanted, maxProveCommit abi.ChainEpoch) abi.ChainEpoch {
	lowest := head + landingMargin + maxProveCommit + minSectorLife
	highest := head + maxSectorLife
	if wanted == 0 {
		return highest
	}
	return min(max(wanted, lowest), highest)
}

// preCommitInfos builds one entry of the parameters for each request.
func preCommitInfos(head, maxProveCommit abi.ChainEpoch, requests []jobs.PreCommitRequest) []miner.SectorPreCommitInfo {
	infos := make([]miner.SectorPreCommitInfo, len(requests))
	for i, r := range requests {
		infos[i] = miner.SectorPreCommitInfo{
			SealProof:     r.Seal.Proof,
			SectorNumber:  r.Seal.ID.Number,
			SealedCID:     r.Seal.CommR,
			SealRandEpoch: r.TicketEpoch,
			Expiration:    expirationFor(head, r.Expiration, maxProveCommit),
		}
		if !r.CC { // a CC sector's CommD is that of zeros, which the actor knows
			infos[i].UnsealedCid = &requests[i].Seal.CommD
		}
	}
	return infos
}

// preCommitParams encodes PreCommitSectorBatch2, at most 256 sectors.
func preCommitParams(infos []miner.SectorPreCommitInfo) ([]byte, error) {
	if len(infos) == 0 || len(infos) > miner.PreCommitSectorBatchMaxSize {
		return nil, jobs.Failf(jobs.Bug, "pre-commit of %d sectors in one message; 1 to %d are possible", len(infos), miner.PreCommitSectorBatchMaxSize)
	}
	return encode("PreCommitSectorBatch2", &miner.PreCommitSectorBatchParams2{Sectors: infos})
}

// commitParams encodes ProveCommitSectors3 with one proof for each sector. A sector that the actor refuses does not fail the others: its code is in
// the returned batch.
func commitParams(requests []jobs.CommitRequest) ([]byte, error) {
	params := miner.ProveCommitSectors3Params{}
	for _, r := range requests {
		manifest := miner.SectorActivationManifest{SectorNumber: r.Seal.ID.Number}
		for _, p := range r.Pieces {
			manifest.Pieces = append(manifest.Pieces, miner.PieceActivationManifest{CID: p.CID, Size: p.Size})
		}
		params.SectorActivations = append(params.SectorActivations, manifest)
		params.SectorProofs = append(params.SectorProofs, r.Proof)
	}
	return encode("ProveCommitSectors3", &params)
}

func encode(what string, v cbg.CBORMarshaler) ([]byte, error) {
	var buf bytes.Buffer
	if err := v.MarshalCBOR(&buf); err != nil {
		return nil, jobs.Failf(jobs.Bug, "encode %s: %w", what, err)
	}
	return buf.Bytes(), nil
}

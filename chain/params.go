package chain

import (
	"bytes"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/builtin/v18/verifreg"
	cbg "github.com/whyrusleeping/cbor-gen"

	"github.com/lpseal/lpseal/jobs"
)

// maxTicketAge is how old a ticket's epoch may be when its pre-commitment lands: 3,780 epochs.
var maxTicketAge = miner.MaxPreCommitRandomnessLookback

// preCommitInfos builds one entry of the parameters for each request.
func preCommitInfos(head, delay abi.ChainEpoch, requests []jobs.PreCommitRequest) []miner.SectorPreCommitInfo {
	infos := make([]miner.SectorPreCommitInfo, len(requests))
	for i, r := range requests {
		infos[i] = miner.SectorPreCommitInfo{
			SealProof:     r.Seal.Proof,
			SectorNumber:  r.Seal.ID.Number,
			SealedCID:     r.Seal.CommR,
			SealRandEpoch: r.TicketEpoch,
			Expiration:    r.Terms.Expiration(head, delay, r.Expiration),
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

// commitParams encodes ProveCommitSectors3 with one proof for each sector. A sector that the actor refuses does not fail the others, unless all are
// required: its code is in the returned batch. A refused notification fails the message, so that the estimate tells of it: the sector would be committed
// without its deal. An aggregate stands for all proofs; nil is none.
func commitParams(requests []jobs.CommitRequest, all bool, aggregate []byte) ([]byte, error) {
	params := miner.ProveCommitSectors3Params{RequireActivationSuccess: all, AggregateProof: aggregate}
	if aggregate != nil {
		kind := abi.RegisteredAggregationProof_SnarkPackV2
		params.AggregateProofType = &kind
	}
	for _, r := range requests {
		manifest := miner.SectorActivationManifest{SectorNumber: r.Seal.ID.Number}
		for _, p := range r.Pieces {
			manifest.Pieces = append(manifest.Pieces, pieceManifest(p))
			params.RequireNotificationSuccess = params.RequireNotificationSuccess || len(p.Notify) > 0
		}
		params.SectorActivations = append(params.SectorActivations, manifest)
		if aggregate == nil {
			params.SectorProofs = append(params.SectorProofs, r.Proof)
		}
	}
	return encode("ProveCommitSectors3", &params)
}

// pieceManifest says what the chain is to do about a piece (FIP-0076). The actor pads between pieces as jobs.Layout does.
func pieceManifest(p jobs.Piece) miner.PieceActivationManifest {
	m := miner.PieceActivationManifest{CID: p.CID, Size: p.Size}
	if a := p.Allocation; a != nil {
		m.VerifiedAllocationKey = &miner.VerifiedAllocationKey{Client: a.Client, ID: verifreg.AllocationId(a.ID)}
	}
	for _, n := range p.Notify {
		m.Notify = append(m.Notify, miner.DataActivationNotification{Address: n.Address, Payload: n.Payload})
	}
	return m
}

func encode(what string, v cbg.CBORMarshaler) ([]byte, error) {
	var buf bytes.Buffer
	if err := v.MarshalCBOR(&buf); err != nil {
		return nil, jobs.Failf(jobs.Bug, "encode %s: %w", what, err)
	}
	return buf.Bytes(), nil
}

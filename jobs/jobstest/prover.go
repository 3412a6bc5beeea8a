package jobstest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/jobs"
)

// Hook is called by a fake at the start of a method, named as in the interface: it
// may block, fail the method, or kill the process. nil does nothing.
type Hook func(ctx context.Context, method string) error

func (h Hook) call(ctx context.Context, method string) error {
	if h == nil {
		return ctx.Err()
	}
	return h(ctx, method)
}

// Prover is a [jobs.Prover] whose files and proofs are hashes of what they are
// bound to: of the right names, and a few bytes long. Like the native prover it
// makes vanilla tags.
type Prover struct{ Hook Hook }

var _ jobs.Prover = (*Prover)(nil)

// Name is the native prover's, whose proofs these look like.
func (p *Prover) Name() string { return jobs.NativeProver }

// TreeD reads the pieces to their ends and takes their CIDs' word for CommD.
func (p *Prover) TreeD(ctx context.Context, proof abi.RegisteredSealProof, cache string, pieces []jobs.PieceReader, report func(jobs.Progress)) (cid.Cid, error) {
	if err := p.Hook.call(ctx, "TreeD"); err != nil {
		return cid.Undef, err
	}
	infos := make([]jobs.Piece, len(pieces))
	for i, piece := range pieces {
		if _, err := io.Copy(io.Discard, piece); err != nil {
			return cid.Undef, fmt.Errorf("piece %d: %w", i, err)
		}
		infos[i] = piece.Piece
	}
	commD, err := jobs.CommD(proof, infos)
	if err != nil {
		return cid.Undef, err
	}
	report(jobs.Progress{Step: "tree-d", Done: 1, Total: 1})
	return commD, write(cache, jobs.TreeDFile, commD.String())
}

// SDR writes the layers.
func (p *Prover) SDR(ctx context.Context, s jobs.Seal, cache string, report func(jobs.Progress)) error {
	if err := p.Hook.call(ctx, "SDR"); err != nil {
		return err
	}
	replica, err := s.ReplicaID()
	if err != nil {
		return err
	}
	names := jobs.LayerFiles(s.Proof)
	for i, name := range names {
		if err := write(cache, name, fmt.Sprintf("%x", replica)); err != nil {
			return err
		}
		report(jobs.Progress{Step: fmt.Sprintf("layer %d/%d", i+1, len(names)), Done: uint64(i + 1), Total: uint64(len(names))})
	}
	return nil
}

// TreeRC writes the trees, the aux files and the sealed file.
func (p *Prover) TreeRC(ctx context.Context, s jobs.Seal, f jobs.Folders, report func(jobs.Progress)) (cid.Cid, error) {
	if err := p.Hook.call(ctx, "TreeRC"); err != nil {
		return cid.Undef, err
	}
	replica, err := s.ReplicaID()
	if err != nil {
		return cid.Undef, err
	}
	sum := sha256.Sum256(replica[:])
	names := append(jobs.LastingFiles(s.Proof), jobs.TreeCFiles(s.Proof)...)
	if s.Proof.IsSynthetic() {
		names = append(names, jobs.SyntheticFile)
	}
	for _, name := range names {
		if err := write(f.Cache, name, fmt.Sprintf("%x", sum)); err != nil {
			return cid.Undef, err
		}
	}
	report(jobs.Progress{Step: "tree-r", Done: 1, Total: 1})
	if err := write(filepath.Dir(f.Sealed), filepath.Base(f.Sealed), fmt.Sprintf("%x", sum)); err != nil {
		return cid.Undef, err
	}
	return commcid.ReplicaCommitmentV1ToCID(sum[:])
}

// C1 hashes CommR and seed.
func (p *Prover) C1(ctx context.Context, s jobs.Seal, f jobs.Folders) ([]byte, error) {
	if err := p.Hook.call(ctx, "C1"); err != nil {
		return nil, err
	}
	if _, err := os.Stat(f.Sealed); err != nil {
		return nil, jobs.Failf(jobs.Input, "the replica of %s: %w", s.ID, err)
	}
	if s.Proof.IsSynthetic() {
		if _, err := os.Stat(filepath.Join(f.Cache, jobs.SyntheticFile)); err != nil {
			return nil, jobs.Failf(jobs.Input, "the synthetic proofs of %s: %w", s.ID, err)
		}
	}
	sum := sha256.Sum256(append(s.CommR.Bytes(), s.Seed...))
	return json.Marshal(map[string]string{"vanilla": hex.EncodeToString(sum[:])})
}

// C2 makes the native prover's tag.
func (p *Prover) C2(ctx context.Context, _ jobs.Seal, c1 []byte) ([]byte, error) {
	if err := p.Hook.call(ctx, "C2"); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(c1)
	return append(append([]byte(jobs.VanillaTag), make([]byte, 160-len(jobs.VanillaTag))...), sum[:]...), nil
}

// Verify compares the tag.
func (p *Prover) Verify(ctx context.Context, s jobs.Seal, proof, c1 []byte) error {
	if err := p.Hook.call(ctx, "Verify"); err != nil {
		return err
	}
	if sum := sha256.Sum256(c1); len(proof) != 192 || !bytes.Equal(proof[160:], sum[:]) {
		return jobs.Failf(jobs.Input, "the proof of %s is not one of its C1 output", s.ID)
	}
	return nil
}

// Unseal gives zeros: only committed capacity comes back right.
func (p *Prover) Unseal(ctx context.Context, _ jobs.Seal, _, _ string, _, size uint64, w io.Writer, _ func(jobs.Progress)) error {
	if err := p.Hook.call(ctx, "Unseal"); err != nil {
		return err
	}
	_, err := w.Write(make([]byte, size))
	return err
}

func write(dir, name, text string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
}

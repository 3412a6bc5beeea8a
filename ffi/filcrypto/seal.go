//go:build filcrypto

package filcrypto

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	ffi "github.com/filecoin-project/filecoin-ffi"

	"github.com/lpseal/lpseal/jobs"
)

// SDR writes the layers. The library keeps whole layers that are there, whoever's
// they are: the cache folder must belong to the seal (design rule 5).
func (p *Prover) SDR(ctx context.Context, s jobs.Seal, cache string, report func(jobs.Progress)) error {
	return call(ctx, "sdr", s, func() error {
		if err := checkSeal(s); err != nil {
			return err
		}
		size, err := s.Proof.SectorSize()
		if err != nil {
			return jobs.Failf(jobs.Rejected, "seal proof %d: %w", s.Proof, err)
		}
		id, err := s.ReplicaID()
		if err != nil {
			return err
		}
		stop := watchLayers(s.Proof, size, cache, report)
		defer stop()
		if err := dropPartLayers(s.Proof, size, cache); err != nil {
			return fileFault(err)
		}
		return fault(ffi.GenerateSDR(s.Proof, cache, id), jobs.Transient)
	})
}

// dropPartLayers removes a layer that is not whole, and those above it: they may be
// of an older run of the same seal.
func dropPartLayers(proof abi.RegisteredSealProof, size abi.SectorSize, cache string) error {
	whole := true
	for _, name := range jobs.LayerFiles(proof) {
		path := filepath.Join(cache, name)
		info, err := os.Stat(path)
		whole = whole && err == nil && info.Size() == int64(size)
		if !whole {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// treeParts are what TreeRC makes in the cache folder. Files of an earlier run must
// go first: the library would open them instead of making new ones.
func treeParts(proof abi.RegisteredSealProof) []string {
	return slices.Concat(jobs.TreeCFiles(proof), jobs.LastingFiles(proof), []string{jobs.SyntheticFile})
}

// TreeRC makes the trees, the replica over a copy of the data tree's leaves, and the
// synthetic proofs of seals that have them. The library checks and holds all of those
// in memory before it writes them: by computation 15 GB for sectors of 32 GiB, and what lies around them.
func (p *Prover) TreeRC(ctx context.Context, s jobs.Seal, f jobs.Folders, report func(jobs.Progress)) (commR cid.Cid, err error) {
	err = call(ctx, "tree_rc", s, func() error {
		if err := checkSeal(s); err != nil {
			return err
		}
		if err := p.checkInputs(s, f.Cache); err != nil {
			return err
		}
		for _, name := range treeParts(s.Proof) {
			if err := os.Remove(filepath.Join(f.Cache, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fileFault(err)
			}
		}
		size, err := s.Proof.SectorSize()
		if err != nil {
			return jobs.Failf(jobs.Rejected, "seal proof %d: %w", s.Proof, err)
		}
		tell(report, "copy data", 0, size)
		if err := copyLeaves(ctx, filepath.Join(f.Cache, jobs.TreeDFile), f.Sealed, int64(size)); err != nil {
			return fileFault(err)
		}
		one, err := phase1(s, f.Cache)
		if err != nil {
			return err
		}
		tell(report, "tree-c, tree-r", 0, size)
		var commD cid.Cid
		if commR, commD, err = ffi.SealPreCommitPhase2(one, f.Cache, f.Sealed); err != nil {
			return fault(err, jobs.Transient)
		}
		if !commD.Equals(s.CommD) {
			return jobs.Failf(jobs.Bug, "the library answered CommD %s for %s", commD, s.CommD)
		}
		tell(report, "tree-c, tree-r", uint64(size), size)
		if !s.Proof.IsSynthetic() {
			return nil
		}
		tell(report, "synthetic proofs", 0, size)
		pieces, err := wholeSector(s)
		if err != nil {
			return err
		}
		return fault(ffi.GenerateSynthProofs(s.Proof, commR, commD, f.Cache, f.Sealed, s.ID.Number, s.ID.Miner, s.Ticket, pieces), jobs.Input)
	})
	return commR, err
}

// checkInputs sees that layers and data tree are whole and that the tree is the one
// of the seal's data: the library looks at neither.
func (p *Prover) checkInputs(s jobs.Seal, cache string) error {
	size, err := s.Proof.SectorSize()
	if err != nil {
		return jobs.Failf(jobs.Rejected, "seal proof %d: %w", s.Proof, err)
	}
	treeD := filepath.Join(cache, jobs.TreeDFile)
	if err := checkSize(treeD, 2*int64(size)-nodeSize, jobs.TreeD); err != nil {
		return err
	}
	for _, name := range jobs.LayerFiles(s.Proof) {
		if err := checkSize(filepath.Join(cache, name), int64(size), jobs.SDR); err != nil {
			return err
		}
	}
	in, err := os.Open(treeD)
	if err != nil {
		return fileFault(err)
	}
	defer in.Close()
	var root [nodeSize]byte
	if _, err := in.ReadAt(root[:], 2*int64(size)-2*nodeSize); err != nil {
		return fileFault(err)
	}
	want, err := jobs.CommitmentBytes(s.CommD)
	if err != nil {
		return jobs.Failf(jobs.Bug, "CommD: %w", err)
	}
	if root != want {
		f := jobs.Failf(jobs.Input, "tree-d has root %x, not CommD %x: build tree-d again", root, want)
		f.From = jobs.TreeD
		return f
	}
	return nil
}

func checkSize(path string, want int64, from jobs.Stage) error {
	info, err := os.Stat(path)
	if err != nil {
		return fileFault(err)
	}
	if info.Size() != want {
		f := jobs.Failf(jobs.Input, "%s has %d bytes, not %d", path, info.Size(), want)
		f.From = from
		return f
	}
	return nil
}

// copyLeaves writes the leaves of tree-d, the padded data, as the file to encode.
func copyLeaves(ctx context.Context, treeD, sealed string, size int64) error {
	in, err := os.Open(treeD)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(sealed)
	if err != nil {
		return err
	}
	defer out.Close()
	const chunk = 256 << 20 // the kernel copies or shares it by itself
	for at := int64(0); at < size; at += chunk {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := io.CopyN(out, in, min(chunk, size-at)); err != nil {
			return err
		}
	}
	return out.Close()
}

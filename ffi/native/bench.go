package native

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/jobs"
)

// BenchOptions say what [SealOnce] seals. The seal's CommD and CommR are made.
type BenchOptions struct {
	Seal jobs.Seal // ID, Proof, Ticket and Seed
	// Data is raw data, zero-padded to the sector; nil means committed capacity. It is
	// one piece as large as the sector, so its CommP is not checked.
	Data io.Reader
	// Dir gets the files, under sealed and cache. It must exist.
	Dir     string
	Threads int // as [Options.Threads]
	// Prover makes every stage after the data tree; nil is this package's own. All kinds
	// are measured alike, and their digests are equal.
	Prover jobs.Prover
}

// BenchResult is the JSON object of `lpseal bench seal`. Digests are SHA-256 in
// lower-case hex.
type BenchResult struct {
	CommD     cidText           `json:"comm_d"`
	CommR     cidText           `json:"comm_r"`
	ReplicaID string            `json:"replica_id"`
	Files     map[string]string `json:"files"` // cache files by name, t_aux left out
	Sealed    string            `json:"sealed_sha256"`
	C1        string            `json:"c1_sha256"` // of the JSON bytes as filecoin-ffi returns them
	Seconds   BenchSeconds      `json:"seconds"`
}

// BenchSeconds are wall-clock times of the stages.
type BenchSeconds struct {
	TreeD  float64 `json:"tree_d"`
	SDR    float64 `json:"sdr"`
	TreeRC float64 `json:"tree_rc"`
	C1     float64 `json:"c1"`
}

// cidText prints a CID as its string, where its own JSON is an IPLD link.
type cidText struct{ cid.Cid }

// MarshalJSON writes the string.
func (c cidText) MarshalJSON() ([]byte, error) { return []byte(`"` + c.String() + `"`), nil }

// SealOnce seals one sector without Redis or chain, up to the vanilla proof.
func SealOnce(ctx context.Context, o BenchOptions) (res BenchResult, err error) {
	spec, err := interactive(o.Seal.Proof)
	if err != nil {
		return res, err
	}
	own, s := New(Options{Threads: o.Threads}), o.Seal
	p := o.Prover
	if p == nil {
		p = own
	}
	f := jobs.Folders{Cache: filepath.Join(o.Dir, "cache"), Sealed: filepath.Join(o.Dir, "sealed")}
	if err := os.MkdirAll(f.Cache, 0o755); err != nil {
		return res, fileFault(err)
	}
	var c1 []byte
	for _, stage := range []struct {
		seconds *float64
		do      func() error
	}{
		{&res.Seconds.TreeD, func() (err error) {
			s.CommD, err = spec.writeTreeD(ctx, own.threads, f.Cache, wholeSector(spec.Size, o.Data), nil, nil)
			return err
		}},
		{&res.Seconds.SDR, func() error { return p.SDR(ctx, s, f.Cache, nil) }},
		{&res.Seconds.TreeRC, func() (err error) {
			s.CommR, err = p.TreeRC(ctx, s, f, nil)
			return err
		}},
		{&res.Seconds.C1, func() (err error) {
			c1, err = p.C1(ctx, s, f)
			return err
		}},
	} {
		start := time.Now()
		if err := stage.do(); err != nil {
			return res, err
		}
		*stage.seconds = time.Since(start).Seconds()
	}
	return res, res.digest(s, f, c1)
}

// wholeSector gives exactly the unpadded bytes of a sector, zeros after data. Longer
// data is an error.
func wholeSector(size abi.SectorSize, data io.Reader) io.Reader {
	room := uint64(abi.PaddedPieceSize(size).Unpadded())
	if data == nil {
		return zeros(room)
	}
	return &paddedReader{data, room}
}

// paddedReader gives the bytes of data, then zeros for as long as the sector has room.
type paddedReader struct {
	data io.Reader
	left uint64
}

func (r *paddedReader) Read(p []byte) (int, error) {
	n, err := r.data.Read(p[:min(uint64(len(p)), r.left)])
	r.left -= uint64(n)
	switch {
	case errors.Is(err, io.EOF):
		r.data, err = zeros(r.left), nil
	case err == nil && r.left == 0:
		var more bool
		if more, err = hasMore(r.data); more {
			return 0, jobs.Failf(jobs.Data, "the data is larger than the sector holds")
		}
	}
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (res *BenchResult) digest(s jobs.Seal, f jobs.Folders, c1 []byte) error {
	id, err := s.ReplicaID()
	if err != nil {
		return err
	}
	res.CommD, res.CommR = cidText{s.CommD}, cidText{s.CommR}
	res.ReplicaID = hex.EncodeToString(id[:])
	sum := sha256.Sum256(c1)
	res.C1 = hex.EncodeToString(sum[:])
	if res.Sealed, err = fileDigest(f.Sealed); err != nil {
		return err
	}
	names := slices.Concat(jobs.LayerFiles(s.Proof), jobs.TreeCFiles(s.Proof), jobs.ReplicaFiles(s.Proof), []string{jobs.TreeDFile})
	res.Files = make(map[string]string, len(names))
	for _, name := range names {
		if name == jobs.TAuxFile || name == jobs.SealedFile { // the one holds a path, the other lies elsewhere
			continue
		}
		if res.Files[name], err = fileDigest(filepath.Join(f.Cache, name)); err != nil {
			return err
		}
	}
	return nil
}

func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fileFault(err)
	}
	defer func() { _ = f.Close() }() // only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fileFault(err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/ffi/native"
	"github.com/lpseal/lpseal/ffi/native/fr32"
	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/jobs"
)

func (a *app) unsealCmd() *cobra.Command {
	var out, prover, keys string
	var piece int
	var offset, size uint64
	cmd := a.onSector("unseal", "Write a sector's data, decoded from its stored replica", func(ctx context.Context, c *cluster, id jobs.SectorID) error {
		r, err := c.store.Load(ctx, id)
		if err != nil {
			return err
		}
		pieces, err := chosen(r, piece)
		if err != nil {
			return err
		}
		if pieces, err = cut(pieces, offset, size); err != nil {
			return err
		}
		p, err := newBackend(prover, c.backendOptions(""))
		if err != nil {
			return err
		}
		scratch, err := os.MkdirTemp(filepath.Dir(out), ".lpseal-unseal-")
		if err != nil {
			return fmt.Errorf("unseal %s: %w", id, err)
		}
		defer os.RemoveAll(scratch)
		sealed, err := c.sealedFile(ctx, r, pieces, scratch)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("unseal %s: %w", id, err)
		}
		if n, ok := p.(*native.Prover); ok && (keys != "" || len(pieces) > 1) {
			p = n.WithKeys(or(keys, scratch)) // one key for all pieces
		}
		bar := a.progress(id.String())
		defer bar.done()
		if err := unseal(ctx, p, r, pieces, sealed, scratch, f, bar.report); err != nil {
			_ = f.Close()
			_ = os.Remove(out)
			return fmt.Errorf("unseal %s: %w", id, err)
		}
		return f.Close()
	})
	cmd.PreRunE = func(*cobra.Command, []string) error { return newFile(out) } // before anything is fetched
	cmd.Flags().StringVar(&out, "out", "", "file to write; it must not exist")
	cmd.Flags().IntVar(&piece, "piece", -1, "only this piece, counted from 0 (default all, one after the other)")
	cmd.Flags().Uint64Var(&offset, "offset", 0, "leave out so many bytes")
	cmd.Flags().Uint64Var(&size, "size", 0, "write so many bytes (default all that follow)")
	cmd.Flags().StringVar(&keys, "keys", "", "folder that keeps the sector's key, as large as the sector, for further ranges (native prover)")
	cmd.Flags().StringVar(&prover, "prover", jobs.NativeProver, "prover that decodes")
	return cmd
}

// newFile sees that --out names a file that can be made.
func newFile(out string) error {
	if out == "" {
		return usage("write it like: lpseal sectors unseal s-t01000-42 --out data", "--out is missing: where shall the data go?")
	}
	if info, err := os.Stat(filepath.Dir(out)); err != nil || !info.IsDir() {
		return usage("make the folder, or name another file with --out", "--out %s: there is no folder %s", out, filepath.Dir(out))
	}
	if _, err := os.Lstat(out); err == nil {
		return refused("name a new file with --out", "--out %s: the file exists", out)
	}
	return nil
}

// extent is where a piece's raw bytes lie in the sector's unpadded data.
type extent struct{ offset, size uint64 }

// extents places the pieces as CommD does: each aligned to its own padded size.
func extents(pieces []jobs.Piece) []extent {
	out := make([]extent, len(pieces))
	offsets, _ := jobs.Layout(pieces)
	for i, p := range pieces {
		out[i] = extent{uint64(offsets[i].Unpadded()), p.RawSize}
	}
	return out
}

// chosen are the extents to write.
func chosen(r *jobs.Record, piece int) ([]extent, error) {
	all := extents(r.Pieces)
	switch {
	case len(all) == 0:
		return nil, refused("", "unseal %s: it is committed capacity and holds no data", r.ID)
	case piece >= len(all):
		return nil, notFound(fmt.Sprintf("pieces are counted from 0: the last is %d", len(all)-1), "unseal %s: it has no piece %d", r.ID, piece)
	case piece >= 0:
		return all[piece : piece+1], nil
	}
	return all, nil
}

// cut leaves of the chosen extents, one after the other, size bytes from offset; 0 means
// all that follow.
func cut(which []extent, offset, size uint64) ([]extent, error) {
	var total uint64
	for _, e := range which {
		total += e.size
	}
	if offset > total || size > total-offset {
		return nil, refused(fmt.Sprintf("there are %d bytes", total), "--offset %d and --size %d go beyond the data", offset, size)
	}
	if size == 0 {
		size = total - offset
	}
	var out []extent
	for _, e := range which {
		skip := min(offset, e.size)
		n := min(size, e.size-skip)
		if n > 0 {
			out = append(out, extent{e.offset + skip, n})
		}
		offset -= skip
		size -= n
	}
	return out, nil
}

// unseal decodes extents of a sector from its sealed file alone.
func unseal(ctx context.Context, p jobs.Prover, r *jobs.Record, which []extent, sealed, scratch string, w io.Writer, report func(jobs.Progress)) error {
	for i, e := range which {
		key := filepath.Join(scratch, fmt.Sprintf("key-%d", i))
		if err := os.Mkdir(key, 0o755); err != nil {
			return err
		}
		if err := p.Unseal(ctx, r.Seal(), sealed, key, e.offset, e.size, w, report); err != nil {
			return err
		}
		if err := os.RemoveAll(key); err != nil {
			return err
		}
	}
	return nil
}

// sealedFile finds the stored replica on this host. One of another host is fetched into
// scratch: as far as the extents need it, in a file that is empty elsewhere.
func (c *cluster) sealedFile(ctx context.Context, r *jobs.Record, which []extent, scratch string) (path string, err error) {
	host, err := c.openFiles(crash.Worker, true)
	if err != nil {
		return "", err
	}
	if r.Stored == nil {
		return "", refused("lpseal sectors explain "+r.ID.String()+" says what it waits for", "unseal %s: it is not stored yet", r.ID)
	}
	if path, err := host.Stored(r, jobs.SealedFile); err == nil {
		return path, nil
	}
	path = filepath.Join(scratch, jobs.SealedFile)
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	spans := padded(which)
	if len(spans) == 1 && spans[0].size == r.SectorSize() {
		return path, host.Fetch(ctx, r, jobs.SealedFile, f) // all of it, whose digest is known
	}
	if err := f.Truncate(int64(r.SectorSize())); err != nil {
		return "", err
	}
	for _, s := range spans {
		if err := host.FetchRange(ctx, r, jobs.SealedFile, int64(s.offset), int64(s.size), f); err != nil {
			return "", err
		}
	}
	return path, nil
}

// padded is where extents of unpadded data lie in the replica: the fr32 units that they
// touch, neighbours together. Extents are in order.
func padded(which []extent) []extent {
	var out []extent
	for _, e := range which {
		first := e.offset / fr32.Raw * fr32.Padded
		end := (e.offset + e.size + fr32.Raw - 1) / fr32.Raw * fr32.Padded
		if last := len(out) - 1; last >= 0 && first <= out[last].offset+out[last].size {
			out[last].size = end - out[last].offset
			continue
		}
		out = append(out, extent{first, end - first})
	}
	return out
}

package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/lpseal/lpseal/ffi/native/fr32"
	"github.com/lpseal/lpseal/jobs"
)

// unsealUnits is how many fr32 units are decoded at a time: 1 MiB.
const unsealUnits = 1 << 13

// Unseal makes the key again, which costs what SDR does in time and memory, and
// decodes the wanted range. See [jobs.Prover]. The layers are in scratch while it
// runs. The data is as good as the sealed file: nothing here compares it with CommD.
func (p *Prover) Unseal(ctx context.Context, s jobs.Seal, sealed, scratch string, offset, size uint64, w io.Writer, report func(jobs.Progress)) error {
	r, err := newReplica(s)
	if err == nil {
		err = r.unseal(ctx, p.threads, sealed, scratch, offset, size, w, report)
	}
	if err != nil {
		return fmt.Errorf("unseal %s: %w", s.ID, err)
	}
	return nil
}

func (r replica) unseal(ctx context.Context, threads int, sealed, scratch string, offset, size uint64, w io.Writer, report func(jobs.Progress)) (err error) {
	room := uint64(r.Size) / fr32.Padded * fr32.Raw
	if offset > room || size > room-offset {
		return jobs.Failf(jobs.Rejected, "bytes %d to %d are beyond the sector's %d", offset, offset+size, room)
	}
	replica, err := openNodes(sealed, r.Nodes())
	if err != nil {
		return err
	}
	defer func() { _ = replica.Close() }() // only read

	defer func() {
		for layer := 1; layer <= r.Layers; layer++ {
			if e := os.Remove(filepath.Join(scratch, layerFile(layer))); e != nil && !errors.Is(e, os.ErrNotExist) {
				err = errors.Join(err, fileFault(e))
			}
		}
	}()
	if err := r.writeLayers(ctx, threads, scratch, report); err != nil {
		return err
	}
	key, err := openNodes(filepath.Join(scratch, layerFile(r.Layers)), r.Nodes())
	if err != nil {
		return err
	}
	defer func() { _ = key.Close() }() // only read
	return decodeRange(ctx, key, replica, offset, size, w, report)
}

// decodeRange writes unpadded bytes [offset, offset+size).
func decodeRange(ctx context.Context, key, replica input, offset, size uint64, w io.Writer, report func(jobs.Progress)) error {
	const unitNodes = fr32.Padded / nodeSize
	padded, keys := make([]byte, unsealUnits*fr32.Padded), make([]byte, unsealUnits*fr32.Padded)
	raw := make([]byte, unsealUnits*fr32.Raw)

	end := offset + size
	for at := offset; at < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		unit := at / fr32.Raw
		units := min(unsealUnits, (end+fr32.Raw-1)/fr32.Raw-unit)
		enc, k, out := padded[:units*fr32.Padded], keys[:units*fr32.Padded], raw[:units*fr32.Raw]
		if err := errors.Join(replica.nodes(int(unit*unitNodes), enc), key.nodes(int(unit*unitNodes), k)); err != nil {
			return err
		}
		decode(enc, k, enc)
		fr32.Unpad(out, enc)
		first := unit * fr32.Raw
		n, err := w.Write(out[at-first : min(end-first, uint64(len(out)))])
		if err != nil {
			return fmt.Errorf("write data: %w", fileFault(err))
		}
		at += uint64(n)
		if report != nil {
			report(jobs.Progress{Step: "decode", Done: at - offset, Total: size})
		}
	}
	return nil
}

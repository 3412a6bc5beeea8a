package native

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lpseal/lpseal/ffi/native/fr32"
	"github.com/lpseal/lpseal/ffi/native/sdr"
	"github.com/lpseal/lpseal/jobs"
)

// unsealUnits is how many fr32 units are decoded at a time: 1 MiB.
const unsealUnits = 1 << 13

// Unseal makes the key again, which costs the time and memory of SDR, and decodes the
// wanted range: no more of the replica is read. See [jobs.Prover]; scratch stays empty.
// The data is as good as the sealed file: nothing here compares it with CommD.
func (p *Prover) Unseal(ctx context.Context, s jobs.Seal, sealed, _ string, offset, size uint64, w io.Writer, report func(jobs.Progress)) error {
	r, err := newReplica(s)
	if err == nil {
		err = r.unseal(ctx, p, sealed, offset, size, w, report)
	}
	if err != nil {
		return fmt.Errorf("unseal %s: %w", s.ID, err)
	}
	return nil
}

// WithKeys gives a prover whose Unseal keeps the keys it makes in a folder, so that
// another range of a sector costs its decoding only. A key is a file as large as the
// sector, named by the replica id and thereby bound to all that made it; who gave the
// folder, which is made if need be, removes it.
func (p *Prover) WithKeys(folder string) *Prover {
	with := *p
	with.keys = folder
	return &with
}

// nodeReader is a key: in memory or in a file.
type nodeReader interface {
	// nodes reads nodes from a position counted in nodes.
	nodes(at int, dst []byte) error
}

// keyInMemory is a key that is nowhere else.
type keyInMemory []byte

func (m keyInMemory) nodes(at int, dst []byte) error {
	copy(dst, m[at*nodeSize:])
	return nil
}

func (r replica) unseal(ctx context.Context, p *Prover, sealed string, offset, size uint64, w io.Writer, report func(jobs.Progress)) (err error) {
	room := uint64(r.Size) / fr32.Padded * fr32.Raw
	if offset > room || size > room-offset {
		return jobs.Failf(jobs.Rejected, "bytes %d to %d are beyond the sector's %d", offset, offset+size, room)
	}
	replica, err := openNodes(sealed, r.Nodes())
	if err != nil {
		return err
	}
	defer func() { _ = replica.Close() }() // only read
	if size == 0 {
		return nil
	}

	var kept string
	if p.keys != "" {
		kept = filepath.Join(p.keys, hex.EncodeToString(r.id[:])+".key")
		key, err := openNodes(kept, r.Nodes())
		if err == nil {
			defer func() { _ = key.Close() }() // only read
			return decodeRange(ctx, key, replica, offset, size, w, report)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.MkdirAll(p.keys, 0o755); err != nil {
			return fileFault(err) // now, and not when the key is made
		}
	}
	key, err := r.key(ctx, p, report)
	if err != nil {
		return err
	}
	if kept != "" {
		if err := writeFile(kept, key); err != nil {
			return err
		}
	}
	return decodeRange(ctx, keyInMemory(key), replica, offset, size, w, report)
}

// key makes the layers again, keeping none, and gives the last, which hides the data.
func (r replica) key(ctx context.Context, p *Prover, report func(jobs.Progress)) ([]byte, error) {
	g := r.graph()
	if err := checkMemory(p.sdrMemory(g, 1)); err != nil {
		return nil, err
	}
	parents, closeParents, err := p.openParents(ctx, g)
	if err != nil {
		return nil, err
	}
	defer closeParents()
	s := &labelled{replica: r, ctx: ctx, report: report}
	key := climb(ctx, parents, sdr.NewBuffer(2*int(r.Size)), []*labelled{s}, r.Layers)
	return key, s.err
}

// decodeRange writes unpadded bytes [offset, offset+size).
func decodeRange(ctx context.Context, key nodeReader, replica input, offset, size uint64, w io.Writer, report func(jobs.Progress)) error {
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

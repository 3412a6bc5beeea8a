//go:build filcrypto

package filcrypto

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/filecoin-project/go-state-types/abi"

	ffi "github.com/filecoin-project/filecoin-ffi"

	"github.com/lpseal/lpseal/jobs"
)

// Unseal makes the key again and decodes the range. The library reads the whole
// sealed file into memory, whatever the range.
func (p *Prover) Unseal(ctx context.Context, s jobs.Seal, sealed, scratch string, offset, size uint64, w io.Writer, report func(jobs.Progress)) error {
	return call(ctx, "unseal", s, func() error {
		if err := checkSeal(s); err != nil {
			return err
		}
		sector, err := s.Proof.SectorSize()
		if err != nil {
			return jobs.Failf(jobs.Rejected, "seal proof %d: %w", s.Proof, err)
		}
		if room := uint64(abi.PaddedPieceSize(sector).Unpadded()); offset > room || size > room-offset {
			return jobs.Failf(jobs.Rejected, "bytes %d to %d are beyond the sector's %d", offset, offset+size, room)
		}
		if err := checkSize(sealed, int64(sector), ""); err != nil {
			return err
		}
		if size == 0 {
			return nil
		}
		stop := watchLayers(s.Proof, sector, scratch, report)
		defer stop()
		defer func() {
			for _, name := range append(jobs.LayerFiles(s.Proof), jobs.TreeDFile) {
				_ = os.Remove(filepath.Join(scratch, name))
			}
		}()
		return unsealTo(s, sealed, scratch, offset, size, w)
	})
}

// unit is the raw bytes of one fr32 unit, 128 bytes with padding. The library decodes
// ranges rightly only when they start at one.
const unit = 127

// unsealTo leads what the library writes into a pipe on to w, less what whole units
// have too many.
func unsealTo(s jobs.Seal, sealed, scratch string, offset, size uint64, w io.Writer) error {
	in, err := os.Open(sealed)
	if err != nil {
		return fileFault(err)
	}
	defer in.Close()
	from, to, err := os.Pipe()
	if err != nil {
		return fileFault(err)
	}
	defer from.Close()
	first := offset / unit * unit
	end := (offset + size + unit - 1) / unit * unit
	written := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.Discard, from, int64(offset-first))
		if err == nil {
			_, err = io.CopyN(w, from, int64(size))
		}
		if err == nil {
			_, err = io.Copy(io.Discard, from) // until the library has ended
		}
		_ = from.Close() // a broken w must not leave the library waiting for a reader
		written <- err
	}()
	err = ffi.UnsealRange(s.Proof, scratch, in, to, s.ID.Number, s.ID.Miner, s.Ticket, s.CommD, first, end-first)
	_ = to.Close()
	if broken := <-written; broken != nil && !(err != nil && errors.Is(broken, io.EOF)) {
		return fmt.Errorf("write data: %w", fileFault(broken))
	}
	return fault(err, jobs.Transient)
}

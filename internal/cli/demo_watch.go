package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/lpseal/lpseal/ffi/native"
	"github.com/lpseal/lpseal/jobs"
)

// watch waits until every sector is committed and finalized, and drains class b once on the way.
func (w *demoWorld) watch(ctx context.Context, ids []jobs.SectorID) (drained int, err error) {
	d := &drainOnce{world: w}
	show := w.app.pipeline()
	defer show.done()
	err = w.until(ctx, 50*time.Millisecond, func() (bool, error) {
		records, err := w.store.LoadMany(ctx, ids)
		if err != nil {
			return false, err
		}
		finished := 0
		for _, r := range records {
			if r.Hold != nil {
				return false, refused("", "%s is held: %s", r.ID, r.Hold.Reason)
			}
			if r.Outcome == jobs.Committed {
				finished++
			}
		}
		show.show(records)
		return finished == len(ids), d.look(ctx, records)
	})
	return d.moved, err
}

// drainOnce takes class b out once while sectors are sealed, from the moment a sector of the
// other host waits for its seed until a c2 is done by class a.
type drainOnce struct {
	world  *demoWorld
	before int // c2 done by class a when b was drained
	on     bool
	over   bool
	moved  int // c2 done by class a while b was drained
}

const (
	stayingHost   = "h1"
	drainedWorker = "h2/main"
	otherQueue    = "gpu.any.a"
)

func (d *drainOnce) look(ctx context.Context, records []*jobs.Record) error {
	done, waits := 0, false
	for _, r := range records {
		c2 := r.Stage(jobs.C2)
		if c2.Queue == otherQueue && c2.State == jobs.Done {
			done++
		}
		home, err := jobs.ParseQueue(r.Stage(jobs.SDR).Queue)
		waits = waits || err == nil && home.Host == stayingHost && r.PreCommitted() && c2.State == jobs.Idle
	}
	switch {
	case !d.on && waits:
		d.on, d.before = true, done
		return d.world.store.SetDraining(ctx, drainedWorker, true)
	case d.on && !d.over && done > d.before:
		d.over, d.moved = true, done-d.before
		return d.world.store.SetDraining(ctx, drainedWorker, false)
	}
	return nil
}

// storedReplica is where the stored sealed file of a sector lies.
func (w *demoWorld) storedReplica(ctx context.Context, id jobs.SectorID) (string, error) {
	r, err := w.store.Load(ctx, id)
	if err != nil {
		return "", err
	}
	for _, h := range demoHosts {
		name := filepath.Join(w.dir, h.id, "store", "sealed", r.ID.String())
		if _, err := os.Stat(name); err == nil {
			return name, nil
		}
	}
	return "", fmt.Errorf("no replica of %s is stored", id)
}

// unsealAll decodes the data of all sectors, one after the other, in an empty folder, and
// gives its SHA-256.
func (w *demoWorld) unsealAll(ctx context.Context, ids []jobs.SectorID) (string, error) {
	sum := sha256.New()
	prover := native.New(native.Options{})
	for _, id := range ids {
		r, err := w.store.Load(ctx, id)
		if err != nil {
			return "", err
		}
		if r.CC() {
			continue
		}
		sealed, err := w.storedReplica(ctx, id)
		if err != nil {
			return "", err
		}
		scratch, err := os.MkdirTemp(w.dir, "unseal-")
		if err != nil {
			return "", err
		}
		if err := unseal(ctx, prover, r, extents(r.Pieces), sealed, scratch, sum, func(jobs.Progress) {}); err != nil {
			return "", fmt.Errorf("unseal %s: %w", id, err)
		}
		if err := os.RemoveAll(scratch); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

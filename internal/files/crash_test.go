package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

var errCrash = errors.New("the machine stopped here")

// powerCut ends a run before its nth change and every change after it, as a crash
// would, and then takes back what was not durable: bytes not fsynced, and names whose
// folder was not. It is the worst a file system that keeps its promises may do.
type powerCut struct {
	t       *testing.T
	at      int // 0: never
	steps   int
	dead    bool
	loose   map[string]int64 // open files: bytes that are durable
	renames []change         // not durable yet, oldest first
	saved   map[string]string
}

func (c *powerCut) before(s change) error {
	if c.steps++; c.steps == c.at {
		c.dead = true
	}
	if c.dead {
		return errCrash
	}
	switch s.op {
	case "open":
		c.loose[s.path] = 0
		if info, err := os.Stat(s.path); err == nil && !strings.HasSuffix(s.path, ".tmp") {
			c.loose[s.path] = info.Size()
		}
	case "sync":
		delete(c.loose, s.path)
	case "rename":
		if n, ok := c.loose[s.path]; ok {
			delete(c.loose, s.path)
			c.loose[s.to] = n
		}
		if _, err := os.Lstat(s.to); err == nil {
			keep := filepath.Join(c.t.TempDir(), "replaced")
			require.NoError(c.t, os.Link(s.to, keep))
			c.saved[s.to] = keep
		}
		c.renames = append(c.renames, s)
	case "sync-dir":
		left := c.renames[:0]
		for _, r := range c.renames {
			if filepath.Dir(r.to) != s.path {
				left = append(left, r)
			}
		}
		c.renames = left
	}
	return nil
}

// lose takes back what was not durable.
func (c *powerCut) lose() {
	for i := len(c.renames) - 1; i >= 0; i-- {
		r := c.renames[i]
		require.NoError(c.t, os.Rename(r.to, r.path))
		if keep := c.saved[r.to]; keep != "" {
			require.NoError(c.t, os.Rename(keep, r.to))
		}
		if n, ok := c.loose[r.to]; ok {
			c.loose[r.path] = n
		}
	}
	for path, n := range c.loose {
		if info, err := os.Stat(path); err == nil && info.Size() > n {
			require.NoError(c.t, os.Truncate(path, n))
		}
	}
}

// endState is what must be equal however often a run was cut: stamps (inode, time)
// and the random part of names are no part of it.
func endState(t *testing.T, dir string) map[string]string {
	out := map[string]string{}
	for path, b := range tree(t, dir) {
		switch {
		case strings.Contains(path, "/"+locksDir+"/"), strings.HasSuffix(path, MetaFile):
			continue
		case strings.Contains(path, "/"+supersededDir+"/"):
			path = strings.TrimSuffix(path, filepath.Ext(path))
		case strings.HasSuffix(path, ".json") && !strings.HasSuffix(path, jobs.C1File):
			var m manifest
			require.NoError(t, json.Unmarshal([]byte(b), &m), path)
			clean, err := json.Marshal(m.Manifest)
			require.NoError(t, err)
			b = string(clean)
		}
		out[path] = b
	}
	return out
}

// operations are the methods that change files, each with the state it starts from.
func operations() map[string]struct {
	paths map[string]PathOptions
	given func(*testing.T, *Host, *jobs.Record)
	run   func(context.Context, *Host, *jobs.Record) error
} {
	type op = struct {
		paths map[string]PathOptions
		given func(*testing.T, *Host, *jobs.Record)
		run   func(context.Context, *Host, *jobs.Record) error
	}
	apart := map[string]PathOptions{"seal": {CanSeal: true}, "store": {CanStore: true}}
	same := map[string]PathOptions{"seal": {CanSeal: true, CanStore: true}}
	sealed := func(t *testing.T, h *Host, r *jobs.Record) { sealSector(t, h, r) }
	stored := func(t *testing.T, h *Host, r *jobs.Record) {
		r.KeepUnsealed = true
		sealSector(t, h, r)
		c1, err := h.SaveC1(context.Background(), r, []byte("{}"))
		require.NoError(t, err)
		r.C1Digest = c1
		r.Stored, err = h.Store(context.Background(), r, nil)
		require.NoError(t, err)
	}
	store := func(ctx context.Context, h *Host, r *jobs.Record) error {
		r.KeepUnsealed = true
		_, err := h.Store(ctx, r, nil)
		return err
	}
	// otherTicket seals and stores a replica that is then given up.
	otherTicket := func(t *testing.T, h *Host, r *jobs.Record) {
		old := *r
		old.Ticket.Value = make([]byte, 32)
		stored(t, h, &old)
		sealSector(t, h, r)
	}
	return map[string]op{
		"bind a new ticket": {apart, sealed, func(ctx context.Context, h *Host, r *jobs.Record) error {
			next := *r
			next.Ticket.Value = make([]byte, 32)
			m := jobs.Manifest{Proof: r.Proof}
			id, err := next.Seal().ReplicaID()
			m.ReplicaID = fmt.Sprintf("%x", id)
			if err == nil {
				_, err = h.Bind(ctx, &next, m)
			}
			return err
		}},
		"seal": {apart, sealed, func(ctx context.Context, h *Host, r *jobs.Record) error {
			_, err := h.Seal(ctx, r, scratchNames()...)
			return err
		}},
		"save c1": {apart, sealed, func(ctx context.Context, h *Host, r *jobs.Record) error {
			_, err := h.SaveC1(ctx, r, []byte(`{"proofs":[]}`))
			return err
		}},
		"store elsewhere":           {apart, sealed, store},
		"store at home":             {same, sealed, store},
		"store over an old replica": {apart, otherTicket, store},
		"drop layers": {apart, stored, func(ctx context.Context, h *Host, r *jobs.Record) error {
			return h.DropLayers(ctx, r)
		}},
		"finalize, stored elsewhere": {apart, stored, func(ctx context.Context, h *Host, r *jobs.Record) error {
			return h.Finalize(ctx, r)
		}},
		"finalize, stored at home": {same, stored, func(ctx context.Context, h *Host, r *jobs.Record) error {
			return h.Finalize(ctx, r)
		}},
		"wipe": {apart, sealed, func(ctx context.Context, h *Host, r *jobs.Record) error {
			return h.Wipe(ctx, r)
		}},
		"abandon before store": {apart, sealed, func(ctx context.Context, h *Host, r *jobs.Record) error {
			return h.Abandon(ctx, r)
		}},
		"abandon, stored at home": {same, stored, func(ctx context.Context, h *Host, r *jobs.Record) error {
			return h.Abandon(ctx, r)
		}},
		"finalize the last owner of a piece": {apart, withPiece(stored), func(ctx context.Context, h *Host, r *jobs.Record) error {
			return lastOwner(h, r, func() error { return h.Finalize(ctx, r) })
		}},
		"abandon the last owner of a piece": {apart, withPiece(sealed), func(ctx context.Context, h *Host, r *jobs.Record) error {
			return lastOwner(h, r, func() error { return h.Abandon(ctx, r) })
		}},
		"take a piece in": {apart, sealed, func(ctx context.Context, h *Host, r *jobs.Record) error {
			_, err := h.UploadPiece(ctx, r.Home, h.root(r.Home).file(r.ID, jobs.TreeDFile), nil)
			return err
		}},
	}
}

// Every method that changes files is cut before each of its changes, one after the
// other, and run again: the end is the one of a run that was not cut.
func TestEveryStepMayBeTheLast(t *testing.T) {
	t.Parallel()
	for name, op := range operations() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The state op starts from is made once and copied for every attempt.
			template := t.TempDir()
			var subs []string
			var home jobs.Path
			for sub, o := range op.paths {
				p := newPath(t, filepath.Join(template, sub), o)
				if o.CanSeal {
					home = p
				}
				subs = append(subs, sub)
			}
			reopen := func(dir string) *Host {
				var dirs []string
				for _, sub := range subs {
					dirs = append(dirs, filepath.Join(dir, sub))
				}
				return openHost(t, dirs...)
			}
			r := newRecord(t, home)
			op.given(t, reopen(template), r)
			// attempt runs op, cut before a step (0: not cut), and then to its end.
			attempt := func(at int) (state map[string]string, steps int) {
				dir := t.TempDir()
				require.NoError(t, os.CopyFS(dir, os.DirFS(template)))
				h := reopen(dir)
				r := r.Clone()
				cut := &powerCut{t: t, at: at, loose: map[string]int64{}, saved: map[string]string{}}
				h.disk.before = cut.before
				err := op.run(context.Background(), h, r)
				h.disk.before = nil
				if cut.dead {
					require.Error(t, err, "a cut run must not report success")
					cut.lose()
					h = reopen(dir) // memory is gone too
					err = op.run(context.Background(), h, r)
				}
				require.NoError(t, err, "step %d of %d", at, cut.steps)
				require.NoError(t, op.run(context.Background(), reopen(dir), r), "once more on what is done")
				return endState(t, dir), cut.steps
			}
			want, steps := attempt(0)
			require.Positive(t, steps)
			for at := 1; at <= steps; at++ {
				got, _ := attempt(at)
				require.Equal(t, want, got, "cut before step %d of %d", at, steps)
			}
			t.Logf("%d steps", steps)
		})
	}
}

// The host that receives a sector is cut before each of its changes; the sender runs
// again and finds its way.
func TestTheReceivingHostMayStopAtAnyStep(t *testing.T) {
	t.Parallel()
	attempt := func(at int) (state map[string]string, steps int) {
		f := newFleet(t)
		ctx := context.Background()
		cut := &powerCut{t: t, at: at, loose: map[string]int64{}, saved: map[string]string{}}
		f.h2.disk.before = cut.before
		stored, err := f.h1.Store(ctx, f.r, nil)
		if cut.dead {
			require.Error(t, err)
			cut.lose()
			again := openHost(t, f.store.dir)
			again.Secret = testSecret
			f.wire.to = again.Handler()
			stored, err = f.h1.Store(ctx, f.r, nil)
		}
		require.NoError(t, err, "cut before step %d", at)
		steps = cut.steps
		f.r.Stored = stored
		require.NoError(t, f.h1.Finalize(ctx, f.r))
		return endState(t, filepath.Dir(f.store.dir)), steps
	}
	want, steps := attempt(0)
	require.Positive(t, steps)
	for at := 1; at <= steps; at++ {
		got, _ := attempt(at)
		require.Equal(t, want, got, "cut before step %d of %d", at, steps)
	}
	t.Logf("%d steps", steps)
}

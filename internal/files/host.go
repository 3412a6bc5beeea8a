package files

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/jobs"
)

// Options says which paths a host serves and whom it knows.
type Options struct {
	Host  string   // host id
	Paths []string // folders with a sectorstore.json
	// Peers lists the live workers of all hosts, this one's included. nil means this
	// host stands alone.
	Peers func(context.Context) ([]jobs.Worker, error)
	// Secret signs requests between hosts: the same on every host, at least 16
	// bytes. Without one the file service answers nobody and nobody is asked.
	Secret []byte
	// Fence reads a stage's fence from the record, so that the file service refuses
	// what an older claim still sends. nil refuses nothing.
	Fence func(context.Context, jobs.SectorID, jobs.Stage) (int, error)
	// Wanted says whether a sector other than this one, still in the pipeline, fits; one
	// that cannot be read does. It guards uploaded data; nil keeps all of it.
	Wanted func(ctx context.Context, but jobs.SectorID, fits func(*jobs.Record) bool) (bool, error)
	// Partial leaves out paths that cannot be opened, for a process that serves one sector
	// or one command: what goes wrong with a disk is no matter of sectors on another one.
	Partial bool
	// Stall is how long a transfer may stand still; 0 is one minute.
	Stall time.Duration
	// Role names this process to the crash tests.
	Role  crash.Role
	Log   *slog.Logger
	Clock jobs.Clock
}

// Host is the sector files of one host. It implements [jobs.Files].
type Host struct {
	Options
	roots   []*root  // in the order of Options.Paths
	leftOut []string // why paths were left out
	disk    disk
	hashes  hashes
	client  *http.Client
}

var _ jobs.Files = (*Host)(nil)

// Open opens a host's paths. Every path must be usable, unless the host is to be partial:
// a worker that starts with half of its disks would look like one that lost sectors.
func Open(o Options) (*Host, error) { return open(o, statFS) }

func open(o Options, stat func(string) (fileSystem, error)) (*Host, error) {
	if !jobs.ValidSlug(o.Host) {
		return nil, fmt.Errorf("host id %q: use 1 to 40 of a-z, 0-9 and -", o.Host)
	}
	if n := len(o.Secret); n > 0 && n < minSecret {
		return nil, fmt.Errorf("the file service's secret has %d bytes; at least %d are needed", n, minSecret)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = wallClock{}
	}
	if o.Stall == 0 {
		o.Stall = time.Minute
	}
	h := &Host{Options: o, client: &http.Client{Transport: peerTransport(), CheckRedirect: noRedirect}}
	for _, dir := range o.Paths {
		p, err := openRoot(dir, stat)
		if err != nil && o.Partial {
			h.leftOut = append(h.leftOut, err.Error())
			continue
		}
		if err != nil {
			return nil, err
		}
		if other := h.root(p.meta.ID); other != nil {
			return nil, fmt.Errorf("paths %s and %s have the same id %s: one is a copy of the other; remove one, or its %s and make it anew", other.dir, p.dir, p.meta.ID, MetaFile)
		}
		h.roots = append(h.roots, p)
	}
	return h, nil
}

type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }

// Paths describes the host's paths as its heartbeat tells them.
func (h *Host) Paths() []jobs.Path {
	out := make([]jobs.Path, 0, len(h.roots))
	for _, p := range h.roots {
		d, err := p.describe()
		if err != nil { // a disk that dropped out is not offered
			h.Log.Error("a path cannot be read", "host", h.Host, "path", p.dir, "err", err)
			continue
		}
		out = append(out, d)
	}
	return out
}

// root finds a path of this host; nil if another serves it.
func (h *Host) root(id string) *root {
	for _, p := range h.roots {
		if p.meta.ID == id {
			return p
		}
	}
	return nil
}

// served finds a path of this host to work on; nil if another serves it. Its disk being
// away is class Busy.
func (h *Host) served(id string) (*root, error) {
	p := h.root(id)
	if p == nil {
		return nil, nil
	}
	return p, p.there()
}

// away says why paths of this host are not to be seen.
func (h *Host) away() []string {
	why := slices.Clone(h.leftOut)
	for _, p := range h.roots {
		if err := p.there(); err != nil {
			why = append(why, jobs.TextOf(err))
		}
	}
	return why
}

func (h *Host) notHere(path string) error {
	if len(h.leftOut) > 0 {
		return jobs.Failf(jobs.Busy, "path %s is not served by host %s, or is one of those that it cannot open: %s", path, h.Host, strings.Join(h.leftOut, "; "))
	}
	return jobs.Failf(jobs.Busy, "path %s is not served by host %s; start the worker of the host that has the disk, or add it to worker.paths here", path, h.Host)
}

// home finds the sector's home path on this host.
func (h *Host) home(r *jobs.Record) (*root, error) {
	p, err := h.served(r.Home)
	switch {
	case err != nil:
		return nil, err
	case p == nil:
		return nil, h.notHere(r.Home)
	case !p.meta.CanSeal:
		return nil, jobs.Failf(jobs.Busy, "path %s (%s) is not for sealing; set CanSeal in its %s or move the sector", p.meta.ID, p.dir, MetaFile)
	}
	return p, nil
}

// Home gives the sector's folders on its home path and makes them. It is the
// moment before a stage writes, so it is also where a full disk is noticed: space
// was reserved when the sector was placed, but others may fill the disk.
func (h *Host) Home(_ context.Context, r *jobs.Record) (_ jobs.Folders, err error) {
	defer blame(&err, "home of", r.ID)
	p, err := h.home(r)
	if err != nil {
		return jobs.Folders{}, err
	}
	if err := p.room(r); err != nil {
		return jobs.Folders{}, err
	}
	if err := h.disk.mkdir(p.cache(r.ID)); err != nil {
		return jobs.Folders{}, err
	}
	return jobs.Folders{Cache: p.cache(r.ID), Sealed: p.file(r.ID, jobs.SealedFile)}, nil
}

// room says whether what the sector has yet to write fits.
func (p *root) room(r *jobs.Record) error {
	fsys, err := p.stat(p.dir)
	if err != nil {
		return err
	}
	need := jobs.SealingSpace(r.Proof)
	need -= min(need, p.used(r.ID))
	if fsys.free < need {
		return jobs.Failf(jobs.Busy, "path %s has %s free, but the sector still needs %s; free space or stop placing sectors there", p.dir, jobs.Bytes(fsys.free), jobs.Bytes(need))
	}
	return nil
}

// written is how many bytes the sectors that are being sealed on the path have there.
// Their reservations count these bytes too, while the file system's free space has
// lost them; those of sectors stored for good are lost to both.
func (p *root) written() (n uint64, err error) {
	entries, err := os.ReadDir(filepath.Join(p.dir, cacheDir))
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		id, err := jobs.ParseSectorID(e.Name())
		if err != nil {
			continue // not ours
		}
		// The manifest comes with the first finished file and goes with the scratch.
		if _, err := os.Stat(p.manifest(id)); err == nil {
			n += p.used(id)
		}
	}
	return n, nil
}

// used is how many bytes the sector has on the path.
func (p *root) used(id jobs.SectorID) uint64 {
	var n int64
	if info, err := os.Stat(p.file(id, jobs.SealedFile)); err == nil {
		n += info.Size()
	}
	entries, _ := os.ReadDir(p.cache(id)) // absent: nothing used yet
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
	}
	return uint64(n)
}

// crashAt is where the crash matrix may kill this process.
func (h *Host) crashAt(s jobs.Stage, p crash.Point) { crash.At(h.Role, s, p) }

package files

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"maps"
	"slices"

	"github.com/lpseal/lpseal/jobs"
)

// holding is what one path has of a sector, verified.
type holding struct {
	Path      string            `json:"path"`
	CanSeal   bool              `json:"can_seal"`
	Accepts   bool              `json:"accepts"`              // may store files of the miner
	Begun     bool              `json:"begun"`                // part of the sector was stored here
	Arrived   uint64            `json:"arrived,omitempty"`    // bytes of files that are not stored yet
	ReplicaID string            `json:"replica_id,omitempty"` // of the cache folder
	Scratch   map[string]string `json:"scratch,omitempty"`    // whole files of the home path: name to SHA-256
	Stored    map[string]string `json:"stored,omitempty"`     // whole files that were stored: name to SHA-256
	Away      string            `json:"away,omitempty"`       // why nothing is known of it: see root.there
}

// holdings looks through this host's paths.
func (h *Host) holdings(ctx context.Context, id jobs.SectorID) ([]holding, error) {
	out := make([]holding, 0, len(h.roots)+len(h.leftOut))
	for _, why := range h.leftOut {
		out = append(out, holding{CanSeal: true, Away: why}) // it may be a sealing path
	}
	for _, p := range h.roots {
		if err := p.there(); err != nil {
			out = append(out, holding{Path: p.meta.ID, CanSeal: p.meta.CanSeal, Away: err.Error()})
			continue
		}
		m, err := readManifest(p.manifest(id))
		if err != nil {
			return nil, err
		}
		have := holding{
			Path: p.meta.ID, CanSeal: p.meta.CanSeal,
			Accepts:   p.accepts(id, []string{jobs.SealedFile, jobs.PAuxFile}),
			ReplicaID: m.ReplicaID,
		}
		if have.Begun, err = p.begun(id); err != nil {
			return nil, err
		}
		if have.Arrived, err = p.arriving(id); err != nil {
			return nil, err
		}
		if have.Scratch, err = h.whole(ctx, m, p, id); err != nil {
			return nil, err
		}
		receipt, err := readManifest(p.receipt(id))
		if err != nil {
			return nil, err
		}
		if have.Stored, err = h.whole(ctx, receipt, p, id); err != nil {
			return nil, err
		}
		out = append(out, have)
	}
	return out, nil
}

// Locate asks every live host for sealing paths that can be the sector's home: those
// that hold, whole and of the record's own seal, every file that a stage has yet to
// read. A part of them would only move the hole. When nothing is found but a host
// could not be asked, or the disk of a path is away, that is class Transient: hours of work are not made again on a
// guess.
func (h *Host) Locate(ctx context.Context, r *jobs.Record) (_ []jobs.Location, err error) {
	defer blame(&err, "locate files of", r.ID)
	need := unread(r)
	if len(need) == 0 {
		return nil, nil
	}
	held, err := h.holdings(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	peers, unasked := h.peers(ctx)
	for _, p := range peers {
		theirs, err := h.askHoldings(ctx, p, r.ID)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			unasked = err
			continue
		}
		held = append(held, theirs...)
	}
	var found []jobs.Location
	for _, have := range held {
		if have.CanSeal && have.Away != "" {
			unasked = errors.New(have.Away)
		}
		seen := slices.ContainsFunc(found, func(l jobs.Location) bool { return l.Path == have.Path })
		if have.CanSeal && !seen && have.serves(r, need) {
			found = append(found, jobs.Location{Path: have.Path, Files: slices.Sorted(maps.Keys(have.Scratch))})
		}
	}
	if len(found) == 0 && unasked != nil {
		return nil, jobs.Failf(jobs.Transient, "not found on the hosts that answered, and not all did: %w", unasked)
	}
	slices.SortStableFunc(found, func(a, b jobs.Location) int { return cmp.Compare(len(b.Files), len(a.Files)) })
	return found, nil
}

// lacks is how many bytes of a sector's lasting files have yet to come to the path.
func (have holding) lacks(all []lasting) (n uint64) {
	for _, f := range all {
		if have.Stored[f.name] != f.digest {
			n += uint64(f.size)
		}
	}
	return n - min(n, have.Arrived)
}

// serves says whether a path could be the sector's home.
func (have holding) serves(r *jobs.Record, need []string) bool {
	for _, name := range need {
		if have.Scratch[name] == "" {
			return false
		}
	}
	if !slices.ContainsFunc(need, func(n string) bool { return n != jobs.TreeDFile }) {
		return true
	}
	replica, err := r.Seal().ReplicaID()
	return err == nil && have.ReplicaID == hex.EncodeToString(replica[:])
}

// unread names the finished files that the stages which are not done will read.
func unread(r *jobs.Record) []string {
	done := func(s jobs.Stage) bool { return r.Stage(s).State == jobs.Done }
	need := map[string]bool{}
	add := func(names ...string) {
		for _, n := range names {
			need[n] = true
		}
	}
	opened := r.Proof.IsSynthetic() && done(jobs.TreeRC) // c1 selects from what tree_rc opened
	if !done(jobs.C1) && !opened {                       // tree_rc and c1
		if done(jobs.TreeD) {
			add(jobs.TreeDFile)
		}
		if done(jobs.SDR) {
			add(jobs.LayerFiles(r.Proof)...)
		}
	}
	if done(jobs.TreeRC) && !done(jobs.Store) {
		add(append(jobs.LastingFiles(r.Proof), jobs.SealedFile)...)
		if r.KeepUnsealed {
			add(jobs.TreeDFile)
		}
	}
	if done(jobs.TreeRC) && !done(jobs.C1) {
		add(jobs.ReplicaFiles(r.Proof)...)
	}
	if done(jobs.C1) && !done(jobs.C2) {
		add(jobs.C1File)
	}
	return slices.Sorted(maps.Keys(need))
}

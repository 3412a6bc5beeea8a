package handovertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/chain/handover"
	"github.com/lpseal/lpseal/jobs"
)

// decl is files of one type of one sector.
type decl struct {
	sector abi.SectorID
	files  handover.FileType
}

// index is which paths hold what, and which of them the process has attached itself.
type index struct {
	mu      *sync.Mutex
	paths   map[handover.PathID]handover.PathInfo
	folders map[handover.PathID]string
	sectors map[decl]map[handover.PathID]bool // primary
}

func newIndex() index {
	return index{
		mu: new(sync.Mutex), paths: map[handover.PathID]handover.PathInfo{}, folders: map[handover.PathID]string{},
		sectors: map[decl]map[handover.PathID]bool{},
	}
}

// Attach attaches a folder and looks through it, as lotus-miner storage attach and curio cli storage attach do.
func (x *index) Attach(dir string) error {
	info, err := readPath(dir)
	if err != nil {
		return err
	}
	x.mu.Lock()
	x.paths[info.ID], x.folders[info.ID] = info, dir
	x.mu.Unlock()
	return x.scan(info.ID, false)
}

// know takes a path into the index whose folder another process has.
func (x *index) know(path handover.PathInfo) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.paths[path.ID] = path
}

func (x *index) detach(dir string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	maps.DeleteFunc(x.folders, func(id handover.PathID, at string) bool {
		if at == dir {
			delete(x.paths, id)
		}
		return at == dir
	})
}

func readPath(dir string) (info handover.PathInfo, err error) {
	b, err := os.ReadFile(filepath.Join(dir, "sectorstore.json"))
	if err != nil {
		return info, fmt.Errorf("reading storage metadata for %s: %w", dir, err)
	}
	return info, json.Unmarshal(b, &info)
}

// Holds says whether the index names a path for a sector's files of a type, and as the copy to keep.
func (x *index) Holds(path string, id jobs.SectorID, files handover.FileType) (holds, primary bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	primary, holds = x.sectors[decl{abi.SectorID(id), files}][handover.PathID(path)]
	return holds, primary
}

func (x *index) local() map[handover.PathID]string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.folders)
}

func (x *index) info(path handover.PathID) (handover.PathInfo, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	info, ok := x.paths[path]
	if !ok {
		return info, errors.New("sector store not found")
	}
	return info, nil
}

func (x *index) declare(path handover.PathID, sector abi.SectorID, files handover.FileType, primary bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, t := range handover.FileTypes {
		if files&t == 0 {
			continue
		}
		d := decl{sector, t}
		if x.sectors[d] == nil {
			x.sectors[d] = map[handover.PathID]bool{}
		}
		x.sectors[d][path] = primary || x.sectors[d][path]
	}
}

func (x *index) find(sector abi.SectorID, files handover.FileType) []handover.SectorPath {
	x.mu.Lock()
	defer x.mu.Unlock()
	primaries := map[handover.PathID]bool{}
	for _, t := range handover.FileTypes {
		if files&t == 0 {
			continue
		}
		for path, primary := range x.sectors[decl{sector, t}] {
			primaries[path] = primary || primaries[path]
		}
	}
	out := []handover.SectorPath{}
	for path, primary := range primaries {
		if info, ok := x.paths[path]; ok {
			out = append(out, handover.SectorPath{ID: path, CanStore: info.CanStore, Primary: primary})
		}
	}
	return out
}

func (x *index) list() map[handover.PathID][]abi.SectorID {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := map[handover.PathID][]abi.SectorID{}
	for d, paths := range x.sectors {
		for path := range paths {
			if _, ok := x.paths[path]; !ok {
				panic(fmt.Sprintf("assignment to entry in nil map: path %s was never attached", path))
			}
			out[path] = append(out[path], d.sector)
		}
	}
	return out
}

// scan declares all that an attached folder holds.
func (x *index) scan(path handover.PathID, dropMissing bool) error {
	x.mu.Lock()
	dir, primary := x.folders[path], x.paths[path].CanStore
	x.mu.Unlock()
	seen := map[decl]bool{}
	for _, t := range handover.FileTypes {
		entries, err := os.ReadDir(filepath.Join(dir, t.String()))
		if errors.Is(err, fs.ErrNotExist) {
			err = os.Mkdir(filepath.Join(dir, t.String()), 0o755)
		}
		if err != nil {
			return fmt.Errorf("listing %s: %w", t, err)
		}
		for _, e := range entries {
			id, err := jobs.ParseSectorID(e.Name())
			if err != nil {
				return fmt.Errorf("parse sector id %s: %w", e.Name(), err)
			}
			seen[decl{abi.SectorID(id), t}] = true
			x.declare(path, abi.SectorID(id), t, primary)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for d, paths := range x.sectors {
		if dropMissing && !seen[d] {
			delete(paths, path)
		}
	}
	return nil
}

package params

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
)

// Dir is a folder of parameter files.
type Dir string

// Files that this package keeps beside the parameters.
const (
	testFile    = "lpseal-test.json"    // digests of generated files by name
	checkedFile = "lpseal-checked.json" // digests by name, with the file version they are of
)

// State is what is known of a file on disk.
type State string

// The states. A file is unchecked until its digest was taken.
const (
	Missing    State = "missing"
	Partial    State = "partial" // being fetched, or left of a broken fetch
	Unchecked  State = "unchecked"
	Production State = "production"
	Test       State = "test"  // made on some machine: its proofs convince nobody
	Wrong      State = "wrong" // neither of the two digests
)

// Status is a file and its state.
type Status struct {
	File
	State State  `json:"state"`
	Size  int64  `json:"size"`            // bytes on disk
	Found string `json:"found,omitempty"` // digest on disk, when it was taken
}

// version tells two contents of one file apart without reading them.
type version struct {
	Size    int64 `json:"size"`
	ModTime int64 `json:"mod_time"` // nanoseconds
}

type checked struct {
	version
	Digest string `json:"digest"`
}

func (d Dir) path(name string) string { return filepath.Join(string(d), name) }

// List gives the files' states without reading them: what an earlier check found
// stands for as long as the file is the same.
func (d Dir) List(files []File) ([]Status, error) {
	return d.examine(context.Background(), files, false, nil)
}

// Check takes the digest of every file that has none yet, and with again of all.
func (d Dir) Check(ctx context.Context, files []File, again bool, report Report) ([]Status, error) {
	if again {
		if err := os.Remove(d.path(checkedFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("forget earlier checks: %w", err)
		}
	}
	return d.examine(ctx, files, true, report)
}

func (d Dir) examine(ctx context.Context, files []File, read bool, report Report) ([]Status, error) {
	known, tests := map[string]checked{}, map[string]string{}
	if err := errors.Join(d.load(checkedFile, &known), d.load(testFile, &tests)); err != nil {
		return nil, err
	}
	taken := false
	var out []Status
	for _, f := range files {
		s := Status{File: f, State: Missing}
		info, err := os.Stat(d.path(f.Name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if part, err := os.Stat(d.path(f.Name + partSuffix)); err == nil {
				s.State, s.Size = Partial, part.Size()
			}
			out = append(out, s)
			continue
		case err != nil:
			return nil, fmt.Errorf("parameters: %w", err)
		}
		now := version{info.Size(), info.ModTime().UnixNano()}
		have, ok := known[f.Name]
		if ok = ok && have.version == now; !ok && read {
			if have.Digest, err = fileDigest(ctx, d.path(f.Name), report.of(f.Name)); err != nil {
				return nil, fmt.Errorf("digest of %s: %w", f.Name, err)
			}
			have.version = now
			known[f.Name], ok, taken = have, true, true
		}
		s.State, s.Size = Unchecked, info.Size()
		if ok {
			s.Found = have.Digest
			s.State = judge(f, have.Digest, tests)
		}
		out = append(out, s)
	}
	if taken {
		// A folder that cannot be written is read again next time.
		_ = d.save(checkedFile, known)
	}
	return out, nil
}

func judge(f File, digest string, tests map[string]string) State {
	switch digest {
	case f.Digest:
		return Production
	case tests[f.Name]:
		return Test
	}
	return Wrong
}

func (d Dir) load(name string, v any) error {
	b, err := os.ReadFile(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return fmt.Errorf("parameters: %s: %w: remove it, and files are checked again", d.path(name), err)
	}
	return nil
}

func (d Dir) save(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(d.path(name), b, 0o644)
}

// States says how many files are in each state, in words.
func States(all []Status) string {
	count := map[State]int{}
	for _, s := range all {
		count[s.State]++
	}
	var words []string
	for _, state := range []State{Production, Test, Unchecked, Partial, Missing, Wrong} {
		if n := count[state]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, state))
		}
	}
	return strings.Join(words, ", ")
}

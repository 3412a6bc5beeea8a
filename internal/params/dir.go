package params

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Dir is a folder of parameter files.
type Dir string

// testFile holds the digests of generated files by name, beside them.
const testFile = "lpseal-test.json"

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

func (d Dir) path(name string) string { return filepath.Join(string(d), name) }

// List gives the files' states without reading them: what an earlier check found
// stands for as long as the file is the same.
func (d Dir) List(files []File) ([]Status, error) {
	n, err := d.notes()
	if err != nil {
		return nil, err
	}
	return d.examine(files, n)
}

// Check takes the digest of every file that has none yet, and with again of all.
func (d Dir) Check(ctx context.Context, files []File, again bool, report Report) ([]Status, error) {
	n, err := d.notes()
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		info, err := os.Stat(d.path(f.Name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("parameters: %w", err)
		}
		now := versionOf(info)
		if _, known := n.digest(f.Name, now); known && !again {
			continue
		}
		digest, err := fileDigest(ctx, d.path(f.Name), report.of(f.Name))
		if err != nil {
			return nil, fmt.Errorf("digest of %s: %w", f.Name, err)
		}
		n.known[f.Name] = checked{now, digest}
		_ = n.save() // what can be noted nowhere is read again next time
	}
	return d.examine(files, n)
}

// examine judges the files by what is known of them.
func (d Dir) examine(files []File, n *notes) ([]Status, error) {
	tests := map[string]string{}
	if err := load(d.path(testFile), &tests); err != nil {
		return nil, err
	}
	var out []Status
	for _, f := range files {
		s := Status{File: f, State: Missing}
		info, err := os.Stat(d.path(f.Name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if part, err := os.Stat(d.path(f.Name + partSuffix)); err == nil {
				s.State, s.Size = Partial, part.Size()
			}
		case err != nil:
			return nil, fmt.Errorf("parameters: %w", err)
		default:
			s.State, s.Size = Unchecked, info.Size()
			if digest, known := n.digest(f.Name, versionOf(info)); known {
				s.State, s.Found = judge(f, digest, tests), digest
			}
		}
		out = append(out, s)
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

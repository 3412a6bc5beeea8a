package figures

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/renameio/v2"

	"github.com/lpseal/lpseal/internal/filelock"
	"github.com/lpseal/lpseal/jobs"
)

// Figure is one measurement.
type Figure struct {
	Stage   jobs.Stage              `json:"stage"`
	Prover  string                  `json:"prover"`
	Proof   abi.RegisteredSealProof `json:"proof"`
	Threads int                     `json:"threads"`
	NS      int64                   `json:"ns"`    // wall-clock time of the stage in nanoseconds
	Build   string                  `json:"build"` // the program, and the library in it
	CPU     string                  `json:"cpu"`   // model name
	At      time.Time               `json:"at"`
}

// replaces says that f is a newer measurement of the same thing.
func (f Figure) replaces(g Figure) bool {
	return f.Stage == g.Stage && f.Prover == g.Prover && f.Proof == g.Proof && f.Threads == g.Threads
}

// File is where a host's figures are, in its state folder.
func File(stateDir string) string { return filepath.Join(stateDir, "figures.json") }

// Load reads a host's figures; a file that is not there has none.
func Load(stateDir string) ([]Figure, error) {
	b, err := os.ReadFile(File(stateDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []Figure
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("figures: %w: remove %s and run lpseal bench seal again", err, File(stateDir))
	}
	return out, nil
}

// Save adds figures to the host's, in place of older ones of the same stage, prover,
// proof type and threads. Two that save at once keep both.
func Save(ctx context.Context, stateDir string, fresh ...Figure) error {
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return fmt.Errorf("figures: %w", err)
	}
	lock, err := filelock.Wait(ctx, File(stateDir)+".lock", filelock.Exclusive)
	if err != nil {
		return fmt.Errorf("figures: %w", err)
	}
	defer filelock.Release(lock)
	all, err := Load(stateDir)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(old Figure) bool {
		return slices.ContainsFunc(fresh, func(f Figure) bool { return f.replaces(old) })
	})
	b, err := json.MarshalIndent(append(all, fresh...), "", "  ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(File(stateDir), b, 0o644); err != nil {
		return fmt.Errorf("figures: %w", err)
	}
	return nil
}

package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lpseal/lpseal/internal/filelock"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// join puts the worker among the live ones. It holds the instance's lock from then
// on: no other process of this state folder goes by its name.
func (w *Worker) join(ctx context.Context) (*os.File, error) {
	if _, err := bootID(); err != nil {
		return nil, err
	}
	path := filepath.Join(w.StateDir, "locks", "worker-"+w.Instance)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("state folder (host.state_dir): %w", err)
	}
	lock, err := filelock.Try(path, filelock.Exclusive)
	switch {
	case errors.Is(err, filelock.ErrHeld):
		return nil, fmt.Errorf("%s/%s: %w: another process runs this instance (it holds %s): give this one another instance name, or stop the other", w.Host, w.Instance, jobs.ErrRefused, path)
	case err != nil:
		return nil, err
	}
	if err := w.announce(ctx, lock); err != nil {
		filelock.Release(lock)
		return nil, err
	}
	return lock, nil
}

// announce writes the first heartbeat. That of a killed process lasts a while, but
// its lock does not: who has the lock takes the place of any run that had it before.
// A process id could not tell, for the number may be another's by now, and every
// container has numbers of its own.
func (w *Worker) announce(ctx context.Context, lock *os.File) error {
	gone, err := sign(lock, w.Options.Run)
	if err != nil {
		return err
	}
	me := w.self()
	err = w.Store.Join(ctx, me, w.HeartbeatTTL)
	var taken *sectors.InstanceTakenError
	if errors.As(err, &taken) && slices.Contains(gone, taken.Other.Run) {
		w.Log.Info("taking the place of a killed process", "pid", taken.Other.PID)
		if err = w.Store.Leave(ctx, taken.Other); err == nil {
			err = w.Store.Join(ctx, me, w.HeartbeatTTL)
		}
	}
	if err != nil {
		return err
	}
	if err := forget(lock, w.Options.Run); err != nil {
		w.Log.Warn("earlier runs stay named in the lock of the instance", "err", err)
	}
	return nil
}

// sign adds a run to those that its lock's file names, and gives the others. It comes
// before the heartbeat: no run that may have one is missing, however early it is killed.
func sign(lock *os.File, run string) (others []string, err error) {
	text, err := io.ReadAll(lock)
	if err == nil {
		_, err = lock.WriteString("\n" + run) // after a line that was cut off, too
	}
	if err != nil {
		return nil, fmt.Errorf("lock of the instance: %w", err)
	}
	return strings.Fields(string(text)), nil
}

// forget drops all runs but the one that has joined: the heartbeat is its own now.
func forget(lock *os.File, run string) error {
	line := run + "\n"
	_, err := lock.WriteAt([]byte(line), 0)
	if err == nil {
		err = lock.Truncate(int64(len(line)))
	}
	if err != nil {
		return fmt.Errorf("lock of the instance: %w", err)
	}
	return nil
}

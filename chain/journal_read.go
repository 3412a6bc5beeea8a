package chain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// ReadFileJournal reads a journal file that another process may hold, as of now. It cannot be written to. A last line that is being written is left out.
func ReadFileJournal(path string) (Journal, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("message journal: %w", err)
	}
	entries := snapshot{}
	if err := replay(raw[:bytes.LastIndexByte(raw, '\n')+1], entries); err != nil {
		return nil, fmt.Errorf("message journal %s: %w", path, err)
	}
	return entries, nil
}

// snapshot is what a journal held at one moment.
type snapshot map[string][]byte

// Get implements Journal.
func (s snapshot) Get(_ context.Context, keys ...string) ([][]byte, error) {
	values := make([][]byte, len(keys))
	for i, key := range keys {
		values[i] = s[key]
	}
	return values, nil
}

// List implements Journal.
func (s snapshot) List(_ context.Context, prefix string) (map[string][]byte, error) {
	found := map[string][]byte{}
	for key, value := range s {
		if strings.HasPrefix(key, prefix) {
			found[key] = value
		}
	}
	return found, nil
}

// Swap implements Journal: it refuses.
func (s snapshot) Swap(_ context.Context, key string, _, _ []byte) (bool, error) {
	return false, errors.New("message journal: entry " + key + ": it was opened for reading")
}

// Delete implements Journal: it refuses.
func (s snapshot) Delete(_ context.Context, key string, _ []byte) (bool, error) {
	return false, errors.New("message journal: entry " + key + ": it was opened for reading")
}

// Kept is a shared journal whose writes are kept on this host's disk, too, and never read from there: for a process that writes once in a while, whose
// copy would be out of date when it is wanted.
func Kept(shared, disk Journal) Journal { return kept{mirror{shared, disk}} }

type kept struct{ mirror }

// Get implements Journal.
func (k kept) Get(ctx context.Context, keys ...string) ([][]byte, error) {
	return k.shared.Get(ctx, keys...)
}

// List implements Journal.
func (k kept) List(ctx context.Context, prefix string) (map[string][]byte, error) {
	return k.shared.List(ctx, prefix)
}

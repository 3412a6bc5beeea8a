package chain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/lpseal/lpseal/internal/durable"
	"github.com/lpseal/lpseal/internal/filelock"
	"github.com/lpseal/lpseal/jobs"
)

// Journal keeps what was sent, under keys such as "precommit/s-t01000-42/f1" and "sender/t1…". Values are JSON. A write is durable
// when Swap returns: what it holds may be on its way to the chain a moment later. Errors name the journal and the key.
type Journal interface {
	// Get gives the values of keys, in order; nil where there is none.
	Get(ctx context.Context, keys ...string) ([][]byte, error)
	// Swap writes next if the value is old, and tells whether it did. A nil old means that the key must be absent.
	Swap(ctx context.Context, key string, old, next []byte) (bool, error)
	// Delete takes the key out if its value is old, and tells whether it did.
	Delete(ctx context.Context, key string, old []byte) (bool, error)
	// List gives all entries whose key starts with prefix.
	List(ctx context.Context, prefix string) (map[string][]byte, error)
}

// FileJournal is a journal in one append-only file, fsynced after every write. One process may hold it. File and memory are bounded by what a month of sealing
// writes: see forgettable.
type FileJournal struct {
	path string

	mu      sync.Mutex
	file    *os.File
	entries map[string][]byte
	size    int64
	compact int64 // the size at which the file is rewritten
}

// line is one write in the file; the value null takes the key out.
type line struct {
	Key   string
	Value json.RawMessage
}

// into does the write.
func (l line) into(entries map[string][]byte) {
	if len(l.Value) == 0 || string(l.Value) == "null" {
		delete(entries, l.Key)
		return
	}
	entries[l.Key] = bytes.Clone(l.Value)
}

// compactAbove is the size below which a file is never rewritten. A rewritten one may double first, so that a write costs a constant on average.
const compactAbove = 16 << 20

// OpenFileJournal opens or creates the journal. A last line that a crash cut short was never acted upon and is dropped; any other
// damage is an error, for what it held may be on chain.
func OpenFileJournal(path string) (*FileJournal, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("message journal: %w", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("message journal: %w", err)
	}
	j := &FileJournal{path: path, file: file, entries: map[string][]byte{}, compact: compactAbove}
	if err := errors.Join(filelock.Lock(file, filelock.Exclusive), j.load(), durable.Dir(filepath.Dir(path))); err != nil {
		return nil, errors.Join(fmt.Errorf("message journal %s: %w", path, err), file.Close())
	}
	return j, nil
}

func (j *FileJournal) load() error {
	raw, err := io.ReadAll(j.file)
	if err != nil {
		return err
	}
	whole := bytes.LastIndexByte(raw, '\n') + 1
	if whole < len(raw) {
		if err := j.file.Truncate(int64(whole)); err != nil {
			return err
		}
	}
	j.size = int64(whole)
	if err := replay(raw[:whole], j.entries); err != nil {
		return fmt.Errorf("%w; restore the file or move it away after checking that no message is pending", err)
	}
	return nil
}

// replay does the writes of whole lines.
func replay(lines []byte, entries map[string][]byte) error {
	for n, text := range bytes.Split(lines, []byte("\n")) {
		if len(text) == 0 {
			continue
		}
		var l line
		if err := jobs.DecodeStrictly(bytes.NewReader(text), &l); err != nil {
			return fmt.Errorf("line %d is damaged, or a newer lpseal wrote it: %w", n+1, err)
		}
		l.into(entries)
	}
	return nil
}

// Close lets the file go. Nothing is lost by it: every write was fsynced.
func (j *FileJournal) Close() { filelock.Release(j.file) }

// Get implements Journal.
func (j *FileJournal) Get(_ context.Context, keys ...string) ([][]byte, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	values := make([][]byte, len(keys))
	for i, key := range keys {
		values[i] = j.entries[key]
	}
	return values, nil
}

// List implements Journal.
func (j *FileJournal) List(_ context.Context, prefix string) (map[string][]byte, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	found := map[string][]byte{}
	for key, value := range j.entries {
		if strings.HasPrefix(key, prefix) {
			found[key] = value
		}
	}
	return found, nil
}

// Swap implements Journal.
func (j *FileJournal) Swap(_ context.Context, key string, old, next []byte) (bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now, ok := j.entries[key]
	if ok != (old != nil) || !bytes.Equal(now, old) {
		return false, nil
	}
	return true, j.put(line{key, next})
}

// Delete implements Journal.
func (j *FileJournal) Delete(_ context.Context, key string, old []byte) (bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if now, ok := j.entries[key]; !ok || !bytes.Equal(now, old) {
		return false, nil
	}
	return true, j.put(line{Key: key})
}

func (j *FileJournal) put(l line) error {
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("message journal: %s: %w", l.Key, err)
	}
	text = append(text, '\n')
	if _, err := j.file.Write(text); err != nil {
		// Half a line must not join the next one.
		return errors.Join(fmt.Errorf("message journal: %s: %w", l.Key, err), j.file.Truncate(j.size))
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("message journal: %s: %w", l.Key, err)
	}
	j.size += int64(len(text))
	l.into(j.entries)
	if j.size > j.compact {
		return j.rewrite()
	}
	return nil
}

// rewrite makes a file of the entries that count and puts it in the old one's place.
func (j *FileJournal) rewrite() error {
	everybody := func(jobs.SectorID) bool { return true } // the shared journal has what open sectors need
	for _, key := range forgettable(j.entries, newest(j.entries), everybody) {
		delete(j.entries, key)
	}
	var all bytes.Buffer
	for key, value := range j.entries {
		text, err := json.Marshal(line{key, value})
		if err != nil {
			return fmt.Errorf("message journal: compact: %w", err)
		}
		all.Write(append(text, '\n'))
	}
	file, err := os.OpenFile(j.path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("message journal: compact: %w", err)
	}
	_, err = file.Write(all.Bytes())
	if err = errors.Join(err, file.Sync(), filelock.Lock(file, filelock.Exclusive)); err == nil {
		err = os.Rename(j.path+".new", j.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("message journal: compact: %w", err), file.Close())
	}
	old := j.file
	j.file, j.size = file, int64(all.Len()) // whatever comes: the old file has no name any more
	j.compact = max(j.compact, 2*j.size)
	if err := errors.Join(durable.Dir(filepath.Dir(j.path)), old.Close()); err != nil {
		return fmt.Errorf("message journal: compact: %w", err)
	}
	return nil
}

// Mirror is a shared journal with a copy on this host's disk (design rule 13): schedulers agree through shared, and what is pushed survives the loss
// of it. An entry that shared lost is put back from disk before it is used.
func Mirror(shared, disk Journal) Journal { return mirror{shared, disk} }

type mirror struct{ shared, disk Journal }

func (m mirror) Get(ctx context.Context, keys ...string) ([][]byte, error) {
	values, err := m.shared.Get(ctx, keys...)
	if err != nil {
		return nil, err
	}
	copies, err := m.disk.Get(ctx, keys...)
	if err != nil {
		return nil, err
	}
	for i, key := range keys {
		if values[i] != nil || copies[i] == nil {
			continue
		}
		if _, err := m.shared.Swap(ctx, key, nil, copies[i]); err != nil {
			return nil, err
		}
		again, err := m.shared.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		values[i] = again[0]
	}
	return values, nil
}

func (m mirror) Swap(ctx context.Context, key string, old, next []byte) (bool, error) {
	ok, err := m.shared.Swap(ctx, key, old, next)
	if !ok || err != nil {
		return ok, err
	}
	for {
		now, err := m.disk.Get(ctx, key)
		if err != nil {
			return true, err
		}
		if done, err := m.disk.Swap(ctx, key, now[0], next); done || err != nil {
			return true, err
		}
	}
}

// Delete takes the copy away first: one that stayed alone would be put back.
func (m mirror) Delete(ctx context.Context, key string, old []byte) (bool, error) {
	for {
		now, err := m.disk.Get(ctx, key)
		if err != nil {
			return false, err
		}
		if now[0] == nil {
			break
		}
		if done, err := m.disk.Delete(ctx, key, now[0]); err != nil {
			return false, err
		} else if done {
			break
		}
	}
	return m.shared.Delete(ctx, key, old)
}

func (m mirror) List(ctx context.Context, prefix string) (map[string][]byte, error) {
	copies, err := m.disk.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(copies))
	for key := range copies {
		keys = append(keys, key)
	}
	if _, err := m.Get(ctx, keys...); err != nil { // puts back what shared lost
		return nil, err
	}
	return m.shared.List(ctx, prefix)
}

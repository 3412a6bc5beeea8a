package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/lpseal/lpseal/internal/filelock"
	"github.com/lpseal/lpseal/jobs"
)

// ManifestFile binds a cache folder to one seal; it lies in the folder. A storage
// path keeps the same for what was stored there, in its receipts folder, because
// lotus owns the cache folder there.
const ManifestFile = "lpseal-manifest.json"

// manifest is [jobs.Manifest] and, for every digest, a stamp of the file it was
// taken from. A file whose stamp still holds is not hashed again: at 32 GiB the
// layers alone are 352 GiB, and four stages look at them. What a stamp cannot show,
// bits that rot in place, the proofs' own checks do: a node that was damaged does
// not open.
type manifest struct {
	jobs.Manifest
	Stamps map[string]stamp `json:"stamps,omitempty"`
}

// stamp changes whenever a file is written, replaced or copied. The zero stamp
// matches no file.
type stamp struct {
	Size  int64  `json:"size"`
	MTime int64  `json:"mtime"` // nanoseconds
	Inode uint64 `json:"inode"`
}

// settling is longer than the step of any file system's clock: a file that was
// written so shortly before it was hashed may change once more under the same
// stamp, so it gets none.
const settling = 50 * time.Millisecond

func stampOf(info os.FileInfo) stamp {
	return stamp{Size: info.Size(), MTime: info.ModTime().UnixNano(), Inode: info.Sys().(*syscall.Stat_t).Ino}
}

func (p *root) manifest(id jobs.SectorID) string { return filepath.Join(p.cache(id), ManifestFile) }

func (p *root) receipt(id jobs.SectorID) string {
	return filepath.Join(p.dir, receiptsDir, id.String()+".json")
}

// readManifest gives an empty manifest, bound to nothing, when there is none. One
// that cannot be parsed was not written here, which replaces it whole: it binds the
// folder to nothing as well.
func readManifest(path string) (manifest, error) {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return manifest{}, err
	}
	var m manifest
	if json.Unmarshal(b, &m) != nil {
		m = manifest{}
	}
	if m.Digests == nil {
		m.Digests = map[string]string{}
	}
	if m.Stamps == nil {
		m.Stamps = map[string]stamp{}
	}
	return m, nil
}

// amend changes a manifest. tree_d and sdr run side by side in two processes and
// both write it, so it is read and replaced under a lock of its own.
func (h *Host) amend(ctx context.Context, p *root, id jobs.SectorID, path string, change func(*manifest)) (manifest, error) {
	lock, err := filelock.Wait(ctx, p.lock(id, ".manifest"), filelock.Exclusive)
	if err != nil {
		return manifest{}, err
	}
	defer filelock.Release(lock)
	m, err := readManifest(path)
	if err != nil {
		return m, err
	}
	change(&m)
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return m, err
	}
	return m, h.disk.write(path, append(b, '\n'))
}

// record notes a finished file.
func (m *manifest) record(name, digest string, s stamp) {
	m.Digests[name], m.Stamps[name] = digest, s
}

// check compares a file with the manifest. It returns the file's stamp, which is
// news when the file was moved here from elsewhere.
func (h *Host) check(ctx context.Context, m manifest, name, path string) (stamp, error) {
	want, ok := m.Digests[name]
	if !ok {
		return stamp{}, missing("%s is not among the finished files of %s", name, filepath.Dir(path))
	}
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	if s := stampOf(info); s == m.Stamps[name] {
		h.hashes.learn(info, want)
		return s, nil
	}
	got, now, err := h.hash(ctx, path)
	if err != nil {
		return stamp{}, err
	}
	if got != want {
		return stamp{}, jobs.Failf(jobs.Input, "%s has SHA-256 %s, but had %s when it was finished; it is made again (if this repeats, look at disk and memory)", path, got, want)
	}
	return now, nil
}

// hashes remembers digests for the life of the process, so that a file verified on
// one path is not read again when it is put in place under its name.
type hashes struct {
	mu sync.Mutex
	by map[fileID]string
}

// fileID tells a file in one state from all others on this machine.
type fileID struct {
	dev uint64
	stamp
}

func idOf(info os.FileInfo) fileID {
	return fileID{uint64(info.Sys().(*syscall.Stat_t).Dev), stampOf(info)} //nolint:unconvert // 32 bits on darwin
}

// hashesKept is far above what the sectors of one host need at a time.
const hashesKept = 4096

func (c *hashes) learn(info os.FileInfo, digest string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil || len(c.by) >= hashesKept {
		c.by = map[fileID]string{}
	}
	c.by[idOf(info)] = digest
}

func (c *hashes) known(info os.FileInfo) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	digest, ok := c.by[idOf(info)]
	return digest, ok
}

// hash gives a file's SHA-256 in hex, and its stamp if it has settled.
func (h *Host) hash(ctx context.Context, path string) (string, stamp, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", stamp{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", stamp{}, err
	}
	if digest, ok := h.hashes.known(info); ok {
		return digest, stampOf(info), nil
	}
	young := time.Since(info.ModTime()) < settling
	digest, err := digestOf(ctx, f)
	if err != nil {
		return "", stamp{}, err
	}
	after, err := f.Stat()
	if err != nil {
		return "", stamp{}, err
	}
	if idOf(after) != idOf(info) {
		return "", stamp{}, jobs.Failf(jobs.Transient, "%s changed while it was read", path)
	}
	if young {
		return digest, stamp{}, nil
	}
	h.hashes.learn(info, digest)
	return digest, stampOf(info), nil
}

// digestOf reads r to its end.
func digestOf(ctx context.Context, r io.Reader) (string, error) {
	sum := sha256.New()
	buf := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := r.Read(buf)
		sum.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(sum.Sum(nil)), nil
		}
		if err != nil {
			return "", fmt.Errorf("read: %w", err)
		}
	}
}

package files

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lpseal/lpseal/internal/durable"
)

// disk makes every lasting change of this package, each durable before the next
// begins. A test sees each one before it happens and can end the run there, as a
// crash would: that is how re-entrance is proved for every step, not for a sample.
type disk struct {
	before   func(change) error // nil outside tests
	volatile bool               // leave fsync out: for tests that cut hundreds of runs
}

// change is one step on disk.
type change struct {
	op   string // mkdir, open, write, sync, rename, sync-dir, remove
	path string
	to   string // of a rename
}

func (d disk) step(op, path, to string) error {
	if d.before == nil {
		return nil
	}
	return d.before(change{op, path, to})
}

// mkdir makes a folder and its parents.
func (d disk) mkdir(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	if err := d.step("mkdir", path, ""); err != nil {
		return err
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	return d.syncDir(filepath.Dir(path))
}

// open makes or opens a file to write.
func (d disk) open(path string, flag int) (*os.File, error) {
	if err := d.step("open", path, ""); err != nil {
		return nil, err
	}
	return os.OpenFile(path, flag|os.O_RDWR|os.O_CREATE, 0o644)
}

func (d disk) sync(f *os.File) error {
	if err := d.step("sync", f.Name(), ""); err != nil {
		return err
	}
	if d.volatile {
		return nil
	}
	return f.Sync()
}

func (d disk) syncDir(path string) error {
	if err := d.step("sync-dir", path, ""); err != nil {
		return err
	}
	if d.volatile {
		return nil
	}
	return durable.Dir(path)
}

// rename moves a file or folder within a file system, durably. What stands under
// the new name is replaced, if it is a file.
func (d disk) rename(from, to string) error {
	if err := d.step("rename", from, to); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if err := d.syncDir(filepath.Dir(to)); err != nil {
		return err
	}
	if filepath.Dir(from) == filepath.Dir(to) {
		return nil
	}
	return d.syncDir(filepath.Dir(from))
}

// write puts a small file in place whole.
func (d disk) write(path string, data []byte) error {
	f, err := d.open(path+".tmp", os.O_TRUNC)
	if err != nil {
		return err
	}
	err = d.step("write", f.Name(), "")
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = d.sync(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return d.rename(f.Name(), path)
}

// removeAll deletes a tree entry by entry; what is absent is no error.
func (d disk) removeAll(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := d.removeAll(filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := d.step("remove", path, ""); err != nil {
		return err
	}
	return os.Remove(path)
}

// copyChunk is how much is copied between two looks at the context: a few
// milliseconds on NVMe, half a second on a slow disk.
const copyChunk = 64 << 20

// fill appends the bytes [len(dst), size) of src to dst and makes dst durable.
// Between two files the kernel copies, and shares the blocks where the file system
// can (copy_file_range under io.CopyN).
func (d disk) fill(ctx context.Context, dst *os.File, src io.ReadSeeker, size int64, report func(done int64)) error {
	have, err := dst.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := src.Seek(have, io.SeekStart); err != nil {
		return err
	}
	for have < size {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.step("write", dst.Name(), ""); err != nil {
			return err
		}
		n, err := io.CopyN(dst, src, min(copyChunk, size-have))
		have += n
		report(have)
		if err != nil {
			return err
		}
	}
	return d.sync(dst)
}

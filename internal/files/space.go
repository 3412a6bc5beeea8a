//go:build linux || darwin

package files

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// fileSystem is what lpseal must know of the file system under a path.
type fileSystem struct {
	free, total uint64 // bytes; free is what this user may write
	network     string // "NFS", "CIFS" or "FUSE"; empty for a local one
}

func statFS(dir string) (fileSystem, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fileSystem{}, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	block := uint64(st.Bsize)
	return fileSystem{free: st.Bavail * block, total: st.Blocks * block, network: networkFS(&st)}, nil
}

package files

import (
	"strings"

	"golang.org/x/sys/unix"
)

func networkFS(st *unix.Statfs_t) string {
	switch name := unix.ByteSliceToString(st.Fstypename[:]); {
	case name == "nfs":
		return "NFS"
	case name == "smbfs" || name == "cifs":
		return "CIFS"
	case strings.Contains(name, "fuse"):
		return "FUSE"
	}
	return ""
}

package files

import "golang.org/x/sys/unix"

func networkFS(st *unix.Statfs_t) string {
	// The field is signed on some machines; the magic numbers have 32 bits.
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC:
		return "NFS"
	case unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return "CIFS"
	case unix.FUSE_SUPER_MAGIC:
		return "FUSE"
	}
	return ""
}

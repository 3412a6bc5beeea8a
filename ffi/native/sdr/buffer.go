package sdr

// NewBuffer gives zeroed memory for layers, in huge pages where the system has them.
func NewBuffer(size int) []byte {
	buf := make([]byte, size)
	adviseHugePages(buf)
	return buf
}

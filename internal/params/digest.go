package params

import (
	"context"
	"encoding/hex"
	"io"
	"os"

	"golang.org/x/crypto/blake2b"
)

// digestSize is how many bytes of the hash parameters.json keeps.
const digestSize = 16

// Report is told how many of a file's bytes are done.
type Report func(name string, done, total uint64)

func (r Report) of(name string) func(done, total uint64) {
	return func(done, total uint64) {
		if r != nil {
			r(name, done, total)
		}
	}
}

// fileDigest is the digest as parameters.json writes it.
func fileDigest(ctx context.Context, path string, report func(done, total uint64)) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	h, err := blake2b.New512(nil)
	if err != nil {
		return "", err
	}
	const chunk = 64 << 20
	var done int64
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := io.CopyN(h, f, chunk)
		done += n
		report(uint64(done), uint64(info.Size()))
		if err == io.EOF {
			return hex.EncodeToString(h.Sum(nil)[:digestSize]), nil
		}
		if err != nil {
			return "", err
		}
	}
}

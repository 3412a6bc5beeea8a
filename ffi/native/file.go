package native

import (
	"errors"
	"os"

	"github.com/lpseal/lpseal/internal/durable"
	"github.com/lpseal/lpseal/jobs"
)

// output is a file that appears under its name only when it is whole and on disk.
type output struct {
	*os.File
	path  string
	whole bool // committed
}

// create opens a file beside path, which takes its place at commit. A leftover of a
// killed run is overwritten.
func create(path string) (*output, error) {
	f, err := os.Create(path + ".tmp")
	if err != nil {
		return nil, fileFault(err)
	}
	return &output{File: f, path: path}, nil
}

// commit makes the file durable under its name.
func (o *output) commit() error {
	if err := errors.Join(o.Sync(), o.Close()); err != nil {
		return fileFault(err)
	}
	err := durable.Rename(o.Name(), o.path)
	o.whole = err == nil
	return fileFault(err)
}

// discard drops the file unless it was committed. It is for defer: the error that
// made the file useless is the one to report.
func (o *output) discard() {
	if !o.whole {
		_ = o.Close()
		_ = os.Remove(o.Name())
	}
}

// putNodes writes nodes at a position counted in nodes.
func (o *output) putNodes(at int, nodes []byte) error {
	n, err := o.WriteAt(nodes, int64(at)*nodeSize)
	if n >= worthStarting {
		startWriting(o.File, int64(at)*nodeSize, int64(n))
	}
	return fileFault(err)
}

// writeFile writes a small file whole.
func writeFile(path string, data []byte) error {
	o, err := create(path)
	if err != nil {
		return err
	}
	defer o.discard()
	if _, err := o.Write(data); err != nil {
		return fileFault(err)
	}
	return o.commit()
}

// input is a file of nodes, of the size it must have.
type input struct{ *os.File }

func openNodes(path string, nodes int) (input, error) { return openWhole(path, int64(nodes)*nodeSize) }

// openWhole opens a file of the size it must have, in bytes.
func openWhole(path string, want int64) (input, error) {
	f, err := os.Open(path)
	if err != nil {
		return input{}, fileFault(err)
	}
	info, err := f.Stat()
	if err != nil {
		return input{}, errors.Join(fileFault(err), f.Close())
	}
	if info.Size() != want {
		return input{}, errors.Join(jobs.Failf(jobs.Input, "%s has %d bytes, not %d", path, info.Size(), want), f.Close())
	}
	return input{f}, nil
}

// nodes reads nodes from a position counted in nodes.
func (in input) nodes(at int, dst []byte) error {
	_, err := in.ReadAt(dst, int64(at)*nodeSize)
	return fileFault(err)
}

// soon asks for nodes that will be read; those beyond the end are nobody's.
func (in input) soon(at, nodes int) { willRead(in.File, int64(at)*nodeSize, int64(nodes)*nodeSize) }

// neighbours reads nodes that lie side by side, in one call to the system.
func (in input) neighbours(at int, dst []node) error {
	var buf [maxArity * nodeSize]byte
	b := buf[:len(dst)*nodeSize]
	if err := in.nodes(at, b); err != nil {
		return err
	}
	for i := range dst {
		dst[i] = node(b[i*nodeSize:])
	}
	return nil
}

func (in input) node(at int) (n node, err error) {
	err = in.nodes(at, n[:])
	return n, err
}

// fileFault classifies an error of the file system, whose text names the path. A
// missing file may lie elsewhere; a full disk needs room and not another attempt.
func fileFault(err error) error {
	if err == nil {
		return nil
	}
	f := jobs.SystemFault(err)
	if f == nil {
		f = jobs.Failf(jobs.Transient, "%w", err)
	}
	return classified{f, err}
}

// classified is an error with the fault class it stands for; both are found by
// errors.As.
type classified struct {
	fault *jobs.Fault
	err   error
}

func (c classified) Error() string   { return c.err.Error() }
func (c classified) Unwrap() []error { return []error{c.fault, c.err} }

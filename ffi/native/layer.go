package native

import "errors"

// strided are the labels of one sector among those of several, side by side.
type strided struct {
	labels   []byte
	i, among int
}

func (s strided) nodes() int { return len(s.labels) / (nodeSize * s.among) }

// get gives the labels of nodes [first, last): as they are, or gathered in buf.
func (s strided) get(first, last int, buf []byte) []byte {
	if s.among == 1 {
		return s.labels[first*nodeSize : last*nodeSize]
	}
	for n := first; n < last; n++ {
		copy(buf[(n-first)*nodeSize:][:nodeSize], s.labels[(n*s.among+s.i)*nodeSize:])
	}
	return buf[:(last-first)*nodeSize]
}

// put sets the labels of nodes from first on.
func (s strided) put(first int, nodes []byte) {
	for ; len(nodes) > 0; nodes = nodes[nodeSize:] {
		copy(s.labels[(first*s.among+s.i)*nodeSize:][:nodeSize], nodes)
		first++
	}
}

// pieceNodes is how many nodes of a layer are read or written at a time: 1 MiB.
const pieceNodes = 1 << 15

// readLayer reads a whole layer.
func readLayer(path string, to strided) error {
	in, err := openNodes(path, to.nodes())
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	if to.among == 1 {
		return in.nodes(0, to.labels)
	}
	buf := make([]byte, pieceNodes*nodeSize)
	for at := 0; at < to.nodes(); at += pieceNodes {
		piece := buf[:min(pieceNodes, to.nodes()-at)*nodeSize]
		if err := in.nodes(at, piece); err != nil {
			return err
		}
		to.put(at, piece)
	}
	return nil
}

// layerWriter writes a layer behind the labels as they are made, so that neither waits
// for the other, and the disk works evenly.
type layerWriter struct {
	marks chan int // how many nodes have their labels; the latest is enough
	done  chan struct{}
	err   error // when done
}

func startLayer(path string, labels strided) *layerWriter {
	w := &layerWriter{marks: make(chan int, 1), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.err = w.write(path, labels)
	}()
	return w
}

// reached tells that the first nodes have their labels, which do not change any more.
func (w *layerWriter) reached(nodes int) {
	select {
	case <-w.marks:
	default:
	}
	w.marks <- nodes
}

// failure is why the writer has ended before its layer.
func (w *layerWriter) failure() error {
	select {
	case <-w.done:
		return w.err
	default:
		return nil
	}
}

// wait gives what became of the layer. It must have been reached whole, or is called off.
func (w *layerWriter) wait(callOff bool) error {
	if callOff {
		close(w.marks)
	}
	<-w.done
	return w.err
}

var errCalledOff = errors.New("the layer was called off")

func (w *layerWriter) write(path string, labels strided) error {
	out, err := create(path)
	if err != nil {
		return err
	}
	defer out.discard()
	var buf []byte
	if labels.among > 1 {
		buf = make([]byte, pieceNodes*nodeSize)
	}
	behind := writeBehind{file: out.File, drop: len(labels.labels)/labels.among > cacheWorth}
	for at := 0; at < labels.nodes(); {
		mark, ok := <-w.marks
		if !ok {
			return errCalledOff
		}
		for at < mark {
			to := min(mark, at+pieceNodes)
			if err := out.putNodes(at, labels.get(at, to, buf)); err != nil {
				return err
			}
			at = to
			behind.reached(int64(at) * nodeSize)
		}
	}
	return out.commit()
}

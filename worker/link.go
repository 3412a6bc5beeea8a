package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// verb is what a link's question is about.
type verb string

const (
	take  verb = "take"  // worker to proof process: here is a work and its locks
	hold  verb = "hold"  // proof process to shim: hold its locks too
	begun verb = "begun" // proof process to shim: it is at work
	ended verb = "ended" // proof process to shim: it has ended, let go
)

// question is one thing asked over a link.
type question struct {
	Ask  verb   `json:"ask"`
	Work string `json:"work"`           // path of the work folder
	Exit int    `json:"exit,omitempty"` // of ended: the exit code, as if the work had had the process alone
}

// link is one end of a socket between two processes of a child. A question carries
// open files: a lock's holder may be joined by another process at any time, and
// the kernel ends the lock with the last of them. Nothing that must last is said
// over a link; whose other end has died has missed nothing but the next work.
type link struct {
	conn *net.UnixConn
	mu   sync.Mutex // one question at a time
}

// newLink makes a link and its other end, for a process that is about to start.
func newLink() (*link, *os.File, error) {
	syscall.ForkLock.RLock() // no process may be forked before the flags are set
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("link to a child: %w", err)
	}
	l, err := linkOn(os.NewFile(uintptr(fds[0]), "link"))
	other := os.NewFile(uintptr(fds[1]), "link")
	if err != nil {
		_ = other.Close()
		return nil, nil, err
	}
	return l, other, nil
}

// linkOn makes a link of an open socket, which it closes.
func linkOn(f *os.File) (*link, error) {
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("link of a child: %w", err)
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		_ = conn.Close()
		return nil, errors.New("link of a child: not a local socket")
	}
	return &link{conn: socket}, nil
}

func (l *link) close() { _ = l.conn.Close() }

const yes, no = 'y', 'n'

// ask puts a question and waits for the answer. After an error the link is of no
// use, and whether the question arrived is not known.
func (l *link) ask(q question, files []*os.File, patience time.Duration) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, err := json.Marshal(q)
	if err != nil {
		panic(err) // plain values always marshal
	}
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	var rights []byte
	if len(fds) > 0 {
		rights = syscall.UnixRights(fds...)
	}
	if err := l.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return false, err
	}
	if _, _, err := l.conn.WriteMsgUnix(append(b, '\n'), rights, nil); err != nil {
		return false, err
	}
	var reply [1]byte
	if _, err := l.conn.Read(reply[:]); err != nil {
		return false, err
	}
	return reply[0] == yes, nil
}

// next waits for a question. Its files are the caller's.
func (l *link) next() (q question, files []*os.File, err error) {
	defer func() {
		if err != nil {
			closeAll(files)
		}
	}()
	var line []byte
	text, control := make([]byte, 4096), make([]byte, 512)
	for !bytes.HasSuffix(line, []byte("\n")) {
		n, c, _, _, err := l.conn.ReadMsgUnix(text, control)
		if err != nil {
			return q, files, err
		}
		line = append(line, text[:n]...)
		received, err := rights(control[:c])
		files = append(files, received...)
		if err != nil {
			return q, files, err
		}
	}
	return q, files, json.Unmarshal(line, &q)
}

// rights are the open files in a message's control part.
func rights(control []byte) (files []*os.File, err error) {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "lock"))
		}
	}
	return files, nil
}

// answer answers the question that next gave.
func (l *link) answer(ok bool) error {
	reply := []byte{no}
	if ok {
		reply[0] = yes
	}
	_, err := l.conn.Write(reply)
	return err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // opened to be locked, nothing was written
	}
}

package worker

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/lpseal/lpseal/internal/memory"
)

// The open files that a child's processes are started with, after the standard
// ones.
const (
	workerFD = 3 + iota // link to the worker; the shim only passes it on
	lockFD              // the child's own lock
	shimFD              // proof process: link to the shim
)

// shim starts the proof process and waits for it. It holds the locks of all works
// that the proof process has in hand, and writes their status: proof code dies
// hard, and somebody must be left to say so before the locks are free. A SIGTERM to
// the group is meant for the proof process; the shim stays to write how it ended.
func shim(dir string) (int, error) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	boot, err := bootID()
	if err != nil {
		return exitNoReport, err
	}
	start, err := startTime(os.Getpid())
	if err != nil {
		return exitNoReport, err
	}
	s := keeper{me: status{Boot: boot, Group: os.Getpid(), Start: start, Since: time.Now()}, held: map[string]*heldWork{}}
	if err := (folder{path: dir}).write(statusFile, &s.me); err != nil {
		return exitNoReport, err
	}
	self, err := os.Executable()
	if err != nil {
		return exitNoReport, err
	}
	ours, theirs, err := newLink()
	if err != nil {
		return exitNoReport, err
	}
	inherited := []*os.File{os.NewFile(workerFD, "worker"), os.NewFile(lockFD, "lock"), theirs}
	proof := exec.Command(self, os.Args[1:]...)
	proof.Env = append(os.Environ(), proofEnv+"=1")
	proof.Stdout, proof.Stderr = os.Stderr, os.Stderr
	proof.ExtraFiles = inherited
	before := oomKills()
	if err := proof.Start(); err != nil {
		return exitNoReport, fmt.Errorf("start the proof process: %w", err)
	}
	// The link's ends are the proof process's alone: its death must be seen.
	_ = inherited[0].Close()
	_ = theirs.Close()
	s.serve(ours)
	_ = proof.Wait() // how it ended is in its state

	st := endedAs(proof.ProcessState, before)
	for _, h := range s.held {
		if err := s.end(h, st); err != nil {
			return exitNoReport, err
		}
	}
	return exitOK, nil
}

// oomKills counts the processes killed for memory; a test's child counts others.
var oomKills = memory.Kills

// endedAs is how a process ended; before is what [oomKills] said when it was started.
func endedAs(p *os.ProcessState, before uint64) status {
	st := status{Ended: true, Exit: p.ExitCode()}
	if ws, ok := p.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		st.Signal = signalName(ws.Signal())
		st.OOMKill = ws.Signal() == syscall.SIGKILL && oomKills() > before
	}
	return st
}

// keeper is the shim's book of the works that its proof process has in hand.
type keeper struct {
	me   status // of the processes, of no work
	held map[string]*heldWork
}

type heldWork struct {
	folder
	status
	locks []*os.File
}

// serve answers the proof process until that has gone.
func (k *keeper) serve(l *link) {
	for {
		q, files, err := l.next()
		if err != nil {
			return
		}
		err = k.note(q, files)
		if err != nil {
			fmt.Fprintf(os.Stderr, "lpseal: child: %s: %v\n", q.Work, err)
		}
		if l.answer(err == nil) != nil {
			return
		}
	}
}

func (k *keeper) note(q question, files []*os.File) error {
	h := k.held[q.Work]
	if q.Ask == hold {
		f, err := folderAt(q.Work)
		if err != nil {
			closeAll(files)
			return err
		}
		h = &heldWork{folder: f, status: k.me, locks: files}
		h.Work, h.Since, h.Said = f.task.WorkID(), time.Now(), f.printed()
		if err := f.write(statusFile, &h.status); err != nil {
			closeAll(files)
			return err
		}
		k.held[q.Work] = h
		return nil
	}
	if h == nil {
		return fmt.Errorf("%s: no such work is held", q.Ask)
	}
	if q.Ask == begun {
		h.Begun, h.Since = true, time.Now()
		return h.write(statusFile, &h.status)
	}
	delete(k.held, q.Work)
	return k.end(h, status{Ended: true, Exit: q.Exit})
}

// end writes how a work ended, and lets go of its locks.
func (k *keeper) end(h *heldWork, how status) error {
	h.Ended, h.Exit, h.Signal, h.OOMKill = true, how.Exit, how.Signal, how.OOMKill
	err := h.write(statusFile, &h.status)
	closeAll(h.locks)
	return err
}

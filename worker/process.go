package worker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lpseal/lpseal/jobs"
)

// process is a child process as the lane that started it sees it. Its folder is
// STATE/children/ID.
type process struct {
	folder
	stage  jobs.Stage
	link   *link
	pid    int // the shim's, and the number of its group
	exited chan struct{}
}

// errNoAnswer: whether a child has taken the work is not known. The folder's lock
// will say; the next delivery asks it.
var errNoAnswer = errors.New("a child process does not answer")

// engage gives a work to a child: to one that serves the lane already and takes it,
// or to a new one. The processes get the locks; the caller lets go of its own.
func (l *lane) engage(f folder, locks []*os.File) (*process, error) {
	l.hiring.Lock()
	defer l.hiring.Unlock()
	if l.w.life.Err() != nil {
		return nil, errStopping
	}
	together, stays := l.decl.Shares(jobs.RowOf(f.task.Stage))
	for _, p := range l.serving() {
		if p.stage != f.task.Stage {
			continue
		}
		if took, err := p.offer(f, locks); err != nil {
			return nil, err
		} else if took {
			l.w.metrics.engaged(f.task.Stage, stays)
			return p, nil
		}
	}
	p, err := l.spawn(f.task.Stage)
	if err != nil {
		return nil, err
	}
	took, err := p.offer(f, locks)
	if err != nil || !took {
		p.dismiss()
	}
	if err == nil && !took {
		fault := jobs.Failf(jobs.Busy, "a child process on %s ended before it took its work", l.w.Host)
		fault.Text += lastOutput(p.words())
		err = fault
	}
	if err != nil {
		return nil, err
	}
	l.staff.Lock()
	defer l.staff.Unlock()
	if (together > 1 || stays) && l.w.life.Err() == nil {
		l.processes = append(l.processes, p)
	} else {
		p.dismiss() // it takes no other
	}
	return p, nil
}

// serving lists the children that may take more works; those that have ended are
// forgotten.
func (l *lane) serving() []*process {
	l.staff.Lock()
	defer l.staff.Unlock()
	kept := l.processes[:0]
	for _, p := range l.processes {
		select {
		case <-p.exited:
			p.dismiss()
		default:
			kept = append(kept, p)
		}
	}
	l.processes = kept
	return slices.Clone(kept)
}

// dismiss gives the lane's children no more works: each ends what it has in hand. One that
// takes a work meanwhile is dismissed at the next look, or when the worker's life has ended.
func (l *lane) dismiss() {
	l.staff.Lock()
	defer l.staff.Unlock()
	for _, p := range l.processes {
		p.dismiss()
	}
	l.processes = nil
}

// sharing says what the lane's children do at the moment: the works in the fullest
// one, and how many have parameters loaded. inHand counts works by process group.
func (l *lane) sharing(inHand map[int]int) (group, loaded int) {
	for _, p := range l.serving() {
		row := jobs.RowOf(p.stage)
		if _, stays := l.decl.Shares(row); stays {
			loaded++
		}
		group = max(group, inHand[p.pid])
	}
	return group, loaded
}

// spawn starts a child of the lane.
func (l *lane) spawn(stage jobs.Stage) (*process, error) {
	cfg := l.w.Child
	p := &process{stage: stage, exited: make(chan struct{})}
	var lock *os.File
	for lock == nil { // a sweep may have it for a moment, and then it is no more
		p.path = filepath.Join(childRoot(l.w.StateDir), strings.ToLower(rand.Text()[:12]))
		var err error
		if lock, err = p.lock(); err != nil {
			return nil, err
		}
	}
	defer lock.Close()
	stderr, err := os.OpenFile(p.file(stderrFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	link, theirs, err := newLink()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	shim := exec.Command(cfg.Path, append(cfg.Args[:len(cfg.Args):len(cfg.Args)], p.path)...)
	shim.Env = slices.Concat(os.Environ(), cfg.Env, environment(l.decl))
	shim.Stdout, shim.Stderr = stderr, stderr
	shim.ExtraFiles = []*os.File{theirs, lock} // workerFD, lockFD
	// A session of its own: neither the worker's death nor its terminal's reaches it.
	shim.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := shim.Start(); err != nil {
		link.close()
		return nil, jobs.Failf(jobs.Busy, "start a child process on %s: %w", l.w.Host, err)
	}
	p.link, p.pid = link, shim.Process.Pid
	go func() {
		_ = shim.Wait() // how it ended is in its files
		close(p.exited)
	}()
	l.w.Log.Info("started a child", "stage", string(stage), "pid", p.pid, "folder", p.path)
	return p, nil
}

// offer asks the child to take a work. What its processes print is the work's as well, by
// a link that lasts longer than either.
func (p *process) offer(f folder, locks []*os.File) (bool, error) {
	if err := os.Remove(f.file(stderrFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	err := os.Link(p.file(stderrFile), f.file(stderrFile))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // it has ended, and its folder was swept
	}
	if err != nil {
		return false, fmt.Errorf("output of a child: %w (the state folder's file system must have hard links)", err)
	}
	took, err := p.link.ask(question{Ask: take, Work: f.path}, locks, answerPatience)
	switch {
	case took:
		return true, nil
	case err == nil:
		return false, nil
	}
	// It died, or is about to: then nobody holds the locks but the caller.
	p.dismiss()
	select {
	case <-p.exited:
		if p.live() {
			return false, errNoAnswer
		}
		return false, nil
	case <-time.After(answerPatience):
		return false, errNoAnswer
	}
}

// dismiss gives the child no more works. It ends what it has in hand.
func (p *process) dismiss() { p.link.close() }

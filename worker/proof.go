package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/jobs"
)

// The bounds of a child that stays: it is renewed after so many works, or when its
// memory has grown so much beyond what the first one took. Proof libraries are not
// made to run for ever, and what they load costs far less than a day of leaks.
const (
	worksOfOneChild = 64
	growthTolerated = 1.5 // peak memory, as a multiple of the peak after the first work
)

// answerPatience is how long an answer over a link may take. Nothing is done before
// it but to read and write small files.
const answerPatience = 30 * time.Second

// proofProcess is the proof process: it takes works from the worker and runs their stages,
// one, several together, or one after another, as the lane and the stage allow
// ([jobs.Lane.Shares]).
type proofProcess struct {
	ctx     context.Context // ends when the process is told to end
	build   Build
	shim    *link
	meeting *meeting

	mu     sync.Mutex
	hand   map[*work]bool
	row    *jobs.Row // the stage of all its works
	lane   jobs.Lane
	closed bool        // takes no more
	took   int         // works so far
	first  int64       // peak memory after the first one
	idle   *time.Timer // of a child that stays

	works sync.WaitGroup
	over  chan struct{} // closed when it takes no more and has nothing in hand
}

// work is one of the works in hand.
type work struct {
	folder
	request Request
	locks   []*os.File
}

// prove is the life of a proof process.
func prove(ctx context.Context, build Build) (int, error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	worker, err := linkOn(os.NewFile(workerFD, "worker"))
	if err != nil {
		return exitNoReport, err
	}
	shim, err := linkOn(os.NewFile(shimFD, "shim"))
	if err != nil {
		return exitNoReport, err
	}
	syscall.CloseOnExec(lockFD)
	p := &proofProcess{ctx: ctx, build: build, shim: shim, hand: map[*work]bool{}, over: make(chan struct{})}
	p.meeting = &meeting{closing: p.close}
	go p.serve(worker)
	select {
	case <-p.over:
	case <-ctx.Done():
		p.close()
	}
	p.works.Wait()
	if ctx.Err() != nil {
		return exitCalled, errors.New("told to end")
	}
	return exitOK, nil
}

// serve takes works until the worker has gone: no other can give it any.
func (p *proofProcess) serve(worker *link) {
	defer p.close()
	for {
		q, locks, err := worker.next()
		if err != nil {
			return
		}
		begin := p.take(q.Work, locks)
		if begin == nil {
			closeAll(locks)
		}
		err = worker.answer(begin != nil)
		if begin != nil {
			begin()
		}
		if err != nil {
			return
		}
	}
}

// take takes a work if it may have it; nil: it may not. The answer to the worker comes
// after, for a work is taken when the shim holds its locks, whatever becomes of the
// worker, and the work begins after the answer: one that kills the process at once would
// look as if it had never been taken.
func (p *proofProcess) take(path string, locks []*os.File) (begin func()) {
	w := &work{locks: locks}
	var err error
	if w.folder, err = folderAt(path); err == nil {
		_, err = w.read(requestFile, &w.request)
	}
	if err == nil && w.request.Work != w.task.WorkID() {
		err = errors.New("the request is of another work")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "lpseal: child: %s: %v\n", path, err)
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.row == nil {
		p.row, p.lane = jobs.RowOf(w.request.Task.Stage), w.request.Lane
	}
	if !p.takes(w) || p.tell(question{Ask: hold, Work: w.path}, locks) != nil {
		return nil
	}
	p.hand[w] = true
	p.took++
	if p.idle != nil {
		p.idle.Stop()
	}
	together, stays := p.lane.Shares(p.row)
	p.closed = p.closed || !stays && len(p.hand) == together
	answered := make(chan struct{})
	p.works.Go(func() {
		<-answered
		p.run(w, together)
	})
	return func() { close(answered) }
}

// takes says whether w may join those in hand: the layers of one group are of one
// proof type.
func (p *proofProcess) takes(w *work) bool {
	together, _ := p.lane.Shares(p.row)
	if p.closed || len(p.hand) >= together || w.request.Task.Stage != p.row.Stage {
		return false
	}
	for other := range p.hand {
		if other.request.Fields["proof"] != w.request.Fields["proof"] {
			return false
		}
	}
	return true
}

// tell tells the shim something of a work. One that was killed can be told nothing;
// the proof process then goes on without, and its locks are enough.
func (p *proofProcess) tell(q question, files []*os.File) error {
	ok, err := p.shim.ask(q, files, answerPatience)
	if err == nil && !ok {
		err = fmt.Errorf("the shim could not note %q", q.Ask)
	}
	return err
}

// run runs a work's stage and writes its result.
func (p *proofProcess) run(w *work, together int) {
	ctx, end := context.WithCancelCause(p.ctx)
	defer end(nil)
	begin := sync.OnceFunc(func() { _ = p.tell(question{Ask: begun, Work: w.path}, nil) })
	var gather func(jobs.Prover) jobs.Prover
	if together > 1 {
		go w.heed(ctx, end)
		gather = func(prover jobs.Prover) jobs.Prover { return p.meeting.joining(prover, together, begin) }
	} else {
		begin()
	}
	stage := w.task.Stage
	crash.At(crash.Child, stage, crash.AfterClaim)

	rep := report{Work: w.task.WorkID()}
	code := exitOK
	res, err := proveStage(ctx, w.folder, &w.request, p.build, gather)
	if err == nil {
		rep.Result = res
	} else if fault, ok := classify(ctx, err); ok {
		rep.Fault = fault
	} else {
		code = exitCalled
	}
	if code == exitOK {
		crash.At(crash.Child, stage, crash.AfterRename)
		err = w.write(resultFile, &rep)
		if err != nil {
			code = exitNoReport
		}
	}
	if code != exitOK {
		fmt.Fprintf(os.Stderr, "lpseal: child: %s: %v\n", rep.Work, err)
	}
	p.end(w, code, rep.Result != nil)
}

// end lets go of a work.
func (p *proofProcess) end(w *work, code int, well bool) {
	p.mu.Lock()
	delete(p.hand, w) // before its locks are free: the next work comes at once
	last := len(p.hand) == 0
	_, stays := p.lane.Shares(p.row)
	peak := peakMemory()
	if p.first == 0 {
		p.first = peak
	}
	// A fault renews the child: what it did to the GPU, nobody knows.
	worn := !well || p.took >= worksOfOneChild || float64(peak) > growthTolerated*float64(p.first)
	p.closed = p.closed || last && !stays || worn
	over := last && p.closed
	if last && !over {
		p.idle = time.AfterFunc(p.lane.Warm, p.close)
	}
	p.mu.Unlock()

	_ = p.tell(question{Ask: ended, Work: w.path, Exit: code}, nil)
	closeAll(w.locks)
	if over {
		p.finish()
	}
}

// close takes no more works: the worker has gone, a group has begun, nothing came
// for long, or the process is told to end.
func (p *proofProcess) close() {
	p.mu.Lock()
	p.closed = true
	last := len(p.hand) == 0
	p.mu.Unlock()
	if last {
		p.finish()
	}
}

func (p *proofProcess) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.over:
	default:
		close(p.over)
	}
}

// heedEvery is how often a work that shares its process looks whether it is called
// off. One that has a process alone is sent a signal instead.
const heedEvery = 100 * time.Millisecond

// heed ends the work when it is called off.
func (w *work) heed(ctx context.Context, end context.CancelCauseFunc) {
	tick := time.NewTicker(heedEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if w.has(calledOffFile) {
				end(errCalledOff)
				return
			}
		}
	}
}

// peakMemory is the most memory that this process has had, in a unit of the system's.
func peakMemory() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Maxrss
}

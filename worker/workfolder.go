package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lpseal/lpseal/internal/durable"
	"github.com/lpseal/lpseal/internal/filelock"
	"github.com/lpseal/lpseal/jobs"
)

// The files of a work folder.
const (
	requestFile  = "request.json"  // worker: what to do
	statusFile   = "status.json"   // shim: which processes, and how they ended
	progressFile = "progress.json" // proof process: how far it is
	resultFile   = "result.json"   // proof process: what came out
	stderrFile   = "stderr"        // all that shim and proof process print; a link to their own
	lockFile     = "lock"          // held while any process has the work in hand
	// Orders to a work that shares its processes with others.
	calledOffFile = "called-off" // end, and leave the others alone
	againFile     = "again"      // the processes died for another's sake: begin anew
)

// Request is what a child is asked to do: request.json.
type Request struct {
	Work string       `json:"work"` // work id
	Task jobs.TaskRef `json:"task"`
	Lane jobs.Lane    `json:"lane"`
	Host string       `json:"host"`
	// Fields are the record at the start of the work.
	Fields map[string]string `json:"record"`
}

// Record reads the record in the request.
func (q *Request) Record() (*jobs.Record, error) { return jobs.ParseRecord(q.Fields) }

// report is result.json: a result or a fault of the work id.
type report struct {
	Work   string       `json:"work"`
	Result *jobs.Result `json:"result,omitempty"`
	Fault  *jobs.Fault  `json:"fault,omitempty"`
}

// status is status.json. It is written when the processes take the work, when they
// begin it, and when it has ended or the proof process has.
type status struct {
	Work    string    `json:"work"`
	Boot    string    `json:"boot"`  // boot id of the machine
	Group   int       `json:"group"` // process group: the shim's process id
	Start   uint64    `json:"start"` // the shim's start time, as the kernel tells it
	Since   time.Time `json:"since"` // taken, and later: begun
	Said    int64     `json:"said"`  // bytes in stderr before: of other works
	Begun   bool      `json:"begun"`
	Ended   bool      `json:"ended"`
	Exit    int       `json:"exit"` // exit code; -1 after a signal
	Signal  string    `json:"signal,omitempty"`
	OOMKill bool      `json:"oom_kill,omitempty"` // the kernel killed for memory meanwhile
}

// process names the processes of a status.
func (s *status) process() string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf("%s/%d/%d", s.Boot, s.Group, s.Start)
}

// folder is the work folder of one work id.
type folder struct {
	path string
	task jobs.TaskRef
}

func workRoot(state string) string { return filepath.Join(state, "work") }

// childRoot holds the folders of child processes: their own status, lock and stderr.
func childRoot(state string) string { return filepath.Join(state, "children") }

// folderAt is the work folder of a path. A work id is a task ID without its delivery.
func folderAt(path string) (folder, error) {
	task, err := jobs.ParseTaskRef(filepath.Base(path) + ".d0")
	return folder{path, task}, err
}

func folderOf(state string, task jobs.TaskRef) folder {
	return folder{filepath.Join(workRoot(state), task.WorkID()), task}
}

// folders lists the host's work folders.
func folders(state string) ([]folder, error) { return foldersIn(workRoot(state)) }

func foldersIn(root string) (out []folder, err error) {
	names, err := subfolders(root)
	for _, name := range names {
		if f, err := folderAt(filepath.Join(root, name)); err == nil { // anything else is not ours
			out = append(out, f)
		}
	}
	return out, err
}

// childFolders lists the folders of child processes, those that live and those that
// have left something.
func childFolders(state string) (out []folder, err error) {
	names, err := subfolders(childRoot(state))
	for _, name := range names {
		out = append(out, folder{path: filepath.Join(childRoot(state), name)})
	}
	return out, err
}

func subfolders(root string) (names []string, err error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// work is the folder's work id; a child's own folder has none.
func (f folder) work() string {
	if f.task.Stage == "" {
		return ""
	}
	return f.task.WorkID()
}

func (f folder) file(name string) string { return filepath.Join(f.path, name) }

// lock takes the folder for a new run, or returns nil while processes of an
// earlier one live. Another worker's sweep may remove the folder at any time before:
// a lock on a file that is gone would be no lock.
func (f folder) lock() (*os.File, error) {
	for {
		if err := os.MkdirAll(f.path, 0o755); err != nil {
			return nil, fmt.Errorf("work folder: %w", err)
		}
		l, err := filelock.Try(f.file(lockFile), filelock.Exclusive)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, filelock.ErrHeld):
			if f.live() {
				return nil, nil
			}
			time.Sleep(time.Millisecond) // somebody looks whether it lives
			continue
		case err != nil:
			return nil, err
		}
		held, err := l.Stat()
		if err == nil {
			var there os.FileInfo
			if there, err = os.Stat(f.file(lockFile)); err == nil && os.SameFile(held, there) {
				return l, nil
			}
		}
		_ = l.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("work folder: %w", err)
		}
	}
}

// live says whether any process of the work lives. It looks with a shared lock, so
// that two who look do not take each other for the work.
func (f folder) live() bool {
	l, err := filelock.Try(f.file(lockFile), filelock.Shared)
	if err == nil {
		filelock.Release(l)
	}
	return errors.Is(err, filelock.ErrHeld)
}

// reset removes what an earlier run left: its fault is not this run's, and what it was asked
// holds no room until this one is.
func (f folder) reset() error {
	for _, name := range []string{requestFile, resultFile, statusFile, progressFile, stderrFile, calledOffFile, againFile} {
		if err := os.Remove(f.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("work folder: %w", err)
		}
	}
	return nil
}

// has says whether the folder has a file.
func (f folder) has(name string) bool {
	_, err := os.Stat(f.file(name))
	return err == nil
}

// printed is how much the processes have printed.
func (f folder) printed() int64 {
	info, err := os.Stat(f.file(stderrFile))
	if err != nil {
		return 0
	}
	return info.Size()
}

// read reads one of the folder's JSON files; ok is false while there is none.
func (f folder) read(name string, v any) (ok bool, err error) {
	b, err := os.ReadFile(f.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return false, fmt.Errorf("work folder: %s: %w", name, err)
	}
	return true, nil
}

// write replaces one of the folder's JSON files at once, and is durable when it
// returns.
func (f folder) write(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain values always marshal
	}
	if err := f.replace(name, b, true); err != nil {
		return fmt.Errorf("work folder: %w", err)
	}
	return nil
}

func (f folder) replace(name string, b []byte, lasting bool) error {
	temp := f.file("." + name)
	file, err := os.Create(temp)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	if err == nil && lasting {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if lasting {
		return durable.Rename(temp, f.file(name))
	}
	return os.Rename(temp, f.file(name))
}

// report reads the result of this work id, if there is one.
func (f folder) report() (*report, error) {
	var r report
	if ok, err := f.read(resultFile, &r); !ok {
		return nil, err
	}
	if r.Work != f.task.WorkID() || (r.Result == nil) == (r.Fault == nil) {
		return nil, fmt.Errorf("work folder: %s is not a result of %s", resultFile, f.task.WorkID())
	}
	return &r, nil
}

// finished says that there is a result to be used.
func (f folder) finished() bool {
	rep, err := f.report()
	return err == nil && rep != nil && rep.Result != nil
}

// status reads the status of processes of this boot; a machine that was started
// again has none of them.
func (f folder) status() (*status, error) {
	var s status
	if ok, err := f.read(statusFile, &s); !ok {
		return nil, err
	}
	if boot, err := bootID(); err != nil || s.Boot != boot || s.Work != f.work() {
		return nil, err
	}
	return &s, nil
}

// mostWords is how much of a process' output is looked at for its end, in bytes: a Go
// runtime's dump of all goroutines may be long.
const mostWords = 256 << 10

// words are the last words of the processes: what they printed about their end.
// What they said of earlier works is not this one's.
func (f folder) words() string {
	file, err := os.Open(f.file(stderrFile))
	if err != nil {
		return ""
	}
	defer file.Close()
	var from int64
	if st, err := f.status(); err == nil && st != nil {
		from = st.Said
	}
	_, _ = file.Seek(max(from, f.printed()-mostWords), io.SeekStart)
	b, _ := io.ReadAll(io.LimitReader(file, mostWords))
	return lastWords(strings.ToValidUTF8(string(b), "?"))
}

package params

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpseal/lpseal/internal/durable"
	"github.com/lpseal/lpseal/internal/filelock"
	"github.com/lpseal/lpseal/jobs"
)

// Sources are IPFS gateways that have the files. $IPFS_GATEWAY, which lotus knows
// too, is asked before them.
var Sources = []string{
	"https://proofs.filecoin.io/ipfs/",
	"https://ipfs.io/ipfs/",
	"https://dweb.link/ipfs/",
}

const (
	partSuffix = ".part"
	// stall is how long a source may give nothing before the next one is asked.
	stall = time.Minute
	// rounds is how often all sources are asked for one file. Each goes on where
	// the last one stopped.
	rounds = 3
	// pause lies before the second round, twice as much before the third: a gateway that
	// looks for a file answers with an error at first, or asks for patience.
	pause = time.Second
)

// Fetcher gets files.
type Fetcher struct {
	Sources []string     // base URLs, asked in this order; empty means [Sources]
	Client  *http.Client // nil means the default one
	Stall   time.Duration
	Pause   time.Duration // between rounds; 0 is one second
	Report  Report
	free    func(dir string) (uint64, error) // bytes on its disk; nil asks the system
}

// Fetch gets those files that are missing, partial or wrong, checks each and puts it
// in its place. What was fetched before a break is kept and continued.
func (d Dir) Fetch(ctx context.Context, files []File, f Fetcher) error {
	if len(f.Sources) == 0 {
		if own := os.Getenv("IPFS_GATEWAY"); own != "" {
			f.Sources = append(f.Sources, own)
		}
		f.Sources = append(f.Sources, Sources...)
	}
	if f.Client == nil {
		f.Client = http.DefaultClient
	}
	if f.Stall == 0 {
		f.Stall = stall
	}
	if f.Pause == 0 {
		f.Pause = pause
	}
	if f.free == nil {
		f.free = freeSpace
	}
	if err := os.MkdirAll(string(d), 0o755); err != nil {
		return fmt.Errorf("parameters: %w", err)
	}
	all, err := d.Check(ctx, files, false, f.Report)
	if err != nil {
		return err
	}
	for _, s := range all {
		switch s.State {
		case Production:
			continue
		case Test:
			return fmt.Errorf("fetch %s: %s holds test parameters: give another folder with --dir", s.Name, d)
		}
		if err := f.file(ctx, d, s.File); err != nil {
			return fmt.Errorf("fetch %s: %w", s.Name, err)
		}
	}
	return nil
}

// file fetches one file from the first source that gives it whole and right.
func (f Fetcher) file(ctx context.Context, d Dir, want File) error {
	part, err := filelock.Try(d.path(want.Name+partSuffix), filelock.Exclusive)
	if errors.Is(err, filelock.ErrHeld) {
		return errors.New("another lpseal fetches it")
	}
	if err != nil {
		return err
	}
	defer filelock.Release(part)
	var failed []error
	for round := range rounds {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(round) * f.Pause):
		}
		for _, source := range f.Sources {
			err := f.from(ctx, source, part, want)
			if err == nil {
				return f.keep(d, part, want)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, unix.ENOSPC) {
				return fmt.Errorf("%w: free space or give another folder with --dir", err)
			}
			failed = append(failed, fmt.Errorf("%s: %w", source, err))
		}
	}
	return errors.Join(failed[len(failed)-len(f.Sources):]...)
}

// from appends to part what the source has behind it, and checks the whole.
func (f Fetcher) from(ctx context.Context, source string, part *os.File, want File) error {
	have, err := part.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	coming, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(f.Stall, func() { cancel(fmt.Errorf("nothing came for %s", f.Stall)) })
	defer timer.Stop()
	req, err := http.NewRequestWithContext(coming, http.MethodGet, strings.TrimSuffix(source, "/")+"/"+want.CID, nil)
	if err != nil {
		return err
	}
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	res, err := f.Client.Do(req)
	if err != nil {
		return orCause(coming, err)
	}
	defer res.Body.Close()
	total := uint64(0)
	switch res.StatusCode {
	case http.StatusPartialContent:
		first, whole, ok := contentRange(res.Header.Get("Content-Range"))
		if !ok || first != have {
			return fmt.Errorf("asked from byte %d, got Content-Range %q", have, res.Header.Get("Content-Range"))
		}
		total = uint64(whole)
	case http.StatusOK: // it knows no ranges: from the start
		if have, err = 0, restart(part); err != nil {
			return err
		}
		total = uint64(max(0, res.ContentLength))
	case http.StatusRequestedRangeNotSatisfiable: // all is there: the digest decides, and may take its time
		return f.verify(ctx, part, want)
	default:
		return fmt.Errorf("HTTP status %s", res.Status)
	}
	if err := f.room(part, total-min(total, uint64(have))); err != nil {
		return err
	}
	report := f.Report.of(want.Name)
	body := &meter{res.Body, func(n int) {
		timer.Reset(f.Stall)
		have += int64(n)
		report(uint64(have), total)
	}}
	if _, err := io.Copy(part, body); err != nil {
		return orCause(coming, err)
	}
	if total > 0 && uint64(have) < total {
		return fmt.Errorf("ended after %d of %d bytes", have, total)
	}
	return f.verify(ctx, part, want)
}

// room sees that what is still to come has space, before hours are spent on it.
func (f Fetcher) room(part *os.File, need uint64) error {
	free, err := f.free(filepath.Dir(part.Name()))
	if err == nil && need > free {
		err = fmt.Errorf("%w: %s are still to come, and %s are free", unix.ENOSPC, jobs.Bytes(need), jobs.Bytes(free))
	}
	return err
}

func freeSpace(dir string) (uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, fmt.Errorf("free space: %w", err)
	}
	return fs.Bavail * uint64(fs.Bsize), nil
}

// verify compares the digest. A wrong file is thrown away: no one can tell from
// which byte on it is wrong.
func (f Fetcher) verify(ctx context.Context, part *os.File, want File) error {
	got, err := fileDigest(ctx, part.Name(), func(uint64, uint64) {})
	if err != nil {
		return err
	}
	if got != want.Digest {
		return errors.Join(fmt.Errorf("digest is %s, not %s", got, want.Digest), restart(part))
	}
	return nil
}

func (f Fetcher) keep(d Dir, part *os.File, want File) error {
	if err := part.Sync(); err != nil {
		return err
	}
	if err := durable.Rename(part.Name(), d.path(want.Name)); err != nil {
		return err
	}
	info, err := os.Stat(d.path(want.Name))
	if err != nil {
		return err
	}
	n, err := d.notes()
	if err != nil {
		return err
	}
	n.known[want.Name] = checked{versionOf(info), want.Digest}
	return n.save()
}

func restart(f *os.File) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return f.Truncate(0)
}

// orCause prefers why a context was ended to what its end looked like.
func orCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// contentRange reads "bytes FIRST-LAST/WHOLE".
func contentRange(s string) (first, whole int64, ok bool) {
	rest, ok1 := strings.CutPrefix(s, "bytes ")
	span, size, ok2 := strings.Cut(rest, "/")
	from, _, ok3 := strings.Cut(span, "-")
	first, err1 := strconv.ParseInt(from, 10, 64)
	whole, err2 := strconv.ParseInt(size, 10, 64)
	return first, whole, ok1 && ok2 && ok3 && err1 == nil && err2 == nil
}

type meter struct {
	io.Reader
	told func(n int)
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.told(n)
	return n, err
}

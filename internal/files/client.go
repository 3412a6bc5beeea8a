package files

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lpseal/lpseal/jobs"
)

// fruitless is how many attempts in a row may move no byte before a transfer is
// given up; the poller's back-off takes over then.
const fruitless = 3

// peerTransport bounds how long a host may take to be reached. There is no bound on
// the answer: the peer may be hashing a sector.
func peerTransport() *http.Transport {
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: 10 * time.Second,
		MaxIdleConnsPerHost:   4,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true, // sizes and ranges are of the bytes on disk
	}
}

// peer is a file service and the paths behind it.
type peer struct {
	host, url string
	paths     []jobs.Path
}

// peers lists the live file services that serve paths this host does not. The error
// says who could not be asked.
func (h *Host) peers(ctx context.Context) ([]peer, error) {
	if h.Peers == nil {
		return nil, nil
	}
	workers, err := h.Peers(ctx)
	if err != nil {
		return nil, fmt.Errorf("list live workers: %w", err)
	}
	var out []peer
	var silent error
	seen := map[string]bool{}
	// Several workers of a host serve the same paths: one with a file service will do.
	for _, serving := range []bool{true, false} {
		for _, w := range workers {
			if serving != (w.FileURL != "") {
				continue
			}
			p := peer{host: w.Host, url: w.FileURL}
			for _, path := range w.Paths {
				if h.root(path.ID) == nil && !seen[path.ID] {
					seen[path.ID] = true
					p.paths = append(p.paths, path)
				}
			}
			switch {
			case len(p.paths) == 0:
			case serving:
				out = append(out, p)
			default:
				silent = fmt.Errorf("worker %s serves paths but no files; set worker.file_service.listen there", w.Name())
			}
		}
	}
	return out, silent
}

// depot finds a storage path by its id, here or on another host.
func (h *Host) depot(ctx context.Context, path string) (depot, error) {
	p, err := h.served(path)
	switch {
	case err != nil:
		return nil, err
	case p != nil:
		return localDepot{h, p}, nil
	}
	return h.remote(ctx, path)
}

// remote finds the host that serves a path.
func (h *Host) remote(ctx context.Context, path string) (remoteDepot, error) {
	peers, unasked := h.peers(ctx)
	for _, p := range peers {
		if slices.ContainsFunc(p.paths, func(d jobs.Path) bool { return d.ID == path }) {
			return remoteDepot{h, p, path}, nil
		}
	}
	if unasked != nil {
		return remoteDepot{}, jobs.Failf(jobs.Transient, "no host is known to serve path %s: %w", path, unasked)
	}
	return remoteDepot{}, jobs.Failf(jobs.Transient, "no live host serves path %s; start the worker of the host that has the disk", path)
}

// chooseRemote picks a storage path of another host. need is the size of all files.
func (h *Host) chooseRemote(ctx context.Context, r *jobs.Record, all []lasting, need uint64) (depot, string, error) {
	unseen := h.away()
	peers, unasked := h.peers(ctx)
	if unasked != nil {
		unseen = append(unseen, jobs.TextOf(unasked))
	}
	type choice struct {
		remoteDepot
		begun bool
		free  uint64
	}
	var choices []choice
	for _, p := range peers {
		held, err := h.askHoldings(ctx, p, r.ID)
		if err != nil {
			if ctx.Err() != nil {
				return nil, "", ctx.Err()
			}
			unseen = append(unseen, jobs.TextOf(err))
			continue
		}
		for _, have := range held {
			if have.Away != "" {
				unseen = append(unseen, have.Away)
			}
			i := slices.IndexFunc(p.paths, func(d jobs.Path) bool { return d.ID == have.Path })
			if i < 0 || !have.Accepts {
				continue
			}
			if free := p.paths[i].Free; have.Begun && free >= have.lacks(all) || free >= need {
				choices = append(choices, choice{remoteDepot{h, p, have.Path}, have.Begun, free})
			}
		}
	}
	if len(choices) == 0 {
		text := "no storage path of this or another live host takes it and has %s free; free space or attach one: lpseal storage attach --init --store DIR"
		if len(unseen) > 0 {
			text += " (not seen: " + strings.Join(unseen, "; ") + ")"
		}
		return nil, "", jobs.Failf(jobs.Busy, text, jobs.Bytes(need))
	}
	best := slices.MinFunc(choices, func(a, b choice) int {
		if a.begun != b.begun {
			if a.begun {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.free, a.free)
	})
	return best.remoteDepot, best.path, nil
}

// asker is whose claim a request is made under; the zero value is nobody's.
type asker struct {
	stage jobs.Stage
	fence int
}

func askerOf(r *jobs.Record, s jobs.Stage) asker { return asker{s, r.Stage(s).Fence} }

// do sends one signed request. An answer that is no success comes back as the fault
// that the peer wrote.
func (h *Host) do(ctx context.Context, p peer, method, uri string, who asker, change func(*http.Request)) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.url+uri, nil)
	if err != nil {
		return nil, fmt.Errorf("file service of host %s: %w", p.host, err)
	}
	if who.stage != "" {
		req.Header.Set(stageHeader, string(who.stage))
		req.Header.Set(fenceHeader, strconv.Itoa(who.fence))
	}
	if change != nil {
		change(req)
	}
	sign(h.Secret, req, h.Clock.Now())
	resp, err := h.client.Do(req)
	if err != nil {
		return nil, unreachable(ctx, p, err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	fault := &jobs.Fault{}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if json.Unmarshal(b, fault) != nil || fault.Class == "" {
		fault = jobs.Failf(jobs.Transient, "answered %s", resp.Status)
	}
	return nil, fmt.Errorf("file service of host %s: %w", p.host, fault)
}

// unreachable is a transfer that may do better later, unless it was called off.
func unreachable(ctx context.Context, p peer, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errStalled) {
		return cause
	}
	return jobs.Failf(jobs.Transient, "file service of host %s at %s: %w", p.host, p.url, err)
}

func sectorURI(id jobs.SectorID, rest ...string) string {
	uri := "/v1/sectors/" + url.PathEscape(id.String())
	for _, s := range rest {
		uri += "/" + url.PathEscape(s)
	}
	return uri
}

func (h *Host) askHoldings(ctx context.Context, p peer, id jobs.SectorID) ([]holding, error) {
	resp, err := h.do(ctx, p, http.MethodGet, sectorURI(id), asker{}, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var out []holding
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&out); err != nil {
		return nil, unreachable(ctx, p, err)
	}
	return out, nil
}

func (h *Host) fetchC1(ctx context.Context, r *jobs.Record) ([]byte, error) {
	from, err := h.remote(ctx, r.Home)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = h.fetchWhole(ctx, from, r.ID, jobs.C1File, askerOf(r, jobs.C2), r.C1Digest, &b)
	return b.Bytes(), err
}

// whereStored gives the path of a stored file on this host, or the host that has it.
func (h *Host) whereStored(ctx context.Context, r *jobs.Record, name string) (path string, from *remoteDepot, err error) {
	path, err = h.Stored(r, name)
	var fault *jobs.Fault
	if !errors.As(err, &fault) || fault.Class != jobs.Busy {
		return path, nil, err
	}
	other, err := h.remote(ctx, r.Stored.Path)
	return "", &other, err
}

// Fetch writes a stored file to w, from this host or another, and fails if its
// digest is not the record's: what was written is to be believed only then.
func (h *Host) Fetch(ctx context.Context, r *jobs.Record, name string, w io.Writer) (err error) {
	defer blame(&err, "fetch "+name+" of", r.ID)
	path, from, err := h.whereStored(ctx, r, name)
	if err != nil {
		return err
	}
	if from != nil {
		return h.fetchWhole(ctx, *from, r.ID, name, asker{}, r.Stored.Digests[name], w)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := digestOf(ctx, io.TeeReader(f, w))
	return cmp.Or(err, differs(path, got, r.Stored.Digests[name]))
}

// FetchRange writes bytes [offset, offset+size) of a stored file to their own places in
// w, and moves no others; from this host or another. What is not whole has no digest to
// be compared with: it is as good as the disk and the line.
func (h *Host) FetchRange(ctx context.Context, r *jobs.Record, name string, offset, size int64, w io.WriterAt) (err error) {
	defer blame(&err, fmt.Sprintf("fetch %d bytes of %s of", size, name), r.ID)
	if size <= 0 {
		return nil
	}
	to := io.NewOffsetWriter(w, offset)
	path, from, err := h.whereStored(ctx, r, name)
	if err != nil {
		return err
	}
	if from != nil {
		return h.fetch(ctx, *from, r.ID, name, asker{}, span{offset, size}, to)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(to, io.NewSectionReader(f, offset, size), size); errors.Is(err, io.EOF) {
		return jobs.Failf(jobs.Input, "%s ends before byte %d", path, offset+size)
	} else {
		return err
	}
}

func differs(path, got, want string) error {
	if got == want {
		return nil
	}
	return jobs.Failf(jobs.Input, "%s has SHA-256 %s, not %s", path, got, want)
}

// noRedirect keeps signed requests with the host they were signed for.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/lpseal/lpseal/jobs"
)

// remoteDepot is a storage path of another host.
type remoteDepot struct {
	*Host
	peer peer
	path string
}

func (d remoteDepot) send(ctx context.Context, r *jobs.Record, f lasting, report func(int64)) error {
	src, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer src.Close()
	uri := sectorURI(r.ID, d.path, f.name, "arrival") + transferQuery(f.size, f.digest)
	return d.upload(ctx, d.peer, uri, askerOf(r, jobs.Store), src, f.size, report)
}

func (d remoteDepot) place(ctx context.Context, r *jobs.Record, digests map[string]string) error {
	body, err := json.Marshal(digests)
	if err != nil {
		return err
	}
	resp, err := d.do(ctx, d.peer, http.MethodPost, sectorURI(r.ID, d.path, "place"), askerOf(r, jobs.Store), func(req *http.Request) {
		req.Body = io.NopCloser(bytes.NewReader(body))
		req.ContentLength = int64(len(body))
		req.Header.Set(bodyHeader, hex.EncodeToString(sumOf(body)))
	})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (d remoteDepot) holds(ctx context.Context, r *jobs.Record) (map[string]string, error) {
	held, err := d.askHoldings(ctx, d.peer, r.ID)
	if err != nil {
		return nil, err
	}
	for _, have := range held {
		if have.Path == d.path {
			return have.Stored, nil
		}
	}
	return nil, jobs.Failf(jobs.Transient, "host %s does not serve path %s any more", d.peer.host, d.path)
}

func transferQuery(size int64, digest string) string {
	return "?" + url.Values{"size": {strconv.FormatInt(size, 10)}, "sha256": {digest}}.Encode()
}

// persist runs one attempt of a transfer after the other while they get further. An
// attempt says how many bytes it knows to be across, and whether that is all.
func persist(ctx context.Context, attempt func() (across int64, done bool, err error)) error {
	best := int64(-1)
	for idle := 0; ; {
		across, done, err := attempt()
		var fault *jobs.Fault
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && (!errors.As(err, &fault) || fault.Class != jobs.Transient):
			return err
		case done:
			return err
		case across > best:
			best, idle = across, 0
		default:
			if idle++; idle >= fruitless {
				return err
			}
		}
	}
}

// upload sends src, from where the receiver's copy ends, until it has all of it.
func (h *Host) upload(ctx context.Context, to peer, uri string, who asker, src io.ReaderAt, size int64, report func(int64)) error {
	return persist(ctx, func() (across int64, done bool, err error) {
		have, err := h.askArrival(ctx, to, http.MethodGet, uri, who, nil)
		if err != nil || have.Done || have.Offset >= size {
			return 0, err == nil, err
		}
		offset := have.Offset
		ctx, dog, cancel := watched(ctx, h.Stall)
		defer cancel()
		body := &outgoing{from: io.NewSectionReader(src, offset, size-offset), dog: dog, report: func(n int64) { report(offset + n) }}
		defer body.Close()
		dog.kick()
		now, err := h.askArrival(ctx, to, http.MethodPut, uri, who, func(req *http.Request) {
			req.Body = body
			req.ContentLength = size - offset
			req.Header.Set(offsetHeader, strconv.FormatInt(offset, 10))
			req.Header.Set("Expect", "100-continue") // a refusal comes before gigabytes go
		})
		return have.Offset, err == nil && now.Offset == size, err
	})
}

// arrivalState is how much of a file the receiver has.
type arrivalState struct {
	Offset int64 `json:"offset"`
	Done   bool  `json:"done,omitempty"` // it has its name already
	// Source is where a piece lies once it is whole: what Piece.Source is set to.
	Source string `json:"source,omitempty"`
}

func (h *Host) askArrival(ctx context.Context, p peer, method, uri string, who asker, change func(*http.Request)) (out arrivalState, err error) {
	resp, err := h.do(ctx, p, method, uri, who, change)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return out, unreachable(ctx, p, err)
	}
	return out, nil
}

// fetchWhole writes a file of another host to w and compares its digest.
func (h *Host) fetchWhole(ctx context.Context, from remoteDepot, id jobs.SectorID, name string, who asker, want string, w io.Writer) error {
	sum := sha256.New()
	if err := h.fetch(ctx, from, id, name, who, span{}, io.MultiWriter(w, sum)); err != nil {
		return err
	}
	return differs(name+" from host "+from.peer.host, hex.EncodeToString(sum.Sum(nil)), want)
}

// span is a part of a file in bytes; the zero value is all of it.
type span struct{ offset, size int64 }

// header asks for what is left of the span after so many bytes; empty asks for the whole
// file.
func (s span) header(across int64) string {
	switch {
	case s.size > 0:
		return fmt.Sprintf("bytes=%d-%d", s.offset+across, s.offset+s.size-1)
	case across > 0:
		return fmt.Sprintf("bytes=%d-", across)
	}
	return ""
}

// fetch writes a part of another host's file to w, going on after a cut.
func (h *Host) fetch(ctx context.Context, from remoteDepot, id jobs.SectorID, name string, who asker, part span, w io.Writer) error {
	var across int64
	etag := ""
	uri := sectorURI(id, from.path, name)
	return persist(ctx, func() (int64, bool, error) {
		ctx, dog, cancel := watched(ctx, h.Stall)
		defer cancel()
		dog.kick()
		wanted := part.header(across)
		resp, err := h.do(ctx, from.peer, http.MethodGet, uri, who, func(req *http.Request) {
			if wanted != "" {
				req.Header.Set("Range", wanted)
			}
			if etag != "" {
				req.Header.Set("If-Range", etag)
			}
		})
		if err != nil {
			return across, false, err
		}
		defer resp.Body.Close()
		if (resp.StatusCode == http.StatusPartialContent) != (wanted != "") {
			return across, true, jobs.Failf(jobs.Transient, "%s of %s changed on host %s while it was read", name, id, from.peer.host)
		}
		etag = resp.Header.Get("ETag")
		n, err := io.Copy(w, incoming{resp.Body, dog})
		across += n
		if err != nil {
			return across, false, unreachable(ctx, from.peer, err)
		}
		if part.size > 0 && across != part.size {
			return across, true, jobs.Failf(jobs.Input, "%s of %s on host %s ends %d bytes before what was asked of it", name, id, from.peer.host, part.size-across)
		}
		return across, true, nil
	})
}

// UploadPiece brings a file to a path, here or on another host, and returns where it
// lies there: the Source of a piece. The same bytes are brought once, and stay until
// the last sector that names them is finalized or removed.
func (h *Host) UploadPiece(ctx context.Context, path, file string, report func(done int64)) (source string, err error) {
	defer func() { err = Classify(err, "upload "+file) }()
	if report == nil {
		report = func(int64) {}
	}
	src, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return "", err
	}
	digest, err := digestOf(ctx, src)
	if err != nil {
		return "", err
	}
	p, err := h.served(path)
	if err != nil {
		return "", err
	}
	if p == nil {
		to, err := h.remote(ctx, path)
		if err != nil {
			return "", err
		}
		uri := "/v1/pieces/" + digest + "?" + url.Values{"size": {strconv.FormatInt(info.Size(), 10)}, "path": {path}}.Encode()
		if err := h.upload(ctx, to.peer, uri, asker{}, src, info.Size(), report); err != nil {
			return "", err
		}
		placed, err := h.askArrival(ctx, to.peer, http.MethodPost, uri, asker{}, nil)
		return placed.Source, err
	}
	if source, ok, err := h.brought(ctx, p, digest); ok || err != nil {
		return source, err
	}
	dst, err := h.disk.open(p.pieceArrival(digest), 0)
	if err != nil {
		return "", err
	}
	if err := errors.Join(h.disk.fill(ctx, dst, src, info.Size(), report), dst.Close()); err != nil {
		return "", err
	}
	return h.placePiece(ctx, p, digest)
}

// piece is where uploaded data lies, and whether it does.
func (p *root) piece(digest string) (string, bool) {
	path := filepath.Join(p.dir, piecesDir, digest)
	_, err := os.Stat(path)
	return path, err == nil
}

func (p *root) pieceArrival(digest string) string {
	return filepath.Join(p.dir, fetchingDir, "piece."+digest)
}

// placePiece verifies data that arrived and gives it its name.
func (h *Host) placePiece(ctx context.Context, p *root, digest string) (string, error) {
	path, _ := p.piece(digest)
	if _, err := h.arrived(ctx, p.pieceArrival(digest), digest); err != nil {
		return "", err
	}
	return path, h.disk.rename(p.pieceArrival(digest), path)
}

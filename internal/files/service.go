package files

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/lpseal/lpseal/internal/filelock"
	"github.com/lpseal/lpseal/jobs"
)

// Handler is the file service. A request names a sector, a path id and a file; each
// is parsed or looked up in a closed set before it becomes part of a file name, and
// nothing is looked at before the signature holds.
//
//	GET  /v1/sectors/SECTOR                          what each path holds of it, verified
//	GET  /v1/sectors/SECTOR/PATH/FILE                a file; Range and If-Range resume
//	GET  /v1/sectors/SECTOR/PATH/FILE/arrival        how much of an upload is there
//	PUT  /v1/sectors/SECTOR/PATH/FILE/arrival        the rest of it
//	POST /v1/sectors/SECTOR/PATH/place               verify all that arrived, then name it
//	GET, PUT and POST /v1/pieces/SHA256              the same for a piece's data
//
// Errors are JSON of [jobs.Fault].
func (h *Host) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, serve := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /v1/sectors/{sector}":                       h.serveHoldings,
		"GET /v1/sectors/{sector}/{path}/{file}":         h.serveFile,
		"GET /v1/sectors/{sector}/{path}/{file}/arrival": h.serveArrival,
		"PUT /v1/sectors/{sector}/{path}/{file}/arrival": h.serveArrival,
		"POST /v1/sectors/{sector}/{path}/place":         h.servePlace,
		"GET /v1/pieces/{sha256}":                        h.servePiece,
		"PUT /v1/pieces/{sha256}":                        h.servePiece,
		"POST /v1/pieces/{sha256}":                       h.servePiece,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := serve(w, r); err != nil {
				h.answer(w, r, err)
			}
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := verify(h.Secret, r, h.Clock.Now()); err != nil {
			h.answer(w, r, refusal{http.StatusUnauthorized, jobs.Failf(jobs.Busy, "host %s refuses the request: %w", h.Host, err)})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// refusal is a fault with a status of its own.
type refusal struct {
	status int
	*jobs.Fault
}

func (r refusal) Unwrap() error { return r.Fault }

func refuse(status int, format string, args ...any) error {
	return refusal{status, jobs.Failf(jobs.Rejected, format, args...)}
}

// answer writes an error as the fault that the asking stage ends with.
func (h *Host) answer(w http.ResponseWriter, r *http.Request, err error) {
	err = Classify(err, r.Method+" "+r.URL.Path)
	status := http.StatusInternalServerError
	var why refusal
	fault, ok := jobs.Classify(r.Context(), err)
	switch {
	case errors.As(err, &why):
		status, fault = why.status, why.Fault
	case !ok:
		return // the asker is gone
	case fault.Missing:
		status = http.StatusNotFound
	case fault.Class == jobs.Busy:
		status = http.StatusServiceUnavailable
	}
	h.Log.Warn("a file request was refused", "remote", r.RemoteAddr, "status", status, "err", err)
	writeJSON(w, status, fault)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the asker may be gone
}

// sector parses the sector and checks that the asker's claim still stands: a worker
// that lost its lease may not know it yet (design rule 3).
func (h *Host) sector(r *http.Request) (jobs.SectorID, error) {
	id, err := jobs.ParseSectorID(r.PathValue("sector"))
	if err != nil {
		return id, refuse(http.StatusBadRequest, "%w", err)
	}
	name := r.Header.Get(stageHeader)
	if name == "" {
		if r.Method != http.MethodGet {
			return id, refuse(http.StatusBadRequest, "a write names its stage and fence")
		}
		return id, nil
	}
	stage, err := jobs.ParseStage(name)
	if err != nil {
		return id, refuse(http.StatusBadRequest, "%w", err)
	}
	fence, err := strconv.Atoi(r.Header.Get(fenceHeader))
	if err != nil {
		return id, refuse(http.StatusBadRequest, "the fence is no number")
	}
	if h.Fence == nil {
		return id, nil
	}
	now, err := h.Fence(r.Context(), id, stage)
	if err != nil {
		return id, jobs.Failf(jobs.Transient, "read the fence of %s: %w", id, err)
	}
	if fence < now {
		return id, refuse(http.StatusConflict, "the claim is stale: %s of %s has fence %d, the request comes from fence %d", stage, id, now, fence)
	}
	return id, nil
}

// path looks a path up by its id.
func (h *Host) path(id string) (*root, error) {
	p, err := h.served(id)
	if p != nil || err != nil {
		return p, err
	}
	return nil, refuse(http.StatusNotFound, "host %s has no path with this id", h.Host)
}

// file checks a file's name against the closed set.
func file(r *http.Request) (string, error) {
	name := r.PathValue("file")
	if !knownFiles[name] {
		return "", refuse(http.StatusBadRequest, "%q is not a file of a sector", name)
	}
	return name, nil
}

func (h *Host) serveHoldings(w http.ResponseWriter, r *http.Request) error {
	id, err := h.sector(r)
	if err != nil {
		return err
	}
	held, err := h.holdings(r.Context(), id)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, held)
	return nil
}

// target is the sector, path and file of a request.
func (h *Host) target(r *http.Request) (id jobs.SectorID, p *root, name string, err error) {
	if id, err = h.sector(r); err != nil {
		return id, nil, "", err
	}
	if p, err = h.path(r.PathValue("path")); err != nil {
		return id, nil, "", err
	}
	name, err = file(r)
	return id, p, name, err
}

func (h *Host) serveFile(w http.ResponseWriter, r *http.Request) error {
	id, p, name, err := h.target(r)
	if err != nil {
		return err
	}
	f, err := os.Open(p.file(id, name))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	s := stampOf(info)
	w.Header().Set("ETag", fmt.Sprintf(`"%x-%x-%x"`, s.Inode, s.Size, s.MTime))
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", info.ModTime(), f)
	return nil
}

func (h *Host) serveArrival(w http.ResponseWriter, r *http.Request) error {
	id, p, name, err := h.target(r)
	if err != nil {
		return err
	}
	if !p.accepts(id, []string{name}) {
		return refusal{http.StatusForbidden, jobs.Failf(jobs.Busy, "path %s stores no such file of this miner; see its %s", p.dir, MetaFile)}
	}
	digest := r.URL.Query().Get("sha256")
	if !sha256Hex.MatchString(digest) {
		return refuse(http.StatusBadRequest, "%q is not a SHA-256 in hex", digest)
	}
	// Placed by an earlier run: nothing is to be sent again.
	if got, _, err := h.hash(r.Context(), p.file(id, name)); err == nil && got == digest {
		writeJSON(w, http.StatusOK, arrivalState{Done: true})
		return nil
	}
	state, err := h.receive(w, r, p, p.arrival(id, name, digest))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, state)
	return nil
}

func (h *Host) servePlace(w http.ResponseWriter, r *http.Request) error {
	id, err := h.sector(r)
	if err != nil {
		return err
	}
	p, err := h.path(r.PathValue("path"))
	if err != nil {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<16))
	if err != nil || hex.EncodeToString(sumOf(body)) != r.Header.Get(bodyHeader) {
		return refuse(http.StatusBadRequest, "the body is not the one that was signed")
	}
	var digests map[string]string
	if err := json.Unmarshal(body, &digests); err != nil {
		return refuse(http.StatusBadRequest, "digests: %w", err)
	}
	for name, digest := range digests {
		if !knownFiles[name] || !sha256Hex.MatchString(digest) || !p.accepts(id, []string{name}) {
			return refuse(http.StatusBadRequest, "%q with digest %q cannot be stored on path %s", name, digest, p.dir)
		}
	}
	if err := h.place(r.Context(), p, id, digests); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, digests)
	return nil
}

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (h *Host) servePiece(w http.ResponseWriter, r *http.Request) error {
	digest := r.PathValue("sha256")
	if !sha256Hex.MatchString(digest) {
		return refuse(http.StatusBadRequest, "%q is not a SHA-256 in hex", digest)
	}
	p, err := h.path(r.URL.Query().Get("path"))
	if err != nil {
		return err
	}
	if source, ok, err := h.brought(r.Context(), p, digest); err != nil {
		return err
	} else if ok {
		writeJSON(w, http.StatusOK, arrivalState{Done: true, Source: source})
		return nil
	}
	if r.Method == http.MethodPost {
		source, err := h.placePiece(r.Context(), p, digest)
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, arrivalState{Done: true, Source: source})
		return nil
	}
	state, err := h.receive(w, r, p, p.pieceArrival(digest))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, state)
	return nil
}

// sizeOf is the whole size of what is sent, or -1.
func sizeOf(r *http.Request) int64 {
	n, err := strconv.ParseInt(r.URL.Query().Get("size"), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// receive appends a PUT's body to an arrival and says how much of it is there; a GET
// only asks. What came before a cut is kept: the sender goes on from there.
func (h *Host) receive(w http.ResponseWriter, r *http.Request, p *root, path string) (state arrivalState, err error) {
	if r.Method == http.MethodGet {
		info, err := os.Stat(path)
		if err == nil {
			state.Offset = info.Size()
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return state, err
	}
	size := sizeOf(r)
	offset, err := strconv.ParseInt(r.Header.Get(offsetHeader), 10, 64)
	if err != nil || size < 0 || offset < 0 || offset > size || r.ContentLength != size-offset {
		return state, refuse(http.StatusBadRequest, "size, %s and Content-Length do not fit together", offsetHeader)
	}
	fsys, err := p.stat(p.dir)
	if err != nil {
		return state, err
	}
	if fsys.free < uint64(size-offset) {
		return state, jobs.Failf(jobs.Busy, "path %s of host %s has %s free, but %s more are sent; free space there", p.dir, h.Host, jobs.Bytes(fsys.free), jobs.Bytes(uint64(size-offset)))
	}
	f, err := h.disk.open(path, 0)
	if err != nil {
		return state, err
	}
	defer filelock.Release(f) // what it has was fsynced
	if err := filelock.Lock(f, filelock.Exclusive); errors.Is(err, filelock.ErrHeld) {
		return state, jobs.Failf(jobs.Transient, "%s is being sent by another request", path)
	} else if err != nil {
		return state, err
	}
	if state.Offset, err = f.Seek(0, io.SeekEnd); err != nil {
		return state, err
	}
	if state.Offset != offset {
		return state, jobs.Failf(jobs.Transient, "%s has %d bytes, not %d; ask again how many", path, state.Offset, offset)
	}
	body := &patient{r.Body, http.NewResponseController(w), h.Stall}
	for state.Offset < size {
		n, cut := io.CopyN(f, body, min(copyChunk, size-state.Offset))
		state.Offset += n
		if err := h.disk.sync(f); err != nil {
			return state, err
		}
		if cut != nil {
			return state, cutShort(cut, path, state.Offset)
		}
	}
	return state, nil
}

// cutShort tells a disk that takes no more from a line that broke.
func cutShort(err error, path string, have int64) error {
	var fault *jobs.Fault
	if classified := Classify(err, path); errors.As(classified, &fault) {
		return classified
	}
	return jobs.Failf(jobs.Transient, "%s: the transfer was cut after %d bytes: %w", path, have, err)
}

// patient gives each read of a request's body a deadline of its own.
type patient struct {
	io.Reader
	conn  *http.ResponseController
	stall time.Duration
}

func (p *patient) Read(b []byte) (int, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(p.stall)) // not supported: the server's own timeout holds
	return p.Reader.Read(b)
}

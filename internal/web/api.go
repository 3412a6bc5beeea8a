package web

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// The interface for markets, in JSON: deals to seal, and where pieces lie. It is served
// with the pages because they have what it needs already: a token, loopback without one,
// and no writes unless they are allowed.

// Deals takes pieces from markets.
type Deals interface {
	// Forming says how the deals that wait share sectors.
	Forming(ctx context.Context) ([]jobs.Forming, error)
	// TakeDeal remembers a deal once for its name; sectors.ErrExists says that another one
	// was given by that name.
	TakeDeal(ctx context.Context, d jobs.Deal, digest string) (jobs.DealStatus, error)
}

// dealRequest is a deal as a market posts it.
type dealRequest struct {
	ID           string              `json:"id"`
	Miner        string              `json:"miner"` // empty: the only one there is
	PieceCID     string              `json:"piece_cid"`
	PieceSize    uint64              `json:"piece_size"` // padded; 0: the smallest that fits
	RawSize      uint64              `json:"raw_size"`   // may be left out with a piece CID of version 2
	Source       string              `json:"source"`
	Allocation   string              `json:"allocation"` // CLIENT/ID
	DealID       uint64              `json:"deal_id"`    // of the built-in market
	Notify       []jobs.Notification `json:"notify"`
	Start        abi.ChainEpoch      `json:"start"`
	Duration     abi.ChainEpoch      `json:"duration"` // epochs the sector lives at least
	KeepUnsealed bool                `json:"keep_unsealed"`
	Home         string              `json:"home"`
}

var errRequest = errors.New("the request cannot be read")

// deal gives the request in the domain's terms, and its digest: two requests that mean the
// same are the same.
func (q *dealRequest) deal(miners []abi.ActorID) (d jobs.Deal, digest string, err error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", errRequest, fmt.Errorf(format, args...))
	}
	d = jobs.Deal{ID: q.ID, KeepUnsealed: q.KeepUnsealed, Home: q.Home}
	if !jobs.ValidDealID(q.ID) {
		return d, "", bad("id %q is not of 1 to 128 letters, digits, and - _ . :", q.ID)
	}
	if d.Miner, err = minerOf(q.Miner, miners); err != nil {
		return d, "", bad("miner: %w", err)
	}
	p := jobs.Piece{Size: abi.PaddedPieceSize(q.PieceSize), RawSize: q.RawSize, Source: q.Source}
	var raw uint64
	if p.CID, raw, err = jobs.ParsePieceCID(q.PieceCID); err != nil {
		return d, "", bad("piece_cid: %w", err)
	}
	if p.RawSize == 0 {
		p.RawSize = raw
	}
	if p.Size == 0 {
		p.Size = jobs.PaddedFor(p.RawSize)
	}
	if q.Allocation != "" {
		a, err := jobs.ParseAllocation(q.Allocation)
		if err != nil {
			return d, "", bad("allocation: %w", err)
		}
		p.Allocation = &a
	}
	p.Notify = q.Notify
	if q.DealID != 0 {
		p.Notify = append(p.Notify, jobs.NotifyMarket(abi.DealID(q.DealID)))
	}
	if q.Start < 0 || q.Duration < 0 {
		return d, "", bad("start and duration are not below 0")
	}
	p.Terms = jobs.Terms{Start: q.Start, LifeMin: q.Duration}
	d.Piece = p
	b, err := json.Marshal(d)
	if err != nil {
		return d, "", err
	}
	sum := sha256.Sum256(b)
	return d, hex.EncodeToString(sum[:]), nil
}

func minerOf(named string, miners []abi.ActorID) (abi.ActorID, error) {
	if named == "" {
		if len(miners) != 1 {
			return 0, fmt.Errorf("name it: the configuration has %d", len(miners))
		}
		return miners[0], nil
	}
	digits, ok := strings.CutPrefix(named, "f0")
	if !ok {
		digits, ok = strings.CutPrefix(named, "t0")
	}
	id, err := strconv.ParseUint(digits, 10, 63)
	if !ok || err != nil {
		return 0, fmt.Errorf("%q is no ID address like f01000", named)
	}
	return abi.ActorID(id), nil
}

func (s *site) takeDeal(r *http.Request) (any, error) {
	if !s.AllowWrites {
		return nil, errReadOnly
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		return nil, fmt.Errorf("%w: send it as application/json", errRequest)
	}
	var q dealRequest
	if err := jobs.DecodeStrictly(r.Body, &q); err != nil {
		return nil, fmt.Errorf("%w: %w", errRequest, err)
	}
	d, digest, err := q.deal(s.Miners)
	if err != nil {
		return nil, err
	}
	return s.Scheduler.TakeDeal(r.Context(), d, digest)
}

func (s *site) dealStatus(r *http.Request) (any, error) {
	d, err := s.Store.Deal(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return s.Store.StatusOf(r.Context(), d)
}

// findPiece answers where a piece lies; a piece that lies nowhere is an empty list.
func (s *site) findPiece(r *http.Request) (any, error) {
	piece, _, err := jobs.ParsePieceCID(r.PathValue("cid"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRequest, err)
	}
	records, err := s.Store.Holding(r.Context(), piece)
	if err != nil && (len(records) == 0 || !errors.As(err, new(*sectors.UnreadableError))) {
		return nil, err
	}
	places := []jobs.PiecePlace{}
	for _, record := range records {
		places = append(places, jobs.PlacesOf(record, piece)...)
	}
	return places, nil
}

// api answers in JSON.
func (s *site) api(answer func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		value, err := answer(r)
		code := http.StatusOK
		if err != nil {
			if code = apiCode(err); code >= http.StatusInternalServerError {
				s.Log.Warn("a market's request failed", "path", r.URL.Path, "err", err)
			}
			value = map[string]string{"error": err.Error()}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(value) // a client that went away needs no answer
	}
}

// apiCode tells a market what to do: 4xx, ask for something else; 5xx, ask the same again.
func apiCode(err error) int {
	var fault *jobs.Fault
	switch {
	case errors.Is(err, errRequest):
		return http.StatusBadRequest
	case errors.Is(err, errReadOnly):
		return http.StatusForbidden
	case errors.Is(err, sectors.ErrNoDeal):
		return http.StatusNotFound
	case errors.Is(err, sectors.ErrExists):
		return http.StatusConflict
	case errors.As(err, &fault) && (fault.Class == jobs.Rejected || fault.Class == jobs.Deadline):
		return http.StatusUnprocessableEntity
	}
	return http.StatusServiceUnavailable
}

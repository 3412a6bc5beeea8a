package web_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/web"
	"github.com/lpseal/lpseal/jobs"
)

func pieceCID(t testing.TB, name string) cid.Cid {
	t.Helper()
	sum := sha256.Sum256([]byte(name))
	sum[31] &= 0x3f
	c, err := commcid.PieceCommitmentV1ToCID(sum[:])
	require.NoError(t, err)
	return c
}

// market posts and asks as a market's program does: JSON, a token, no cookies.
type market struct{ *visitor }

func (m market) post(body string) (int, jobs.DealStatus, string) {
	m.t.Helper()
	r := m.request(http.MethodPost, "/api/v1/deals", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	got := m.do(r)
	require.Equal(m.t, "application/json", got.Header.Get("Content-Type"))
	var s jobs.DealStatus
	require.NoError(m.t, json.Unmarshal([]byte(got.body), &s))
	return got.StatusCode, s, got.body
}

func newMarket(t *testing.T, writes bool) (*fleet, market) {
	f := newFleet(t)
	v := f.serve(func(o *web.Options) { o.Token, o.AllowWrites = token, writes })
	v.header = http.Header{"Authorization": {"Bearer " + token}}
	return f, market{v}
}

func dealJSON(t *testing.T, id, more string) string {
	return fmt.Sprintf(`{"id": %q, "miner": "t01000", "piece_cid": %q, "raw_size": 500, "source": "https://example.com/a"%s}`, id, pieceCID(t, "a"), more)
}

func TestDealsAreTakenOnce(t *testing.T) {
	t.Parallel()
	f, m := newMarket(t, true)
	code, status, _ := m.post(dealJSON(t, "x:1", `, "allocation": "f01001/7", "deal_id": 300, "start": 5000, "duration": 600000, "keep_unsealed": true`))
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, jobs.DealStatus{ID: "x:1", State: jobs.DealWaiting}, status)
	d, err := f.store.Deal(f.ctx, "x:1")
	require.NoError(t, err, "it is remembered before it is answered")
	require.Equal(t, jobs.Deal{
		ID: "x:1", Miner: miner, KeepUnsealed: true, Received: d.Received,
		Piece: jobs.Piece{
			CID: pieceCID(t, "a"), Size: 512, RawSize: 500, Source: "https://example.com/a", Allocation: &jobs.Allocation{Client: 1001, ID: 7},
			Notify: []jobs.Notification{jobs.NotifyMarket(300)}, Terms: jobs.Terms{Start: 5000, LifeMin: 600000},
		},
	}, d.Deal)

	same := `{"keep_unsealed": true, "deal_id": 300, "start": 5000, "duration": 600000, "allocation": "1001/7", "piece_size": 512,
		"source": "https://example.com/a", "raw_size": 500, "id": "x:1", "piece_cid": "` + pieceCID(t, "a").String() + `"}`
	code, status, _ = m.post(same)
	require.Equal(t, http.StatusOK, code, "the same in other words")
	require.Equal(t, jobs.DealWaiting, status.State)
	code, _, body := m.post(dealJSON(t, "x:1", ""))
	require.Equal(t, http.StatusConflict, code)
	require.Contains(t, body, "error")

	r := &jobs.Record{ID: sector(70), Version: 1, Created: f.now, Proof: 5, Pieces: []jobs.Piece{d.Piece}, Stages: map[jobs.Stage]jobs.StageRecord{}}
	ok, err := f.store.AssignDeal(f.ctx, "x:1", r.ID)
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, f.store.Create(f.ctx, r, "test"))
	got := m.get("/api/v1/deals/x:1")
	require.Equal(t, http.StatusOK, got.StatusCode)
	require.JSONEq(t, `{"id": "x:1", "state": "sealing", "place": {"sector": "s-t01000-70", "piece": 0, "offset": 0, "size": 512, "raw_offset": 0,
		"raw_size": 500, "unsealed": false, "committed": false}}`, got.body)
	_, status, _ = m.post(same)
	require.Equal(t, sector(70), status.Place.Sector, "where it is by now")
	require.Equal(t, http.StatusNotFound, m.get("/api/v1/deals/y").StatusCode)

	got = m.get("/api/v1/pieces/" + d.Piece.CID.String())
	require.Equal(t, http.StatusOK, got.StatusCode)
	require.Contains(t, got.body, `"sector":"s-t01000-70"`)
	require.Equal(t, "[]\n", m.get("/api/v1/pieces/"+pieceCID(t, "nowhere").String()).body)
	require.Equal(t, http.StatusBadRequest, m.get("/api/v1/pieces/x").StatusCode)
}

func TestDealsThatAreNotTaken(t *testing.T) {
	t.Parallel()
	f, m := newMarket(t, true)
	for name, c := range map[string]struct {
		body string
		code int
		says string
	}{
		"no JSON":        {"x", http.StatusBadRequest, "cannot be read"},
		"a typing error": {dealJSON(t, "a", `, "kep_unsealed": true`), http.StatusBadRequest, "kep_unsealed"},
		"no id":          {dealJSON(t, "", ""), http.StatusBadRequest, "id"},
		"a bad id":       {dealJSON(t, "a/b", ""), http.StatusBadRequest, "id"},
		"a bad CID":      {strings.Replace(dealJSON(t, "a", ""), "baga", "bafa", 1), http.StatusBadRequest, "piece_cid"},
		"a bad miner":    {strings.Replace(dealJSON(t, "a", ""), "t01000", "1000", 1), http.StatusBadRequest, "miner"},
		"an allocation":  {dealJSON(t, "a", `, "allocation": "7"`), http.StatusBadRequest, "allocation"},
		"an absurd size": {strings.Replace(dealJSON(t, "a", ""), "500", "18446744073709551615", 1), http.StatusOK, ""},
		"start passed":   {dealJSON(t, "b", `, "start": 1`), http.StatusUnprocessableEntity, "deal start passed"},
		"the node away":  {dealJSON(t, "b", `, "start": 2`), http.StatusServiceUnavailable, "node away"},
	} {
		code, _, body := m.post(c.body)
		require.Equal(t, c.code, code, "%s: %s", name, body)
		require.Contains(t, body, c.says, name)
	}
	_, err := f.store.Deal(f.ctx, "b")
	require.Error(t, err)
	r := m.request(http.MethodPost, "/api/v1/deals", strings.NewReader(dealJSON(t, "c", "")))
	require.Equal(t, http.StatusBadRequest, m.do(r).StatusCode, "a form of another site cannot send JSON")

	m.header = nil
	code := m.do(m.request(http.MethodPost, "/api/v1/deals", strings.NewReader(dealJSON(t, "c", "")))).StatusCode
	require.Equal(t, http.StatusUnauthorized, code)
	_, m = newMarket(t, false)
	code, _, body := m.post(dealJSON(t, "c", ""))
	require.Equal(t, http.StatusForbidden, code)
	require.Contains(t, body, "web.allow_writes")
}

// TestSectorPageShowsWhatItsPiecesClaim, and until when they must be committed.
func TestSectorPageShowsWhatItsPiecesClaim(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	r := &jobs.Record{ID: sector(70), Version: 1, Created: f.now, Proof: 5, Stages: map[jobs.Stage]jobs.StageRecord{}, Pieces: []jobs.Piece{{
		CID: pieceCID(t, "a"), Size: 512, RawSize: 500, Source: "/data/a", Allocation: &jobs.Allocation{Client: 1001, ID: 7},
		Notify: []jobs.Notification{jobs.NotifyMarket(300)}, Terms: jobs.Terms{Start: 5000},
	}}}
	require.NoError(t, f.store.Create(f.ctx, r, "test"))
	page := f.serve(nil).page("/sectors/s-t01000-70")
	require.Contains(t, page, "claims allocation f01001/7, notifies")
	require.Contains(t, page, "deals start epoch 5,000")
}

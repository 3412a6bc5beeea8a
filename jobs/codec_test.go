package jobs

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRecordRoundTrip(t *testing.T) {
	t.Parallel()
	commD, err := CommD(5, nil)
	require.NoError(t, err)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	r := &Record{
		ID: SectorID{1000, 42}, Version: 7, Created: at, Proof: 5, CommD: commD, CommR: commD,
		Pieces: []Piece{{CID: commD, Size: 2048, RawSize: 2000, Source: "/data/a", Allocation: &Allocation{Client: 1001, ID: 7},
			Notify: []Notification{NotifyMarket(300)}, Terms: Terms{Start: 1, End: 2, LifeMin: 3, LifeMax: 4}}},
		Home: "p1", Ticket: Randomness{Epoch: -3, Value: make([]byte, 32), At: 12}, PoRep: []byte{1, 2},
		Stored:    &Stored{Path: "s1", Digests: map[string]string{"sealed": "aa"}},
		NotProven: &NotProven{State: ProvingFaulty, Text: "faulty", Since: at},
		Hold:      &Hold{Reason: "because", Since: at}, Abandoned: true, Retickets: 1, KeepUnsealed: true,
		Stages: map[Stage]StageRecord{SDR: {State: Faulted, Fence: 2, Attempt: 3, Delivery: 4, Claim: 5, Queue: "sdr.h1", Since: at,
			Fault: &Fault{Class: Busy, Text: "no room", At: at}}},
	}
	back, err := ParseRecord(r.Fields())
	require.NoError(t, err)
	require.Equal(t, r, back)

	bad := r.Fields()
	bad["sdr.colour"] = "red"
	bad["version"] = "x"
	_, err = ParseRecord(bad)
	require.ErrorContains(t, err, "sdr.colour")
	require.ErrorContains(t, err, `version = "x"`)

	// What a newer lpseal nests in a field is no more to be cut down than a field.
	for _, field := range []string{"pieces", "stored", "not_proven", "hold", "sdr.fault"} {
		newer := r.Fields()
		newer[field] = strings.Replace(newer[field], `{"`, `{"novel":1,"`, 1)
		_, err = ParseRecord(newer)
		require.ErrorContains(t, err, field+" = ")
		require.ErrorContains(t, err, "novel")
		newer[field] = r.Fields()[field] + `{}`
		_, err = ParseRecord(newer)
		require.ErrorContains(t, err, "more after the value")
	}
}

func TestNamesParseBackAndNothingElseDoes(t *testing.T) {
	t.Parallel()
	ref := TaskRef{ID: SectorID{1000, 42}, Stage: C2, Fence: 1, Attempt: 2, Delivery: 3}
	back, err := ParseTaskRef("s-t01000-42.c2.f1.a2.d3")
	require.NoError(t, err)
	require.Equal(t, ref, back)
	for _, bad := range []string{"", "s-t01000-42", "s-t01000-042.c2.f1.a2.d3", "s-t01000-42.c9.f1.a2.d3", "../s-t01000-42.c2.f1.a2.d3", "s-t01000-42.c2.f01.a2.d3"} {
		_, err := ParseTaskRef(bad)
		require.Error(t, err, bad)
	}
	for _, q := range []string{"sdr.h1", "cpu.h-2", "io.h1", "gpu.h1.a", "gpu.any.rtx4090", "chain"} {
		p, err := ParseQueue(q)
		require.NoError(t, err)
		require.Equal(t, q, p.String())
	}
	for _, bad := range []string{"", "sdr", "gpu.h1", "cpu.H1", "cpu.h1.a", "chain.h1", "scheduler", "fpga.h1", "cpu.{h}"} {
		_, err := ParseQueue(bad)
		require.Error(t, err, bad)
	}
}

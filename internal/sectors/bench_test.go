package sectors_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// BenchmarkApply is one compare-and-set write: load, due index, script.
func BenchmarkApply(b *testing.B) {
	store := sectors.New(redistest.StartServer(b).Client)
	id := sector(1)
	require.NoError(b, store.Create(b.Context(), record(id), "bench"))
	for b.Loop() {
		_, err := store.Apply(b.Context(), id, jobs.Held{Hold: jobs.Hold{Reason: "look", Since: noon}}, "bench", noon)
		require.NoError(b, err)
	}
}

// BenchmarkLoadMany reads a poll's worth of records.
func BenchmarkLoadMany(b *testing.B) {
	const many = 1000
	store := sectors.New(redistest.StartServer(b).Client)
	ids := make([]jobs.SectorID, many)
	for i := range ids {
		ids[i] = sector(i)
		require.NoError(b, store.Create(b.Context(), record(ids[i]), "bench"))
	}
	for b.Loop() {
		_, err := store.LoadMany(b.Context(), ids)
		require.NoError(b, err)
	}
}

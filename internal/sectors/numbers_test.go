package sectors_test

import (
	"slices"
	"sync"

	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/sectors"
)

func testNumbers(b *bench) {
	allocate := func(miner abi.ActorID, n int, chain []uint64, ranges ...sectors.Range) []abi.SectorNumber {
		b.Helper()
		got, err := b.store.Allocate(b.ctx, miner, n, bitfield.NewFromSet(chain), ranges)
		require.NoError(b, err)
		return got
	}
	type numbers = []abi.SectorNumber
	require.Equal(b, numbers{1, 3, 4}, allocate(miner, 3, []uint64{0, 2}), "the chain's are left out")
	require.Equal(b, numbers{0, 2}, allocate(miner, 2, nil), "a chain that forgot its own does not free ours")
	require.Equal(b, numbers{5}, allocate(miner, 1, nil))
	require.Equal(b, numbers{0}, allocate(1001, 1, nil), "every miner has its own")
	require.Equal(b, numbers{100, 102}, allocate(miner, 2, []uint64{101}, sectors.Range{From: 100, To: 199}))
	require.Equal(b, numbers{101, 103, 104, 105, 6},
		allocate(miner, 5, nil, sectors.Range{From: 100, To: 105}, sectors.Range{From: 101, To: 105}, sectors.Range{From: 0, To: 10}),
		"ranges in their order, overlaps once")
	require.Empty(b, allocate(miner, 0, nil))

	_, err := b.store.Allocate(b.ctx, miner, 3, bitfield.New(), []sectors.Range{{From: 8, To: 9}})
	require.ErrorIs(b, err, sectors.ErrNumbers)
	require.ErrorContains(b, err, "2 left")
	require.Equal(b, numbers{8, 9}, allocate(miner, 2, nil, sectors.Range{From: 8, To: 9}), "a refused call takes none")
	_, err = b.store.Allocate(b.ctx, miner, 1, bitfield.New(), []sectors.Range{{From: 9, To: 8}})
	require.ErrorContains(b, err, "range 9-8")
	require.Equal(b, numbers{abi.MaxSectorNumber}, allocate(miner, 1, nil, sectors.Range{From: abi.MaxSectorNumber, To: abi.MaxSectorNumber}))

	text, err := b.rdb.Get(b.ctx, "lpseal:numbers:t01001").Result()
	require.NoError(b, err)
	require.Equal(b, "[0,1]", text, "readable in redis-cli")
	require.NoError(b, b.rdb.Set(b.ctx, "lpseal:numbers:t01001", "rubbish", 0).Err())
	_, err = b.store.Allocate(b.ctx, 1001, 1, bitfield.New(), nil)
	require.ErrorContains(b, err, "lpseal:numbers:t01001 is damaged")
}

func testNumbersRace(b *bench) {
	const callers, each = 6, 5
	var mu sync.Mutex
	var all []abi.SectorNumber
	var failed error
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			got, err := b.store.Allocate(b.ctx, miner, each, bitfield.New(), nil)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, got...)
			if err != nil {
				failed = err
			}
		})
	}
	wg.Wait()
	require.NoError(b, failed)
	slices.Sort(all)
	for i, number := range all {
		require.Equal(b, abi.SectorNumber(i), number)
	}
	require.Len(b, all, callers*each)
}

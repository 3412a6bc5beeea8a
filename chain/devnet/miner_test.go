package devnet

import (
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
)

// TestAssign places sectors at all times of the proving day.
func TestAssign(t *testing.T) {
	t.Parallel()
	m := newMiner(DefaultMiner(1000, 2<<10))
	type partition struct{ deadline, index uint64 }
	filled := map[partition]int{}
	for n := range abi.SectorNumber(600) {
		now := abi.ChainEpoch(n) * 37
		m.assign(n, now)
		p, ok := m.placements.get(n)
		require.True(t, ok)
		require.GreaterOrEqual(t, (p.Deadline+48-m.deadline(now).Index)%48, uint64(2), "sector %d is due in the open deadline or the next", n)
		filled[partition{p.Deadline, p.Partition}]++
	}
	for where, sectors := range filled {
		require.LessOrEqual(t, sectors, 2, "%v", where)
	}
	require.LessOrEqual(t, len(filled), 320, "partitions are filled before new ones are opened")
	total := 0
	for d := range uint64(48) {
		for _, part := range m.partitions(d) {
			n, err := part.AllSectors.Count()
			require.NoError(t, err)
			total += int(n)
		}
	}
	require.Equal(t, 600, total)
}

package cli

import (
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/configs"
)

// A sector of a miner that nobody configured would take numbers from no range: the lowest
// free ones, which the miner's own software takes, too.
func TestSectorsAreOfConfiguredMiners(t *testing.T) {
	t.Parallel()
	c := &cluster{cfg: &configs.Config{}}
	id, err := c.miner("f02000")
	require.NoError(t, err)
	require.Equal(t, abi.ActorID(2000), id, "without a list every miner will do")
	_, err = c.miner("")
	require.ErrorContains(t, err, "0 miners")

	c.cfg.Miners = []configs.Miner{{ID: 1000}}
	for _, name := range []string{"", "t01000", "f01000"} {
		id, err = c.miner(name)
		require.NoError(t, err)
		require.Equal(t, abi.ActorID(1000), id)
	}
	_, err = c.miner("t02000")
	require.ErrorContains(t, err, "miner t02000 is not one of those configured")
	c.cfg.Miners = append(c.cfg.Miners, configs.Miner{ID: 2000})
	_, err = c.miner("")
	require.ErrorContains(t, err, "2 miners")
}

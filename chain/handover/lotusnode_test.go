//go:build lotusnode

package handover_test

import (
	"os"
	"testing"

	"github.com/lpseal/lpseal/jobs"
)

// TestProversConform asks of a running lotus-miner and a running Curio what TestStandInsConform asks of their stand-ins. It needs what CI has not: both on this
// machine, on a private network, with tokens of permission admin. It attaches folders of its own and detaches them; lotus-miner is restarted afterwards.
//
//	MINER_API_INFO=TOKEN:… CURIO_API_INFO=TOKEN:… go test -tags lotusnode -run TestProversConform ./chain/handover
func TestProversConform(t *testing.T) {
	t.Run("curio", func(t *testing.T) { conform(t, jobs.HandoverCurio, os.Getenv("CURIO_API_INFO")) })
	t.Run("lotus-miner", func(t *testing.T) { conform(t, jobs.HandoverLotusMiner, os.Getenv("MINER_API_INFO")) })
}

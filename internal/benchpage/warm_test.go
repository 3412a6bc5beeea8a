package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const libraryLog = `goos: linux
2026-11-23T06:17:17.762 INFO filecoin_proofs::api::seal > seal_commit_phase2:start: SectorId(2)
2026-11-23T06:17:17.762 INFO filecoin_proofs::caches > no params in memory cache for STACKED[2048]
2026-11-23T06:17:18.050 INFO bellperson::groth16::prover::native > Bellperson 0.27.0 is being used!
2026-11-23T06:19:58.392 INFO filecoin_proofs::api::seal > seal_commit_phase2:finish: SectorId(2)
2026-11-23T06:19:58.395 INFO filecoin_proofs::api::seal > seal_commit_phase2:start: SectorId(2)
2026-11-23T06:19:58.396 INFO bellperson::groth16::prover::native > Bellperson 0.27.0 is being used!
2026-11-23T06:22:10.795 INFO filecoin_proofs::api::seal > seal_commit_phase2:finish: SectorId(2)
`

func TestTimesOfProofs(t *testing.T) {
	t.Parallel()
	proofs, err := parseProofs(libraryLog)
	require.NoError(t, err)
	require.Len(t, proofs, 2)
	require.InDelta(t, 0.288, proofs[0].first, 1e-6)
	require.InDelta(t, 160.63, proofs[0].whole, 1e-6)
	require.InDelta(t, 0.001, proofs[1].first, 1e-6)
	require.InDelta(t, 132.4, proofs[1].whole, 1e-6)
	_, err = parseProofs(libraryLog[200:])
	require.ErrorContains(t, err, "within a proof")
}

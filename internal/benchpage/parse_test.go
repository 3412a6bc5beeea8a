package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

const printed = `goos: linux
cpu: AMD EPYC
BenchmarkWakeUp/lpseal-4         	    1054	   50000000 ns/op
BenchmarkWakeUp/peer=asynq's_defaults-4         	       8	 500000000 ns/op
PASS
`

func TestAPartOfThePage(t *testing.T) {
	t.Parallel()
	results, err := parse(printed)
	require.NoError(t, err)
	var out bytes.Buffer
	suite{"./q", "WakeUp", "1x", "Waking", "Says.", false}.write(&out, results)
	require.Equal(t, "\n## Waking\n\nSays.\n\n`CGO_ENABLED=0 go test -run ^$ -bench ^BenchmarkWakeUp$ -benchtime 1x -count 1 -timeout 20m ./q`\n\n"+
		"|  | ns/op | time, peer's = 1 |\n|---|---:|---:|\n| lpseal | 50.0 ms | 0.1 |\n| asynq's defaults | 500.0 ms | 1 |\n", out.String())
}

func TestFiguresOfABenchmarksOwn(t *testing.T) {
	t.Parallel()
	results, err := parse("BenchmarkIdle-4   	       1	5000980406 ns/op	      4137.5 commands/s	3 redis-cpu-%\n")
	require.NoError(t, err)
	var out bytes.Buffer
	suite{"./e", "Idle", "1x", "Idle", "Says.", true}.write(&out, results)
	require.Contains(t, out.String(), "\n|  | commands/s | redis-cpu-% |\n|---|---:|---:|\n|  | 4137.5 | 3 |\n")
	_, err = parse("no test files")
	require.ErrorContains(t, err, "no results")
	_, err = parse("BenchmarkX-4 1 many ns/op")
	require.Error(t, err)
}

package addedstage

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/cli"
	"github.com/lpseal/lpseal/jobs"
)

func TestMain(m *testing.M) {
	jobs.Stages = append(jobs.Stages, &announce) // the line
	if len(os.Args) > 1 && os.Args[1] == "child" {
		os.Exit(cli.Main(os.Args[1:])) // the demo's children are this program, too
	}
	os.Exit(m.Run())
}

func lpseal(t *testing.T, args ...string) string {
	t.Helper()
	var out, complaint bytes.Buffer
	code := cli.Run(t.Context(), args, strings.NewReader(""), &out, &complaint)
	require.Zero(t, code, complaint.String())
	return out.String()
}

// A stage that was added is queued, served, waited for and shown as any other.
func TestAnAddedStageIsServed(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var demo struct {
		OK      bool
		Sectors []struct {
			Sector jobs.SectorID
			State  jobs.Outcome
			Stages map[jobs.Stage]float64 `json:"seconds"`
		}
	}
	require.NoError(t, json.Unmarshal([]byte(lpseal(t, "demo", "--sector-size", "2KiB", "--json")), &demo))
	require.True(t, demo.OK)
	require.Len(t, demo.Sectors, 3)
	for _, s := range demo.Sectors {
		require.Equal(t, jobs.Committed, s.State)
		queue, ok := announced.Load(s.Sector)
		require.True(t, ok, "%s was not announced", s.Sector)
		require.Regexp(t, `^io\.h[12]$`, queue)
		require.Contains(t, s.Stages, Announce, "the command line has a column for it")
	}
	require.Regexp(t, `(?m)^announce +io +home +store +1m0s +tell the indexer`, lpseal(t, "stages"))
	require.Contains(t, lpseal(t, "stages", "--json"), `"type":"seal:announce"`)
}

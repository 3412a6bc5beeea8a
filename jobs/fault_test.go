package jobs_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// TestAFaultsTextHasNoClass: it is beside the text, and stands in it no second time
// however often the fault was wrapped.
func TestAFaultsTextHasNoClass(t *testing.T) {
	t.Parallel()
	inner := jobs.Failf(jobs.Transient, "node n: ChainHead: connection refused")
	require.EqualError(t, inner, "transient: node n: ChainHead: connection refused")
	wrapped := fmt.Errorf("miner t01000: %w", inner)
	require.Equal(t, "miner t01000: node n: ChainHead: connection refused", jobs.TextOf(wrapped))
	f, ok := jobs.Classify(t.Context(), wrapped)
	require.True(t, ok)
	require.Equal(t, jobs.Fault{Class: jobs.Transient, Text: "miner t01000: node n: ChainHead: connection refused"}, *f)
	require.Equal(t, "is it needed: miner t01000: node n: ChainHead: connection refused", jobs.Failf(jobs.Busy, "is it needed: %w", wrapped).Text)
	require.Equal(t, "transient: of no fault", jobs.TextOf(errors.New("transient: of no fault")))
}

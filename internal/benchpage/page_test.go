package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Each target rewrites its own part and leaves the other as it was.
func TestATargetRewritesItsOwnPart(t *testing.T) {
	t.Parallel()
	page := withPart("an old page without parts\n", proversPart, "## The provers\n\nfast\n")
	require.Equal(t, mark(proversPart)+"## The provers\n\nfast\n", page)
	page = withPart(page, pipelinePart, "# Benchmarks\n\nfirst\n")
	require.Equal(t, mark(pipelinePart)+"# Benchmarks\n\nfirst\n\n"+mark(proversPart)+"## The provers\n\nfast\n", page)
	require.Equal(t, page, withPart(page, pipelinePart, "# Benchmarks\n\nfirst\n"), "writing the same again changes nothing")
	again := withPart(page, pipelinePart, "# Benchmarks\n\nsecond\n")
	require.Contains(t, again, "second")
	require.NotContains(t, again, "first")
	require.Contains(t, again, "## The provers\n\nfast\n")
	again = withPart(again, proversPart, "## The provers\n\nslow\n")
	require.Contains(t, again, "second")
	require.NotContains(t, again, "fast")
}

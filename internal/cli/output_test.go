package cli

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLinesAreCutAtTheEdgeOfATerminal(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	n, err := cutter{&b, 8}.Write([]byte("12345678\n123456789\nsäule·säule\n\n"))
	require.NoError(t, err)
	require.Equal(t, len("12345678\n123456789\nsäule·säule\n\n"), n, "all of it was taken")
	require.Equal(t, "12345678\n1234567…\nsäule·s…\n\n", b.String())

	f, err := os.Create(t.TempDir() + "/out")
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, f, fitted(f), "a file is no terminal")
}

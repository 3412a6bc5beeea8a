package redistest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A server whose port was taken by another one since it was found free is not ready
// because that one answers: two tests would share a Redis.
func TestAnotherServerAtThePort(t *testing.T) {
	t.Parallel()
	first := launch(t, plain, serverLine())
	second := &process{addr: first.addr, port: first.port, dir: t.TempDir(), line: serverLine(), dial: plain}
	require.False(t, second.try(t))
	require.Contains(t, second.out.String(), "in use")
}

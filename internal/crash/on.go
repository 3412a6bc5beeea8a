//go:build crashpoints

package crash

import (
	"os"
	"syscall"

	"github.com/lpseal/lpseal/jobs"
)

// Enabled says whether this binary has crash points.
const Enabled = true

// At kills the process with SIGKILL if LPSEAL_CRASH names this point and the file
// LPSEAL_CRASH_ONCE does not exist yet; it makes the file, so that the crash
// happens once among all processes of a test.
func At(role Role, stage jobs.Stage, point Point) {
	if os.Getenv("LPSEAL_CRASH") != Name(role, stage, point) {
		return
	}
	once, err := os.OpenFile(os.Getenv("LPSEAL_CRASH_ONCE"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, _ = once.WriteString(Name(role, stage, point))
	_ = once.Close()
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

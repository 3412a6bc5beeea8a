package jobstest

import (
	"fmt"

	"github.com/lpseal/lpseal/jobs"
)

// Alone names a batch of one sector, the same whenever it is asked.
func Alone(m jobs.Meaning) string { return fmt.Sprintf("b-%s-%s-f%d", m.Stage, m.ID, m.Fence) }

// Package crash has named points at which a test can kill the process: the crash
// matrix kills every role of every stage at each of them. Without the build tag
// crashpoints, At compiles to nothing.
package crash

import "github.com/lpseal/lpseal/jobs"

// Role is a kind of process.
type Role string

// The roles.
const (
	Scheduler Role = "scheduler"
	Worker    Role = "worker"
	Child     Role = "child"
)

// Point is a moment in the life of a delivery.
type Point string

// The points, in order.
const (
	BeforeClaim     Point = "before-claim"     // the task is taken from its queue, and the record does not know
	AfterClaim      Point = "after-claim"      // the claim is written, nothing is done yet
	MidWork         Point = "mid-work"         // some output exists, no result
	AfterRename     Point = "after-rename"     // all output is in place, result.json not reported
	AfterCompletion Point = "after-completion" // the record says done, advance is not enqueued
	AfterPush       Point = "after-push"       // a message is in the mempool, the record does not know
	AfterIntent     Point = "after-intent"     // the record says queued, the task is not enqueued
	AfterPlan       Point = "after-plan"       // a batch is planned, no sector is in it
	AfterClose      Point = "after-close"      // a batch is closed, its task is not enqueued
)

// Name is how a test asks for a crash: ROLE:STAGE:POINT.
func Name(role Role, stage jobs.Stage, point Point) string {
	return string(role) + ":" + string(stage) + ":" + string(point)
}

// Package jobs is the domain of lpseal: what a sector is, which stages seal it,
// and what happens next.
//
// The stage table ([Stages]) is the one place a stage is declared; asynq types,
// queues, timeouts, the CLI's columns and the generated reference come from it.
// [Decide] looks at a sector's [Record] and the [Facts] about the world and says
// what to do; [Apply] is the only writer of transitions. Both are pure. A stage's
// Do acts on the world only through the interfaces of [Env].
//
// The package imports no I/O: no Redis, no asynq, no network, no processes. Every
// other package may import jobs; jobs imports none of them.
package jobs

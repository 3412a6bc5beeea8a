// Package worker runs a host's share of the pipeline: it pulls tasks from the
// queues of its lanes, claims them, runs the stage and completes it.
//
// A [Worker] has lanes; each is one queue server of its own width (asynq has no
// limit per queue). A delivery goes claim, run, complete, and the handler returns
// nil only when the record has answered (design rules 1 and 3). Light stages run
// in process. Heavy ones run in a child process that belongs to the work id
// (sector, stage, fence, attempt) and not to the claim (rule 7): it outlives a lost
// lease and a restarted worker, a later claim adopts it, and only an abort or a
// newer fence or attempt kills it.
//
// The processes of a heavy stage:
//
//	worker  takes the locks, reads the fence again, writes request.json
//	└ shim  own session; holds the locks too, waits, writes status.json
//	  └ proof  same group and locks; runs the stage's Do, writes result.json
//
// What lasts of what they say to each other lies in the work folder STATE/work/WORKID.
// Locks are flocks on open files that go along with the work over a local socket: the
// kernel holds each for exactly as long as some process that has the work lives, so
// "is it still running?" is a question about a lock, which no reused process id can
// answer wrongly.
//
// A child may serve its lane for longer than one work ([jobs.Lane.Shares]): c2's stays
// with the proof parameters loaded, and one that makes layers takes several sectors at
// once for a lockstep prover. Each work keeps its own task, claim, locks, status and
// result. One that is called off ends alone if its prover lets go of it; else the
// processes die, and the others begin anew without an attempt spent. When a child
// dies, the works that had begun get the fault.
package worker

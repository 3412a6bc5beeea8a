// Package scheduler is the poller: it gathers facts about sectors, lets
// [jobs.Decide] choose, performs that one step, and asks again until the answer is
// to wait.
//
// Nothing here decides. A step is performed intent first (design rule 2): the
// compare-and-set on the record's version, then the task. Everything read is read
// in bulk, once a poll; the chain's view of a single sector is asked for only where
// the answer can change what happens. Any number of schedulers may run at once:
// a lost compare-and-set means that another one was faster, and the sector is read
// again.
//
// The same code serves the periodic poll, the advance job that a finished stage
// enqueues, and, without writing, `lpseal sectors explain`.
package scheduler

// Package sectors keeps sector records, and what schedulers and workers must agree
// on, in Redis.
//
// A record is one hash, lpseal:{s-t01000-42}, readable in redis-cli, with its log
// beside it under the same hash tag. Every change is one Lua script that compares
// the version, writes the fields that differ and appends a line to the log. Each
// line carries a token of its write, so a write whose answer was lost is asked for
// again and answers truly (design rule 3).
//
// Indexes (lpseal:due, lpseal:held, lpseal:done:MINER, lpseal:messages, lpseal:deals
// with what came of them in lpseal:deals:packed and lpseal:deals:refused) are hints:
// due is written before a record and the others after it, and [Store.Sweep] mends
// what a crash in between left wrong. No script spans two hash tags, so all of it
// runs on Redis Cluster.
//
// The rest of what must be agreed on lives here too: sector numbers, space on
// paths, live workers, the poll's bucket and the journal of messages. [Connect]
// makes the client, [Store.Check] says whether the server can be trusted, and [Watch]
// has the log say when it is away.
package sectors

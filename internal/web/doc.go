// Package web serves the pages of the pipeline: what every sector does, why, and on
// which machine.
//
//	/                     sectors × stages, live
//	/sectors/s-t01000-42  one sector: why it is where it is, its stages, its log
//	/held                 what waits for a person, the longest first
//	/messages             what was sent, who pays, and what will be short
//	/deals                what markets gave: waiting, refused, and where the others lie
//	/machines             workers, lanes, paths, queues
//	/queues/              asynqmon, its payloads shown as sector and stage
//	/metrics, /healthz    for Prometheus and for whoever restarts the process
//
// A page is plain HTML, complete without scripts; one small script asks for it again
// and puts in what changed. Nothing is loaded from elsewhere.
//
// [New] makes the handler. It only reads, unless [Options.AllowWrites] is set; orders
// then go to the scheduler's Order, the same that the command line uses. Without a
// token it answers loopback connections only; with one it answers nobody who does not
// know it (access.go).
package web

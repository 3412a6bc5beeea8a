// Package cli is lpseal's command line: it reads the configuration, wires the parts,
// and prints.
//
// One file holds one group of commands. The daemons are built in scheduler.go, worker.go and web.go,
// from a [configs.Config] alone, and the demo builds the same daemons in one process. Results go to
// stdout and everything else to stderr, as lines of `lpseal: …` with hints under them; the
// exit codes are in exit.go.
package cli

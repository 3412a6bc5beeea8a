// Package e2e tests lpseal as it runs in production: the binary, a process for each
// daemon, on a redis-server and the embedded node.
//
// It holds the crash matrix (every process of every stage killed at every point it
// has), the run of separate processes, and bad input that only whole processes can
// be given. The binary is built with the tag crashpoints, which is all that tells
// it from the one that is shipped.
package e2e

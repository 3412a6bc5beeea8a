// Package redistest starts Redis for tests: miniredis in the process, or
// redis-server on free loopback ports, alone, over TLS, behind a Sentinel or as a
// Cluster. What it starts ends with the test.
//
// The redis-server on the PATH is used, or the one that LPSEAL_REDIS_SERVER names.
package redistest

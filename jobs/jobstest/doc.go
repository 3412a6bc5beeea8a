// Package jobstest has doubles of the interfaces that package jobs declares, each
// in memory, deterministic, and moved by the test alone.
package jobstest

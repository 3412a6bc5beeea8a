// Package addedstage shows in a test what it takes to add a stage: one file, here
// announce_test.go, and one line in jobs.Stages, here TestMain's.
package addedstage

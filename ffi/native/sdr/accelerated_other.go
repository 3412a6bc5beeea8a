//go:build !amd64 || purego

package sdr

// Width is how many sectors in lockstep make the best use of a core.
func Width() int { return 1 }

func (l *Labeler) accelerated(window) bool { return false }

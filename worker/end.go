package worker

import (
	"errors"
	"sync"
	"time"
)

// EndAll kills every child process of a state folder, whatever it works at, and
// returns when none is left. It is for who must leave nothing running, such as the
// demo; the folder's workers must have ended, or they would start others.
func EndAll(stateDir string, grace time.Duration) error {
	all, err := folders(stateDir)
	processes, childErr := childFolders(stateDir) // some have nothing in hand
	all = append(all, processes...)
	var ending sync.WaitGroup
	for _, f := range all {
		ending.Go(func() { f.kill(grace) })
	}
	ending.Wait()
	return errors.Join(err, childErr)
}

// Package durable makes changes to folders survive a power cut: a file's own Sync says
// nothing of the name it goes by.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// Dir returns when the names in a folder are on disk, after files were made, renamed or
// removed there.
func Dir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Rename gives a file that is on disk another name in its folder, in place of one that
// had it, and returns when the name is on disk, too.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return Dir(filepath.Dir(to))
}

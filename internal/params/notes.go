package params

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// checkedFile holds the digests that were taken, by name, with the file version they are of.
const checkedFile = "lpseal-checked.json"

// version tells two contents of one file apart without reading them.
type version struct {
	Size    int64 `json:"size"`
	ModTime int64 `json:"mod_time"` // nanoseconds
}

type checked struct {
	version
	Digest string `json:"digest"`
}

func versionOf(info fs.FileInfo) version { return version{info.Size(), info.ModTime().UnixNano()} }

// notes are the digests taken so far. They lie beside the files, for every program of the host. A
// folder that this user cannot write, such as lotus's, has them in the user's cache folder
// instead: reading 50 GiB again for each look would leave no time for proofs.
type notes struct {
	places []string // the best one first
	known  map[string]checked
}

func (d Dir) notes() (*notes, error) {
	n := &notes{places: []string{d.path(checkedFile)}, known: map[string]checked{}}
	if cache, err := os.UserCacheDir(); err == nil {
		abs, err := filepath.Abs(string(d))
		if err != nil {
			return nil, fmt.Errorf("parameters: %w", err)
		}
		sum := sha256.Sum256([]byte(abs))
		n.places = append(n.places, filepath.Join(cache, "lpseal", "checked", hex.EncodeToString(sum[:8])+".json"))
	}
	for _, place := range n.places {
		one := map[string]checked{}
		if err := load(place, &one); err != nil {
			return nil, err
		}
		maps.Copy(n.known, one) // a worse place is only there because the better one could not be written
	}
	return n, nil
}

// digest gives the digest of a file's version, if it was taken.
func (n *notes) digest(name string, of version) (string, bool) {
	c, ok := n.known[name]
	return c.Digest, ok && c.version == of
}

// save writes the notes to the best place that takes them; worse ones go.
func (n *notes) save() error {
	var failed []error
	for i, place := range n.places {
		err := os.MkdirAll(filepath.Dir(place), 0o755)
		if err == nil {
			err = save(place, n.known)
		}
		if err == nil {
			for _, worse := range n.places[i+1:] {
				if err := os.Remove(worse); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
			return nil
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// load reads a JSON file; one that is not there leaves v as it is.
func load(path string, v any) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return fmt.Errorf("parameters: %s: %w: remove it, and files are checked again", path, err)
	}
	return nil
}

func save(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, b, 0o644)
}

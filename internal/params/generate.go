package params

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/internal/filelock"
)

// TestSizes are the sector sizes that test parameters are made for.
var TestSizes = []abi.SectorSize{2 << 10, 8 << 20, 512 << 20}

// TestDir is where test parameters are made unless a folder is named: apart from
// production ones.
func TestDir() (Dir, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return Dir(filepath.Join(cache, "lpseal", "test-parameters")), nil
}

// TestTool is the program that makes test parameters, where `make ffi` put it.
func TestTool() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	tool := filepath.Join(cache, "lpseal", "ffi", "current", "bin", "testparams")
	if _, err := os.Stat(tool); err != nil {
		return "", fmt.Errorf("test parameters are made by filecoin-ffi's own code, which is not built here (%w): run make ffi", err)
	}
	return tool, nil
}

// Generate makes test parameters with tool: those of a sector size's PoRep circuit,
// or with proofs > 0 an SRS for aggregates of that many (a power of two). They are
// noted as such beside them. Files that are there and good are kept, but not an SRS for fewer
// proofs; while another process makes some in the folder, it waits.
func (d Dir) Generate(ctx context.Context, tool string, size abi.SectorSize, proofs int) error {
	args, files := []string{"porep", strconv.FormatUint(uint64(size), 10)}, Files([]abi.SectorSize{size}, PoRep)
	if proofs > 0 {
		args, files = []string{"srs", strconv.Itoa(proofs)}, Files(nil, Aggregate)
	} else if !slices.Contains(TestSizes, size) {
		return fmt.Errorf("generate: no test parameters are made for sectors of %s", size.ShortString())
	}
	if err := os.MkdirAll(string(d), 0o755); err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	lock, err := filelock.Wait(ctx, d.path(lockFile), filelock.Exclusive)
	if err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	defer filelock.Release(lock)
	missing, err := d.generable(ctx, files)
	if err == nil && !missing && proofs > 0 {
		var most int
		most, err = d.SRSProofs()
		missing = most < proofs
	}
	if err != nil || !missing {
		return err
	}
	// Whole or not at all: the tool writes under the final names as it goes.
	making := d.path(".making")
	if err := errors.Join(os.RemoveAll(making), os.Mkdir(making, 0o755)); err != nil { // gigabytes of one that was killed
		return fmt.Errorf("generate: %w", err)
	}
	defer os.RemoveAll(making)
	cmd := exec.CommandContext(ctx, tool, args...)
	// Without a backtrace, its last line says what is wrong.
	cmd.Env = append(os.Environ(), "FIL_PROOFS_PARAMETER_CACHE="+making, "RUST_BACKTRACE=0", "RUST_LIB_BACKTRACE=0")
	var words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &words, &words
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("generate: %s %s: %w\n%s", tool, strings.Join(args, " "), err, lastLine(words.String()))
	}
	return d.adopt(ctx, making, files)
}

// SRSProofs is how many proofs the folder's SRS can join: 0 where there is none. The file
// begins with the length of the first of its four vectors, big endian, which has two
// elements for each proof (bellperson's GenericSRS).
func (d Dir) SRSProofs() (int, error) {
	f, err := os.Open(d.path(Files(nil, Aggregate)[0].Name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("proofs of the SRS: %w", err)
	}
	defer f.Close()
	var elements uint32
	if err := binary.Read(f, binary.BigEndian, &elements); err != nil {
		return 0, fmt.Errorf("proofs of the SRS: %s: %w: remove it", f.Name(), err)
	}
	return int(elements / 2), nil
}

// lockFile is held by who makes parameters in a folder, and stays there: of two at a time,
// the files of one could come to lie under the notes of the other.
const lockFile = "lpseal-test.lock"

// generable refuses to put test parameters among others, and says whether any is
// missing.
func (d Dir) generable(ctx context.Context, files []File) (missing bool, err error) {
	every, err := d.List(Files(nil, PoRep, PoSt, Update, Aggregate))
	if err != nil {
		return false, err
	}
	tests := map[string]string{}
	if err := load(d.path(testFile), &tests); err != nil {
		return false, err
	}
	for _, s := range every {
		if s.State != Missing && tests[s.Name] == "" {
			return false, fmt.Errorf("generate: %s holds %s, which is not of test parameters: give another folder with --dir", d, s.Name)
		}
	}
	all, err := d.Check(ctx, files, false, nil)
	if err != nil {
		return false, err
	}
	for _, s := range all {
		missing = missing || s.State != Test
	}
	return missing, nil
}

// adopt notes the digests of what was made, then moves it into place: a file without
// its note would be of unknown origin.
func (d Dir) adopt(ctx context.Context, making string, files []File) error {
	tests := map[string]string{}
	if err := load(d.path(testFile), &tests); err != nil {
		return err
	}
	fresh := map[string]string{}
	for _, f := range files {
		digest, err := fileDigest(ctx, filepath.Join(making, f.Name), func(uint64, uint64) {})
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("generate: the tool made no %s", f.Name)
		}
		if err != nil {
			return err
		}
		fresh[f.Name] = digest
	}
	maps.Copy(tests, fresh)
	if err := save(d.path(testFile), tests); err != nil {
		return err
	}
	for name := range fresh {
		if err := os.Rename(filepath.Join(making, name), d.path(name)); err != nil {
			return err
		}
	}
	return nil
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

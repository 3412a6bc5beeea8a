package params

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/blake2b"

	"github.com/lpseal/lpseal/jobs"
)

func digestOf(b []byte) string {
	h := blake2b.Sum512(b)
	return hex.EncodeToString(h[:digestSize])
}

// aFile is a file of the manifest's kind with known content.
func aFile(name string, content []byte) File {
	return File{Name: name, Circuit: PoRep, SectorSize: 2048, CID: "cid-" + name, Digest: digestOf(content)}
}

func write(t *testing.T, d Dir, name string, content []byte) {
	require.NoError(t, os.WriteFile(d.path(name), content, 0o644))
}

func state(t *testing.T, d Dir, f File) State {
	all, err := d.Check(t.Context(), []File{f}, false, nil)
	require.NoError(t, err)
	require.Len(t, all, 1)
	return all[0].State
}

func TestManifestIsWhole(t *testing.T) {
	t.Parallel()
	require.Len(t, manifest, 45)
	for _, f := range manifest {
		require.NotEmpty(t, f.Circuit, f.Name)
		require.Len(t, f.Digest, 2*digestSize, f.Name)
		require.True(t, strings.HasPrefix(f.CID, "Qm"), f.Name)
	}
	for _, size := range []abi.SectorSize{2 << 10, 8 << 20, 512 << 20, 32 << 30, 64 << 30} {
		require.Len(t, Files([]abi.SectorSize{size}, PoRep), 2, "parameters and key")
		key, ok := PoRepKey(size)
		require.True(t, ok)
		require.True(t, key.IsKey())
	}
	require.Len(t, Files(nil, Aggregate), 1)
	require.Len(t, Files([]abi.SectorSize{32 << 30}, PoRep, Aggregate), 3, "an SRS is for every size")
	_, ok := PoRepKey(1)
	require.False(t, ok)
}

// TestStatesOfAFile takes one file through everything that may be on disk.
func TestStatesOfAFile(t *testing.T) {
	t.Parallel()
	d := Dir(t.TempDir())
	good := []byte("good")
	f := aFile("v28-x.params", good)
	list := func() State {
		all, err := d.List([]File{f})
		require.NoError(t, err)
		return all[0].State
	}
	require.Equal(t, Missing, list())
	write(t, d, f.Name+partSuffix, []byte("go"))
	require.Equal(t, Partial, list())
	write(t, d, f.Name, good)
	require.Equal(t, Unchecked, list(), "listing reads nothing")
	require.Equal(t, Production, state(t, d, f))
	require.Equal(t, Production, list(), "the digest is kept")

	write(t, d, f.Name, []byte("evil"))
	require.NoError(t, os.Chtimes(d.path(f.Name), time.Unix(1, 0), time.Unix(1, 0)))
	require.Equal(t, Unchecked, list(), "another version of the file")
	require.Equal(t, Wrong, state(t, d, f))
	require.NoError(t, save(d.path(testFile), map[string]string{f.Name: digestOf([]byte("evil"))}))
	require.Equal(t, Test, state(t, d, f))
}

// TestDigestIsTakenOnce changes a file behind its back, keeping size and time: only
// again reads it.
func TestDigestIsTakenOnce(t *testing.T) {
	t.Parallel()
	d, f, at := Dir(t.TempDir()), aFile("v28-x.params", []byte("good")), time.Unix(1e9, 0)
	for _, content := range []string{"good", "evil"} {
		write(t, d, f.Name, []byte(content))
		require.NoError(t, os.Chtimes(d.path(f.Name), at, at))
		require.Equal(t, Production, state(t, d, f))
	}
	all, err := d.Check(t.Context(), []File{f}, true, nil)
	require.NoError(t, err)
	require.Equal(t, Wrong, all[0].State)
	require.Equal(t, "1 wrong", States(all))
}

// TestDigestIsTakenOnceWhereNothingCanBeWritten, as in lotus's folder for another user. /dev/fd is a folder that
// nobody can write, not even root, and has every open file.
func TestDigestIsTakenOnceWhereNothingCanBeWritten(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", cache)
	file, err := os.Create(filepath.Join(t.TempDir(), "v28-x.params"))
	require.NoError(t, err)
	defer file.Close()
	_, err = file.WriteString("good")
	require.NoError(t, err)
	d, f := Dir("/dev/fd"), aFile(strconv.Itoa(int(file.Fd())), []byte("good"))
	reads := 0
	check := func(again bool) State {
		all, err := d.Check(t.Context(), []File{f}, again, func(string, uint64, uint64) { reads++ })
		require.NoError(t, err)
		return all[0].State
	}
	for range 3 {
		require.Equal(t, Production, check(false))
		require.Equal(t, 1, reads)
	}
	require.Equal(t, Production, check(true))
	require.Equal(t, 2, reads)
}

// TestNotesGoToTheBestPlace that takes them, and nothing is left in a worse one that could differ.
func TestNotesGoToTheBestPlace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	blocked, best, worse := filepath.Join(dir, "file", "x.json"), filepath.Join(dir, "best.json"), filepath.Join(dir, "made", "worse.json")
	require.NoError(t, os.WriteFile(filepath.Dir(blocked), nil, 0o644))
	known := map[string]checked{"a": {version{1, 2}, "d"}}
	require.NoError(t, (&notes{[]string{blocked, worse}, known}).save())
	require.FileExists(t, worse)
	require.NoError(t, (&notes{[]string{best, worse}, known}).save())
	require.NoFileExists(t, worse)
	got := map[string]checked{}
	require.NoError(t, load(best, &got))
	require.Equal(t, known, got)
	require.Error(t, (&notes{[]string{blocked}, known}).save())
}

func TestADamagedNoteIsNamed(t *testing.T) {
	t.Parallel()
	d := Dir(t.TempDir())
	write(t, d, checkedFile, []byte("{"))
	_, err := d.List(manifest)
	require.ErrorContains(t, err, checkedFile)
	require.ErrorContains(t, err, "remove it")
}

func TestReadySaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	d := Dir(t.TempDir())
	_, err := d.Ready(t.Context(), "mainnet", Proving(32<<30))
	require.ErrorContains(t, err, "is missing in "+string(d)+": run lpseal params fetch --sector-size 32GiB")
	for _, f := range Files([]abi.SectorSize{32 << 30}, PoRep) {
		write(t, d, f.Name, []byte("cut"))
	}
	_, err = d.Ready(t.Context(), "mainnet", Proving(32<<30))
	require.ErrorContains(t, err, "it is damaged or of another origin")
	_, err = d.Ready(t.Context(), "mainnet", Proving(3<<10))
	fault, _ := jobs.Classify(t.Context(), err)
	require.Equal(t, jobs.Rejected, fault.Class)
	for size, text := range map[abi.SectorSize]string{2 << 10: "2KiB", 8 << 20: "8MiB", 64 << 30: "64GiB"} {
		require.Equal(t, text, sizeText(size))
	}
}

func TestDefaultDirIsTheLibrarys(t *testing.T) {
	t.Setenv("FIL_PROOFS_PARAMETER_CACHE", "")
	require.Equal(t, Dir("/var/tmp/filecoin-proof-parameters"), DefaultDir())
	t.Setenv("FIL_PROOFS_PARAMETER_CACHE", "/p")
	require.Equal(t, Dir("/p"), DefaultDir())
}

package params

import (
	_ "embed"
	"encoding/json"
	"os"
	"slices"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"
)

// The manifests are filecoin-ffi v1.36.1's own.
//
//go:embed parameters.json
var parametersJSON []byte

//go:embed srs.json
var srsJSON []byte

// Circuit is what parameters are for.
type Circuit string

// The circuits.
const (
	PoRep     Circuit = "porep"
	PoSt      Circuit = "post"
	Update    Circuit = "update"
	Aggregate Circuit = "aggregate" // SnarkPack's SRS, for sectors of every size
)

var circuitOf = []struct {
	prefix  string
	circuit Circuit
}{
	{"v28-stacked-proof-of-replication-", PoRep},
	{"v28-proof-of-spacetime-", PoSt},
	{"v28-empty-sector-update-", Update},
	{"v28-fil-inner-product-", Aggregate},
}

// File is a parameter file as the network's ceremony made it.
type File struct {
	Name       string         `json:"name"`
	Circuit    Circuit        `json:"circuit"`
	SectorSize abi.SectorSize `json:"sector_size"` // bytes; 0 for aggregates
	CID        string         `json:"cid"`         // IPFS path
	Digest     string         `json:"digest"`      // first 16 bytes of BLAKE2b-512, in hex
}

// IsKey says whether the file is a verifying key: a few kilobytes, where the
// parameters have gigabytes.
func (f File) IsKey() bool { return strings.HasSuffix(f.Name, ".vk") }

var manifest = parseManifest(parametersJSON, srsJSON)

func parseManifest(texts ...[]byte) []File {
	var all []File
	for _, text := range texts {
		var entries map[string]struct {
			CID, Digest string
			SectorSize  uint64 `json:"sector_size"`
		}
		if err := json.Unmarshal(text, &entries); err != nil {
			panic(err) // embedded above
		}
		for name, e := range entries {
			f := File{Name: name, SectorSize: abi.SectorSize(e.SectorSize), CID: e.CID, Digest: e.Digest}
			for _, c := range circuitOf {
				if strings.HasPrefix(name, c.prefix) {
					f.Circuit = c.circuit
				}
			}
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b File) int {
		if a.SectorSize != b.SectorSize {
			return int(int64(a.SectorSize) - int64(b.SectorSize))
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all
}

// Files lists the files of some circuits for some sector sizes; no sizes means all.
func Files(sizes []abi.SectorSize, circuits ...Circuit) []File {
	var out []File
	for _, f := range manifest {
		size := len(sizes) == 0 || f.Circuit == Aggregate || slices.Contains(sizes, f.SectorSize)
		if size && slices.Contains(circuits, f.Circuit) {
			out = append(out, f)
		}
	}
	return out
}

// PoRepKey is the verifying key of a sector size's seal proofs.
func PoRepKey(size abi.SectorSize) (File, bool) {
	for _, f := range Files([]abi.SectorSize{size}, PoRep) {
		if f.IsKey() {
			return f, true
		}
	}
	return File{}, false
}

// DefaultDir is where filecoin-ffi looks: $FIL_PROOFS_PARAMETER_CACHE, or its own
// default.
func DefaultDir() Dir {
	if dir := os.Getenv("FIL_PROOFS_PARAMETER_CACHE"); dir != "" {
		return Dir(dir)
	}
	return "/var/tmp/filecoin-proof-parameters"
}

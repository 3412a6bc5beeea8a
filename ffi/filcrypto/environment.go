package filcrypto

import (
	"os"
	"slices"
	"strings"
)

// Variables are what the library reads from its environment. Proof processes inherit
// the worker's, so that an operator sets them where the worker is started.
var Variables = []string{
	"FIL_PROOFS_PARAMETER_CACHE",         // folder of parameters
	"FIL_PROOFS_PARENT_CACHE",            // folder of SDR's parent graphs: 56 GiB for sectors of 32 GiB
	"FIL_PROOFS_SDR_PARENTS_CACHE_SIZE",  // nodes of it in memory
	"FIL_PROOFS_VERIFY_CACHE",            // 1: check the parent cache's digest
	"FIL_PROOFS_USE_MULTICORE_SDR",       // 1: several cores of one cache complex label a sector
	"FIL_PROOFS_MULTICORE_SDR_PRODUCERS", // of them, how many gather parents
	"FIL_PROOFS_MULTICORE_SDR_PRODUCER_STRIDE",
	"FIL_PROOFS_MULTICORE_SDR_LOOKAHEAD",
	"FIL_PROOFS_MAXIMIZE_CACHING",
	"FIL_PROOFS_USE_GPU_COLUMN_BUILDER", // 1: tree-c on the GPU
	"FIL_PROOFS_USE_GPU_TREE_BUILDER",   // 1: tree-r on the GPU
	"FIL_PROOFS_MAX_GPU_COLUMN_BATCH_SIZE",
	"FIL_PROOFS_COLUMN_WRITE_BATCH_SIZE",
	"FIL_PROOFS_MAX_GPU_TREE_BATCH_SIZE",
	"FIL_PROOFS_ROWS_TO_DISCARD", // every prover of a sector must use the same
	"BELLMAN_NO_GPU",             // 1: SNARKs on the CPU
	"BELLMAN_CUSTOM_GPU", "RUST_GPU_TOOLS_CUSTOM_GPU",
	"BELLMAN_CPU_UTILIZATION", "BELLMAN_GPU_FRAMEWORK", "NEPTUNE_DEFAULT_GPU", "EC_GPU_NUM_THREADS",
	"CUDA_VISIBLE_DEVICES", "RAYON_NUM_THREADS",
}

// Environment lists those that are set, as NAME=value, sorted.
func Environment() []string {
	var set []string
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); slices.Contains(Variables, name) {
			set = append(set, e)
		}
	}
	slices.Sort(set)
	return set
}

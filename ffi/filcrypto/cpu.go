package filcrypto

import (
	"fmt"
	"strings"

	"github.com/klauspost/cpuid/v2"
)

// cpuFlags are the CPU's names of the instruction sets that Rust calls by others.
var cpuFlags = map[string]cpuid.FeatureID{
	"adx": cpuid.ADX, "sha": cpuid.SHA, "sse2": cpuid.SSE2, "avx2": cpuid.AVX2,
	"avx": cpuid.AVX, "sse4.2": cpuid.SSE42, "sse4.1": cpuid.SSE4,
}

// runsHere says which instruction sets of a library this CPU lacks: the first call
// would be an illegal instruction, hours into a sector.
func runsHere(targetFeatures string, has func(cpuid.FeatureID) bool) error {
	var lacking []string
	for f := range strings.SplitSeq(targetFeatures, ",") {
		if id, known := cpuFlags[f]; f != "" && (!known || !has(id)) {
			lacking = append(lacking, f)
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	return fmt.Errorf("libfilcrypto was built for another CPU: this one has no %s: run make ffi on this machine and build again", strings.Join(lacking, ", "))
}

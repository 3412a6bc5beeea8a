package worker

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lpseal/lpseal/jobs"
)

// GPU is one GPU that the operating system shows.
type GPU struct {
	Index int    // as CUDA_VISIBLE_DEVICES counts them
	UUID  string // such as GPU-8f2c…; empty where it cannot be told
	// Memory is in bytes; 0 where it cannot be told.
	Memory uint64
}

// named says whether a list as CUDA_VISIBLE_DEVICES has it names the GPU.
func (g GPU) named(devices string) bool {
	for device := range strings.SplitSeq(devices, ",") {
		device = strings.TrimSpace(device)
		if device == strconv.Itoa(g.Index) || device != "" && strings.HasPrefix(g.UUID, device) {
			return true
		}
	}
	return false
}

// hostGPUs lists NVIDIA GPUs by their driver's files; other makes show no number
// that a configuration could name.
func hostGPUs() ([]GPU, error) {
	infos, err := filepath.Glob("/proc/driver/nvidia/gpus/*/information")
	if err != nil {
		return nil, err
	}
	var out []GPU
	if len(infos) == 0 { // a container may show the devices and not the driver's files
		devices, err := filepath.Glob("/dev/nvidia[0-9]*")
		for i := range devices {
			out = append(out, GPU{Index: i})
		}
		return out, err
	}
	slices.Sort(infos) // by bus address, the order of CUDA_DEVICE_ORDER=PCI_BUS_ID
	for i, path := range infos {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("gpus: %w", err)
		}
		g := GPU{Index: i}
		for line := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(line, "GPU UUID:"); ok {
				g.UUID = strings.TrimSpace(v)
			}
		}
		out = append(out, g)
	}
	for i := range out {
		out[i].Memory = gpuMemory()[out[i].UUID]
	}
	return out, nil
}

// gpuMemory asks the driver's own tool, once, for the memory of each GPU by UUID. It is
// empty without the tool.
var gpuMemory = sync.OnceValue(func() map[string]uint64 {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=uuid,memory.total", "--format=csv,noheader,nounits").Output()
	if err != nil {
		return nil
	}
	return parseGPUMemory(string(out))
})

// parseGPUMemory reads lines of a UUID and a number of MiB.
func parseGPUMemory(csv string) map[string]uint64 {
	all := map[string]uint64{}
	for line := range strings.Lines(csv) {
		uuid, memory, _ := strings.Cut(line, ",")
		if n, err := strconv.ParseUint(strings.TrimSpace(memory), 10, 40); err == nil {
			all[strings.TrimSpace(uuid)] = n << 20
		}
	}
	return all
}

// gpuMissing says why a lane cannot see the GPU that its prover needs; empty when
// it can, or needs none.
func gpuMissing(l jobs.Lane, list func() ([]GPU, error)) string {
	if l.Class != jobs.ClassGPU || l.Prover == jobs.NativeProver || l.Device == jobs.NoGPU {
		return ""
	}
	gpus, err := list()
	switch {
	case err != nil:
		return "GPUs cannot be listed: " + err.Error()
	case len(gpus) == 0:
		return fmt.Sprintf("prover %s needs a GPU and this host shows none: see nvidia-smi", l.Prover)
	case l.Device == "":
		return ""
	}
	for device := range strings.SplitSeq(l.Device, ",") {
		device = strings.TrimSpace(device)
		if !slices.ContainsFunc(gpus, func(g GPU) bool { return g.named(device) }) {
			return fmt.Sprintf("GPU %s is not among the %d that this host shows: see nvidia-smi -L", device, len(gpus))
		}
	}
	return ""
}

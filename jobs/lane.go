package jobs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
)

// Queue is an asynq queue's name, taken apart. Forms: sdr.h1, cpu.h1, io.h1,
// gpu.h1.CLASS (bound to a host), gpu.any.CLASS, chain, scheduler.
type Queue struct {
	Class Class
	Host  string // host id, or "any"; empty for chain and scheduler
	GPU   string // GPU class label, only for ClassGPU
}

// SchedulerQueue carries the poller's own jobs.
const SchedulerQueue = "scheduler"

// AnyHost stands for the host in the name of a queue that is not bound to one.
const AnyHost = "any"

var slug = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// ValidSlug says whether s can be a host id, an instance or a GPU class: they
// become parts of queue names, Redis keys and paths.
func ValidSlug(s string) bool { return slug.MatchString(s) }

// String builds the queue's name.
func (q Queue) String() string {
	switch q.Class {
	case ClassChain:
		return string(ClassChain)
	case ClassGPU:
		return "gpu." + q.Host + "." + q.GPU
	default:
		return string(q.Class) + "." + q.Host
	}
}

// ParseQueue reads what String builds.
func ParseQueue(s string) (Queue, error) {
	if s == string(ClassChain) {
		return Queue{Class: ClassChain}, nil
	}
	parts := strings.Split(s, ".")
	q := Queue{Class: Class(parts[0])}
	ok := slices.Contains(Classes, q.Class) && q.Class != ClassChain
	switch {
	case ok && q.Class == ClassGPU && len(parts) == 3:
		q.Host, q.GPU = parts[1], parts[2]
		ok = ValidSlug(q.GPU)
	case ok && q.Class != ClassGPU && len(parts) == 2:
		q.Host = parts[1]
	default:
		ok = false
	}
	if !ok || !ValidSlug(q.Host) {
		return Queue{}, fmt.Errorf("%q is not a queue like cpu.h1, gpu.any.a or chain", s)
	}
	return q, nil
}

// NoGPU as a lane's device says that its prover proves on the CPU, although it could
// on a GPU.
const NoGPU = "none"

// Lane is a worker's promise to serve stages of a class, width at a time.
type Lane struct {
	Class  Class  `json:"class"`
	GPU    string `json:"gpu,omitempty"`    // class label, for ClassGPU
	Device string `json:"device,omitempty"` // GPU as CUDA_VISIBLE_DEVICES names it; empty for the native prover, or NoGPU
	Width  int    `json:"width"`
	Busy   int    `json:"busy"`
	Prover string `json:"prover"`
	// Threads bounds the threads of one stage; 0: all processors.
	Threads int `json:"threads,omitempty"`
	// Stages say which prover makes each heavy stage here, and why. A stage that is not
	// among them is the lane's prover's.
	Stages []LaneStage `json:"stages,omitempty"`
	// Env is what the lane's proof processes find in their environment beside the
	// worker's, as NAME=value.
	Env []string `json:"env,omitempty"`
	// Lockstep is how many sectors, of the lane's width, may have their layers made
	// by one child together; 0 and 1: each has its own.
	Lockstep int `json:"lockstep,omitempty"`
	// Warm is how long a child that has made a c2 waits for the next, with the proof
	// parameters loaded; 0: not at all.
	Warm time.Duration `json:"warm,omitempty"`
	// Group and Loaded are what the lane's children do now: the sectors in the one
	// that has most of them, and how many have parameters loaded.
	Group  int `json:"group,omitempty"`
	Loaded int `json:"loaded,omitempty"`
	// Unfit says why the lane took itself out; empty when it serves.
	Unfit string `json:"unfit,omitempty"`
	// Unproven says why no proof that its c2 could make now counts on the connected
	// network, such as test parameters; no deposit is paid on such a lane (design rule 6).
	Unproven string `json:"unproven,omitempty"`
}

// LaneStage is a stage as a lane makes it.
type LaneStage struct {
	Stage  Stage  `json:"stage"`
	Prover string `json:"prover"`
	Why    string `json:"why"` // where the choice comes from, with the figures
	// Need is for sectors of the worker's miners; zero while their size is not known.
	Need Need `json:"need"`
}

// ProverOf is the prover that makes a stage on this lane.
func (l Lane) ProverOf(s Stage) string {
	for _, ls := range l.Stages {
		if ls.Stage == s {
			return ls.Prover
		}
	}
	return l.Prover
}

// HasGPU says that a prover on this lane has a GPU.
func (l Lane) HasGPU() bool { return l.Class == ClassGPU && l.Device != NoGPU }

// NeedOf is what a stage takes on this lane, on a host with so many cores.
func (l Lane) NeedOf(s Stage, proof abi.RegisteredSealProof, cores int) Need {
	threads := l.Threads
	if threads == 0 {
		threads = cores
	}
	return NeedOf(s, proof, l.ProverOf(s), threads, l.HasGPU())
}

// Queues are the queues the lane serves on a host.
func (l Lane) Queues(host string) []Queue {
	if l.Class == ClassGPU {
		return []Queue{{ClassGPU, host, l.GPU}, {ClassGPU, AnyHost, l.GPU}}
	}
	if l.Class == ClassChain {
		return []Queue{{Class: ClassChain}}
	}
	return []Queue{{Class: l.Class, Host: host}}
}

// Shares says how a child of the lane serves a stage: with how many works at a time,
// and whether it stays for more when it has none.
func (l Lane) Shares(row *Row) (together int, stays bool) {
	switch row.Sharing {
	case Together:
		return max(1, min(l.Lockstep, l.Width)), false
	case InTurn:
		return 1, l.Warm > 0
	}
	return 1, false
}

// Worker is one live worker daemon as its heartbeat tells.
type Worker struct {
	Host     string   `json:"host"`     // host id
	Instance string   `json:"instance"` // unique on the host
	Lanes    []Lane   `json:"lanes"`
	Paths    []Path   `json:"paths"`
	Draining bool     `json:"draining,omitempty"` // takes no work: an operator ordered it, or it is Stopping
	Stopping bool     `json:"stopping,omitempty"`
	FileURL  string   `json:"file_url,omitempty"` // base URL of its file service
	Children []string `json:"children,omitempty"` // work ids with a live child
	// Capacity is what the host has for stages, and Held what those that run on it, also
	// for other workers of the host, may take of it.
	Capacity Capacity `json:"capacity"`
	Held     Need     `json:"held"`
	Boot     string   `json:"boot,omitempty"` // boot id, tells two machines apart
	// Run is random for each start of the process: a task claimed by an earlier run
	// of the same instance is orphaned at once, not when its lease ends.
	Run     string `json:"run"`
	PID     int    `json:"pid,omitempty"`
	Version string `json:"version,omitempty"`
}

// Name is host/instance.
func (w Worker) Name() string { return w.Host + "/" + w.Instance }

// Owner names the process in a claim: host/instance@run.
func (w Worker) Owner() string { return w.Name() + "@" + w.Run }

// Path is a sealing or storage path that a worker serves.
type Path struct {
	ID       string `json:"id"`            // from sectorstore.json
	Dir      string `json:"dir,omitempty"` // where the host has it
	CanSeal  bool   `json:"can_seal"`
	CanStore bool   `json:"can_store"`
	// Capacity is how many bytes may be promised to sectors: on a sealing path what is
	// free and what the sectors being sealed have written of their promises.
	Capacity uint64 `json:"capacity"`
	Free     uint64 `json:"free"`     // bytes the file system has
	Reserved uint64 `json:"reserved"` // bytes promised to sectors, from Redis
	Weight   uint64 `json:"weight"`
}

// SealingSpace is what a sector needs on its home path while it is sealed: the
// replica, tree-d of twice the size with the data inside, 11 layers, and tree-c of 1.15
// sizes. storiface's figure, 14.1 for the cache, leaves the last digit out and is 1.4 GiB
// short at 32 GiB. With two layers it is less, and the same bound is kept.
// Synthetic proofs lie beside the layers until those are dropped.
func SealingSpace(p abi.RegisteredSealProof) uint64 {
	shape := shapeFor(p)
	space := uint64(shape.Size) + uint64(shape.Size)*142/10
	if p.IsSynthetic() {
		space += uint64(shape.SyntheticSize())
	}
	return space
}

package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
)

// Group is what may share a message: sectors of one miner and one proof type, at
// one stage.
type Group struct {
	Stage Stage
	Miner abi.ActorID
	Proof abi.RegisteredSealProof
}

// String gives the group's name, such as precommit/t01000/8.
func (g Group) String() string {
	return fmt.Sprintf("%s/t0%d/%d", g.Stage, uint64(g.Miner), int64(g.Proof))
}

// ParseGroup reads the form that [Group.String] writes.
func ParseGroup(s string) (Group, error) {
	parts := strings.Split(s, "/")
	if len(parts) == 3 {
		miner, err1 := strconv.ParseUint(strings.TrimPrefix(parts[1], "t0"), 10, 63)
		proof, err2 := strconv.ParseInt(parts[2], 10, 64)
		g := Group{Stage(parts[0]), abi.ActorID(miner), abi.RegisteredSealProof(proof)}
		if row := RowOf(g.Stage); err1 == nil && err2 == nil && row != nil && row.Batched() && g.String() == s {
			return g, nil
		}
	}
	return Group{}, fmt.Errorf("%q is not a batch group like precommit/t01000/8", s)
}

// GroupOf is the group a sector belongs to at a stage.
func (r *Record) GroupOf(s Stage) Group { return Group{s, r.ID.Miner, r.Proof} }

const (
	// MaxBatch is how many sectors one message may carry (builtin-actors' miner,
	// PRE_COMMIT_SECTOR_BATCH_MAX_SIZE).
	MaxBatch = 256
	// MinAggregate and MaxAggregate are how many proofs one aggregate may join (FIP-0013).
	MinAggregate = 4
	MaxAggregate = 819
	// MaxBatchBytes is how many bytes of parameters a message has for its sectors: it
	// is at most 64 KiB, and addresses, amounts, signature and gas figures need some.
	MaxBatchBytes = 64<<10 - 512
)

// BatchPolicy says when the sectors of a group go out together.
type BatchPolicy struct {
	Max   int           // sectors in one message, at most
	Bytes int           // of parameters in one message, at most
	Wait  time.Duration // after the first of them became ready; 0 sends each at once
	Slack time.Duration // before the nearest deadline
	// Aggregated says that the proofs of a batch may be joined into one, so that they
	// do not fill a message. Where plain ones turn out cheaper, the batch takes several.
	Aggregated bool
}

// Candidate is a sector that may go into a batch now.
type Candidate struct {
	Record *Record
	Event  Scheduled // what to write when it is taken, but for the batch's name
	Fire   Fire      // when it must go at the latest
	Bytes  int       // it adds to a message's parameters
}

// Fire is when a batch goes out, and for which reason.
type Fire struct {
	At    time.Time
	Cause BatchCause
}

// BatchCause is why a batch went out.
type BatchCause string

// The causes.
const (
	BatchFull    BatchCause = "full"    // no further sector fits
	BatchSlack   BatchCause = "slack"   // the nearest deadline is near
	BatchTimeout BatchCause = "timeout" // its first sector has waited long enough
	BatchRetry   BatchCause = "retry"   // a sector was in a message already, and waited then
	BatchFlush   BatchCause = "flush"   // an operator's order
)

// NewCandidate describes a sector for which [Decide] gave a batched action.
func NewCandidate(r *Record, e Scheduled, f *Facts, p *Policy) Candidate {
	return Candidate{Record: r, Event: e, Fire: fires(r, e, f, p), Bytes: messageBytes(r, e.Stage, p)}
}

func fires(r *Record, e Scheduled, f *Facts, p *Policy) Fire {
	bp := p.Batch(e.Stage)
	if r.Stage(e.Stage).Attempt > 0 {
		return Fire{f.Now, BatchRetry}
	}
	fire := Fire{readySince(r, e.Stage).Add(bp.Wait), BatchTimeout}
	if deadline := messageDeadline(r, e.Stage, f, p); deadline != 0 {
		left := epochs(deadline-f.Head.Epoch, &f.Network) - bp.Slack
		if at := f.Now.Add(left); at.Before(fire.At) {
			fire = Fire{at, BatchSlack}
		}
	}
	return fire
}

// readySince is when the last stage ended that the message waited for.
func readySince(r *Record, s Stage) (at time.Time) {
	for _, before := range RowOf(s).Needs(r.Proof) {
		if since := r.Stage(before).Since; since.After(at) {
			at = since
		}
	}
	return at
}

// messageDeadline is the last epoch at which the stage's message may land; 0 if
// there is none. A pre-commit leaves the proof time to land before the deals start.
func messageDeadline(r *Record, s Stage, f *Facts, p *Policy) abi.ChainEpoch {
	switch {
	case s == Commit:
		return CommitDeadline(r)
	case r.PreCommitted() || r.Ticket.Value == nil:
		return 0
	}
	start := TermsOf(r.Pieces).Start
	if start != 0 {
		start -= f.Network.ChallengeDelay + p.SeedConfidence
	}
	return sooner(r.Ticket.Epoch+p.TicketWindow-p.TicketMargin, start)
}

// messageBytes is what a sector adds to a message's parameters.
func messageBytes(r *Record, s Stage, p *Policy) int {
	if s == PreCommit {
		request := PreCommitRequest{Seal: r.Seal(), TicketEpoch: r.Ticket.Epoch, CC: r.CC()}
		return request.Bytes()
	}
	request := CommitRequest{Seal: r.Seal(), Pieces: r.Pieces, Proof: r.PoRep}
	if p.Batch(s).Aggregated {
		return request.ManifestBytes()
	}
	return request.Bytes()
}

// BatchPlan is a batch that should go out now.
type BatchPlan struct {
	Cause   BatchCause
	Members []Candidate
}

// DecideBatches says which of a group's candidates go out now. What is most urgent goes
// first; the first of the rest fires it if nobody joins them. flush sends all.
func DecideBatches(candidates []Candidate, p BatchPolicy, now time.Time, flush bool) (plans []BatchPlan, rest []Candidate) {
	waiting := slices.SortedStableFunc(slices.Values(candidates), func(a, b Candidate) int {
		return cmp.Or(a.Fire.At.Compare(b.Fire.At), cmp.Compare(a.Record.ID.Number, b.Record.ID.Number))
	})
	for len(waiting) > 0 {
		n, full := fill(waiting, p)
		first := waiting[0].Fire
		plan := BatchPlan{Members: waiting[:n]}
		switch {
		case full:
			plan.Cause = BatchFull
		case flush:
			plan.Cause = BatchFlush
		case !first.At.After(now):
			plan.Cause = first.Cause
		default:
			return plans, waiting
		}
		plans = append(plans, plan)
		waiting = waiting[n:]
	}
	return plans, nil
}

// fill counts how many of the candidates one message takes, at least one, and
// whether no further one could join them.
func fill(waiting []Candidate, p BatchPolicy) (n int, full bool) {
	bytes := 0
	for n < len(waiting) {
		bytes += waiting[n].Bytes
		if n > 0 && (n >= p.Max || bytes > p.Bytes) {
			return n, true
		}
		n++
	}
	return n, n >= p.Max || bytes >= p.Bytes
}

// sendTogether prepares every member of a batch and sends those that can go: what keeps
// one back is its own fault and nobody else's. An error says that nothing is known.
func sendTogether[R any](ctx context.Context, rs []*Record, prepare func(*Record) (R, error), send func([]R) ([]Sent, error)) ([]Sent, error) {
	out := make([]Sent, len(rs))
	var requests []R
	var places []int // of the requests in rs
	for i, r := range rs {
		request, err := prepare(r)
		if err == nil {
			requests, places = append(requests, request), append(places, i)
			continue
		}
		fault, ok := Classify(ctx, err)
		if !ok {
			return nil, fmt.Errorf("sector %s: %w", r.ID, err)
		}
		out[i].Fault = fault
	}
	if len(requests) == 0 {
		return out, nil
	}
	sent, err := send(requests)
	if err != nil {
		return nil, err
	}
	for i, place := range places {
		out[place] = sent[i]
	}
	return out, nil
}

// BatchRef names one delivery of a batch. Its string is the asynq task ID.
type BatchRef struct {
	Batch    string `json:"batch"`
	Stage    Stage  `json:"stage"`
	Delivery int    `json:"delivery"`
}

// String gives the task ID, such as b-20261123-061530-k3x9qa.d1.
func (t BatchRef) String() string { return t.Batch + ".d" + strconv.Itoa(t.Delivery) }

// Payload is the task's payload.
func (t BatchRef) Payload() []byte {
	b, err := json.Marshal(t)
	if err != nil {
		panic(err) // plain values always marshal
	}
	return b
}

// ParseBatchPayload reads a payload and checks that it is the one of a task type.
func ParseBatchPayload(taskType string, payload []byte) (BatchRef, error) {
	var t BatchRef
	if err := json.Unmarshal(payload, &t); err != nil {
		return t, fmt.Errorf("payload of %s: %w", taskType, err)
	}
	if row := RowOf(t.Stage); row == nil || !row.Batched() || t.Stage.TaskType() != taskType {
		return t, fmt.Errorf("payload of %s names stage %q", taskType, t.Stage)
	}
	_, err := ParseBatchID(t.Batch)
	return t, err
}

var batchID = regexp.MustCompile(`^b-\d{8}-\d{6}-[a-z0-9]{6,26}$`)

// NewBatchID names a batch by when it was made and a random part of a-z and 0-9.
func NewBatchID(now time.Time, random string) string {
	return "b-" + now.UTC().Format("20060102-150405") + "-" + random
}

// ParseBatchID checks the form that [NewBatchID] gives: it becomes a Redis key.
func ParseBatchID(s string) (string, error) {
	if !batchID.MatchString(s) {
		return "", fmt.Errorf("%q is not a batch name like b-20261123-061530-k3x9qa", s)
	}
	return s, nil
}

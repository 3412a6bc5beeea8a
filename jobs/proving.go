package jobs

import (
	"fmt"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
)

// ProvingState is how a committed sector stands with its first WindowPoSt.
type ProvingState string

// The proving states. All but the first two are alarms: the miner loses power and pays
// for a sector that nobody proves.
const (
	ProvingDue        ProvingState = "due"        // its first deadline has not closed
	ProvingDone       ProvingState = "proven"     // its first deadline closed, and it is active
	ProvingUnproven   ProvingState = "unproven"   // it closed, and no WindowPoSt named the sector
	ProvingFaulty     ProvingState = "faulty"     // it closed, and the sector's WindowPoSt failed or was not made
	ProvingTerminated ProvingState = "terminated" // somebody ended the sector
)

// Proving is what the chain says of a committed sector's first WindowPoSt.
type Proving struct {
	State     ProvingState
	Deadline  uint64         // of the miner's proving period
	Partition uint64         // of the deadline
	Closes    abi.ChainEpoch // when the deadline closes for the first time since the sector was committed
}

// String says where the sector is proven.
func (v *Proving) String() string {
	return fmt.Sprintf("deadline %d, partition %d", v.Deadline, v.Partition)
}

// NotProven remembers the alarm for the pages and for metrics.
type NotProven struct {
	State ProvingState `json:"state"`
	Text  string       `json:"text"`
	Since time.Time    `json:"since"`
}

// ProofMissed is that a committed sector's first deadline closed without a proof of it.
type ProofMissed struct {
	State ProvingState
	Text  string
}

func (e ProofMissed) String() string { return "ALARM: " + e.Text }

func (e ProofMissed) apply(r *Record, now time.Time) error {
	r.NotProven = &NotProven{State: e.State, Text: e.Text, Since: now}
	return nil
}

// maxProofWait bounds the wait for a first deadline, which may be a day away: a
// reorganisation may place the sector anew.
const maxProofWait = time.Hour

// proof watches a sector that is committed and finalized until it was proven once.
func proof(r *Record, f *Facts, p *Policy) (Action, Reason) {
	v := f.Proving
	if v == nil {
		return wait(f.Now.Add(p.Look), "committed; the chain was not asked yet whether it is proven")
	}
	switch v.State {
	case ProvingDone:
		return act(Finished{Proven}), Reason{Text: fmt.Sprintf("proven at its first deadline (%s)", v)}
	case ProvingDue:
		closes := min(max(epochs(v.Closes-f.Head.Epoch, &f.Network), 10*p.Look), maxProofWait)
		return wait(f.Now.Add(closes), "committed; its first WindowPoSt (%s) is due before epoch %d, the head is %d", v, v.Closes, f.Head.Epoch)
	}
	text := missed(v)
	if r.NotProven == nil || r.NotProven.State != v.State {
		return act(ProofMissed{v.State, text}), Reason{Text: "ALARM: " + text}
	}
	return wait(f.Now.Add(10*p.Look), "ALARM: %s", text)
}

// missed says what is wrong and where to look.
func missed(v *Proving) string {
	if v.State == ProvingTerminated {
		return "terminated before it was proven: somebody ended the sector, and its pledge is lost in part; remove the sector"
	}
	return fmt.Sprintf("%s after its first deadline (%s) closed at epoch %d: see that the software which proves is up, has the storage path attached and finds the sector's files",
		v.State, v, v.Closes)
}

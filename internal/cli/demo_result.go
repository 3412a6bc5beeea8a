package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// demoResult is the demo's one line of JSON.
type demoResult struct {
	OK       bool         `json:"ok"`
	Sectors  []demoSector `json:"sectors"`
	Data     string       `json:"data_sha256"`
	Unsealed string       `json:"unsealed_sha256"`
	Drained  int          `json:"c2_moved_by_drain"` // c2 done by class a while b was drained
	Seconds  float64      `json:"seconds"`
	Prover   string       `json:"prover"`
	// Aggregate is the one proof of all sectors; nil where none was asked for.
	Aggregate *demoAggregate `json:"aggregate,omitempty"`
}

type demoSector struct {
	Sector jobs.SectorID           `json:"sector"`
	Proof  abi.RegisteredSealProof `json:"seal_proof"`
	Raw    uint64                  `json:"data_bytes"` // 0: committed capacity
	CommD  string                  `json:"comm_d"`
	CommR  string                  `json:"comm_r"`
	State  jobs.Outcome            `json:"state"`
	Epoch  int64                   `json:"committed_epoch"` // as the chain says
	GPU    string                  `json:"c2_queue"`
	Stages map[jobs.Stage]float64  `json:"seconds"` // from claim to done
}

// collect asks record, log and chain what became of the sectors.
func (w *demoWorld) collect(ctx context.Context, ids []jobs.SectorID) (*demoResult, error) {
	node, err := w.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer node.Close()
	out := &demoResult{}
	for _, id := range ids {
		r, err := w.store.Load(ctx, id)
		if err != nil {
			return nil, err
		}
		on, err := node.OnChain(ctx, id)
		if err != nil {
			return nil, err
		}
		if on.Sector == nil || on.Sector.CommR != r.CommR {
			return nil, fmt.Errorf("%s: the record says %s, and the chain does not", id, r.Outcome)
		}
		log, err := w.store.Log(ctx, id, 0)
		if err != nil {
			return nil, err
		}
		s := demoSector{
			Sector: id, Proof: r.Proof, CommD: r.CommD.String(), CommR: r.CommR.String(), State: r.Outcome,
			Epoch: int64(on.Sector.Activation), GPU: r.Stage(jobs.C2).Queue, Stages: stageSeconds(log),
		}
		for _, p := range r.Pieces {
			s.Raw += p.RawSize
		}
		out.Sectors = append(out.Sectors, s)
	}
	return out, nil
}

// stageSeconds reads from a sector's log how long each stage took, from its last claim to
// its end.
func stageSeconds(log []sectors.LogLine) map[jobs.Stage]float64 {
	claimed, out := map[jobs.TaskRef]time.Time{}, map[jobs.Stage]float64{}
	for _, l := range log {
		name, rest, _ := strings.Cut(l.Text, " ")
		task, err := jobs.ParseTaskRef(name)
		switch {
		case err != nil:
		case strings.HasPrefix(rest, "claimed"):
			claimed[task] = l.At
		case rest == "done":
			out[task.Stage] = l.At.Sub(claimed[task]).Seconds()
		}
	}
	return out
}

// print is the summary for people.
func (r *demoResult) print(w io.Writer, world *demoWorld) error {
	fmt.Fprintln(w)
	for _, s := range r.Sectors {
		what := "no data (CC)"
		if s.Raw > 0 {
			what = humanize.IBytes(s.Raw) + " of data"
		}
		fmt.Fprintf(w, "%s  %s on chain since epoch %d, stored, finalized; %s\n  CommR %s\n", s.Sector, s.State, s.Epoch, what, s.CommR)
	}
	err := table(w, "\nSTAGE\tSECONDS, BY SECTOR", func(row func(string, ...any)) {
		for _, st := range jobs.Stages {
			var cells []string
			for _, s := range r.Sectors {
				if t, ok := s.Stages[st.Stage]; ok {
					cells = append(cells, fmt.Sprintf("%.2f", t))
				}
			}
			if len(cells) > 0 {
				row("%s\t%s", st.Stage, strings.Join(cells, "\t"))
			}
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nclass b was drained once: %d c2 went to class a meanwhile\n", r.Drained)
	fmt.Fprintf(w, "pages: %s (--wait keeps them up)\n", world.page)
	proofs := "the native c2 made no SNARK: the embedded node checked the vanilla proof behind it instead, every opening"
	if r.Prover != jobs.NativeProver {
		proofs = "c2 made Groth16 proofs with test parameters: the embedded node verified them in pure Go"
	}
	fmt.Fprintln(w, proofs)
	r.Aggregate.print(w)
	verdict := "unsealed from the stored replicas alone: SHA-256 equals the input's"
	if !r.OK {
		verdict = "unsealed from the stored replicas alone: SHA-256 DIFFERS from the input's"
	}
	_, err = fmt.Fprintf(w, "%s\n  %s\ndone in %.1f s\n", verdict, r.Unsealed, r.Seconds)
	return err
}

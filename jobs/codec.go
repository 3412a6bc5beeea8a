package jobs

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
)

// The record as a Redis hash: one field per fact, each readable in redis-cli.
// Stage fields are STAGE.NAME, such as "c2.state". Zero values have no field.

// Fields writes the record as hash fields.
func (r *Record) Fields() map[string]string {
	f := fields{}
	f.str("sector", r.ID.String())
	f.num("version", r.Version)
	f.time("created", r.Created)
	f.must("proof", strconv.FormatInt(int64(r.Proof), 10))
	if len(r.Pieces) > 0 {
		f.json("pieces", r.Pieces)
	}
	if r.KeepUnsealed {
		f.must("keep_unsealed", "1")
	}
	f.num("expiration", int64(r.Expiration))
	f.str("home", r.Home)
	f.randomness("ticket", r.Ticket)
	f.randomness("seed", r.Seed)
	f.cid("comm_d", r.CommD)
	f.cid("comm_r", r.CommR)
	f.str("c1_digest", r.C1Digest)
	f.str("porep", hex.EncodeToString(r.PoRep))
	if r.Stored != nil {
		f.json("stored", r.Stored)
	}
	if r.Found != nil {
		f.json("found", r.Found)
	}
	f.num("precommit_epoch", int64(r.PreCommitEpoch))
	f.num("commit_deadline", int64(r.CommitDeadline))
	f.num("activation", int64(r.Activation))
	if r.NotProven != nil {
		f.json("not_proven", r.NotProven)
	}
	if r.Hold != nil {
		f.json("hold", r.Hold)
	}
	if r.Abandoned {
		f.must("abandoned", "1")
	}
	f.num("retickets", int64(r.Retickets))
	f.num("rollbacks", int64(r.Rollbacks))
	f.str("outcome", string(r.Outcome))
	for s, sr := range r.Stages {
		p := string(s) + "."
		f.str(p+"state", string(sr.State))
		f.num(p+"fence", int64(sr.Fence))
		f.num(p+"attempt", int64(sr.Attempt))
		f.num(p+"delivery", int64(sr.Delivery))
		f.num(p+"claim", int64(sr.Claim))
		f.str(p+"queue", sr.Queue)
		f.str(p+"batch", sr.Batch)
		f.str(p+"worker", sr.Worker)
		f.time(p+"since", sr.Since)
		f.str(p+"message", sr.Message)
		f.num(p+"faults", int64(sr.Faults))
		if sr.Fault != nil {
			f.json(p+"fault", sr.Fault)
		}
		f.str(p+"answer", sr.Answer)
	}
	return f
}

type fields map[string]string

func (f fields) must(k, v string) { f[k] = v }

func (f fields) str(k, v string) {
	if v != "" {
		f[k] = v
	}
}

func (f fields) num(k string, n int64) {
	if n != 0 {
		f[k] = strconv.FormatInt(n, 10)
	}
}

func (f fields) time(k string, t time.Time) {
	if !t.IsZero() {
		f[k] = t.UTC().Format(time.RFC3339Nano)
	}
}

func (f fields) cid(k string, c cid.Cid) {
	if c.Defined() {
		f[k] = c.String()
	}
}

func (f fields) json(k string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain values always marshal
	}
	f[k] = string(b)
}

// randomness is EPOCH:HEX@HEAD.
func (f fields) randomness(k string, v Randomness) {
	if v.Value != nil {
		f[k] = fmt.Sprintf("%d:%x@%d", v.Epoch, v.Value, v.At)
	}
}

// ParseRecord reads what Fields wrote. An unknown field is an error: a record of a
// newer lpseal must not be cut down silently.
func ParseRecord(hash map[string]string) (*Record, error) {
	r := &Record{Stages: map[Stage]StageRecord{}}
	p := parser{}
	for k, v := range hash {
		if stage, name, ok := strings.Cut(k, "."); ok {
			sr := r.Stages[Stage(stage)]
			if RowOf(Stage(stage)) == nil || !p.stage(&sr, name, k, v) {
				p.fail(k, v, errors.New("unknown field"))
			}
			r.Stages[Stage(stage)] = sr
			continue
		}
		if !p.record(r, k, v) {
			p.fail(k, v, errors.New("unknown field"))
		}
	}
	if r.Version == 0 || r.ID == (SectorID{}) {
		p.fail("sector", hash["sector"], errors.New("not a sector record"))
	}
	if len(p.errs) > 0 {
		return nil, fmt.Errorf("record of %s: %w", hash["sector"], errors.Join(p.errs...))
	}
	return r, nil
}

type parser struct{ errs []error }

func (p *parser) fail(k, v string, err error) {
	p.errs = append(p.errs, fmt.Errorf("%s = %q: %w", k, v, err))
}

func (p *parser) record(r *Record, k, v string) bool {
	switch k {
	case "sector":
		id, err := ParseSectorID(v)
		if err != nil {
			p.fail(k, v, err)
		}
		r.ID = id
	case "version":
		r.Version = p.num(k, v)
	case "created":
		r.Created = p.time(k, v)
	case "proof":
		r.Proof = abi.RegisteredSealProof(p.num(k, v))
	case "pieces":
		p.json(k, v, &r.Pieces)
	case "keep_unsealed":
		r.KeepUnsealed = v == "1"
	case "expiration":
		r.Expiration = abi.ChainEpoch(p.num(k, v))
	case "home":
		r.Home = v
	case "ticket":
		r.Ticket = p.randomness(k, v)
	case "seed":
		r.Seed = p.randomness(k, v)
	case "comm_d":
		r.CommD = p.cid(k, v)
	case "comm_r":
		r.CommR = p.cid(k, v)
	case "c1_digest":
		r.C1Digest = v
	case "porep":
		b, err := hex.DecodeString(v)
		if err != nil {
			p.fail(k, v, err)
		}
		r.PoRep = b
	case "stored":
		p.json(k, v, &r.Stored)
	case "found":
		p.json(k, v, &r.Found)
	case "precommit_epoch":
		r.PreCommitEpoch = abi.ChainEpoch(p.num(k, v))
	case "commit_deadline":
		r.CommitDeadline = abi.ChainEpoch(p.num(k, v))
	case "activation":
		r.Activation = abi.ChainEpoch(p.num(k, v))
	case "not_proven":
		p.json(k, v, &r.NotProven)
	case "hold":
		p.json(k, v, &r.Hold)
	case "abandoned":
		r.Abandoned = v == "1"
	case "retickets":
		r.Retickets = int(p.num(k, v))
	case "rollbacks":
		r.Rollbacks = int(p.num(k, v))
	case "outcome":
		r.Outcome = Outcome(v)
	default:
		return false
	}
	return true
}

func (p *parser) stage(sr *StageRecord, name, k, v string) bool {
	switch name {
	case "state":
		sr.State = StageState(v)
	case "fence":
		sr.Fence = int(p.num(k, v))
	case "attempt":
		sr.Attempt = int(p.num(k, v))
	case "delivery":
		sr.Delivery = int(p.num(k, v))
	case "claim":
		sr.Claim = int(p.num(k, v))
	case "queue":
		sr.Queue = v
	case "batch":
		sr.Batch = v
	case "worker":
		sr.Worker = v
	case "since":
		sr.Since = p.time(k, v)
	case "message":
		sr.Message = v
	case "faults":
		sr.Faults = int(p.num(k, v))
	case "fault":
		p.json(k, v, &sr.Fault)
	case "answer":
		sr.Answer = v
	default:
		return false
	}
	return true
}

func (p *parser) num(k, v string) int64 {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		p.fail(k, v, err)
	}
	return n
}

func (p *parser) time(k, v string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil {
		p.fail(k, v, err)
	}
	return t
}

func (p *parser) cid(k, v string) cid.Cid {
	c, err := cid.Decode(v)
	if err != nil {
		p.fail(k, v, err)
	}
	return c
}

func (p *parser) json(k, v string, into any) {
	if err := DecodeStrictly(strings.NewReader(v), into); err != nil {
		p.fail(k, v, err)
	}
}

// DecodeStrictly reads one JSON value and nothing else, and refuses fields that v does not
// have: what a newer lpseal wrote must neither be judged without them nor cut down when it
// is written again, and who ignored an unknown one would seal something else than what was
// asked for.
func DecodeStrictly(from io.Reader, v any) error {
	d := json.NewDecoder(from)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("there is more after the value")
	}
	return nil
}

func (p *parser) randomness(k, v string) (out Randomness) {
	var value string
	if _, err := fmt.Sscanf(strings.ReplaceAll(v, "@", " "), "%d:%s %d", &out.Epoch, &value, &out.At); err != nil {
		p.fail(k, v, err)
		return out
	}
	b, err := hex.DecodeString(value)
	if err != nil {
		p.fail(k, v, err)
	}
	out.Value = b
	return out
}

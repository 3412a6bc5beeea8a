package jobs

import (
	"errors"
	"fmt"
	"strings"
)

// Fields writes the batch as hash fields, each readable in redis-cli.
func (b *Batch) Fields() map[string]string {
	f := fields{}
	f.str("batch", b.ID)
	f.num("version", b.Version)
	f.time("created", b.Created)
	f.str("group", b.Group.String())
	f.str("cause", string(b.Cause))
	names := make([]string, len(b.Members))
	for i, m := range b.Members {
		names[i] = m.String()
	}
	f.str("members", strings.Join(names, " "))
	f.str("state", string(b.State))
	f.num("delivery", int64(b.Delivery))
	f.num("claim", int64(b.Claim))
	f.str("worker", b.Worker)
	f.time("since", b.Since)
	f.str("note", b.Note)
	return f
}

// ParseBatch reads what Fields wrote. An unknown field is an error, as for a record.
func ParseBatch(hash map[string]string) (*Batch, error) {
	b := &Batch{}
	p := parser{}
	for k, v := range hash {
		if !p.batch(b, k, v) {
			p.fail(k, v, errors.New("unknown field"))
		}
	}
	if b.Version == 0 || b.ID == "" {
		p.fail("batch", hash["batch"], errors.New("not a batch record"))
	}
	if len(p.errs) > 0 {
		return nil, fmt.Errorf("batch %s: %w", hash["batch"], errors.Join(p.errs...))
	}
	return b, nil
}

func (p *parser) batch(b *Batch, k, v string) bool {
	var err error
	switch k {
	case "batch":
		b.ID, err = ParseBatchID(v)
	case "version":
		b.Version = p.num(k, v)
	case "created":
		b.Created = p.time(k, v)
	case "group":
		b.Group, err = ParseGroup(v)
	case "cause":
		b.Cause = BatchCause(v)
	case "members":
		for name := range strings.FieldsSeq(v) {
			m, bad := ParseTaskRef(name)
			err = errors.Join(err, bad)
			b.Members = append(b.Members, m)
		}
	case "state":
		b.State = BatchState(v)
	case "delivery":
		b.Delivery = int(p.num(k, v))
	case "claim":
		b.Claim = int(p.num(k, v))
	case "worker":
		b.Worker = v
	case "since":
		b.Since = p.time(k, v)
	case "note":
		b.Note = v
	default:
		return false
	}
	if err != nil {
		p.fail(k, v, err)
	}
	return true
}

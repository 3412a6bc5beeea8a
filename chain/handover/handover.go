package handover

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// Handover declares sectors to the provers that it was given. It keeps no connection and no memory: every call asks anew.
type Handover struct {
	to        jobs.HandoverTo
	endpoints []chain.Endpoint
	patience  time.Duration // of one call
}

var _ jobs.Handover = (*Handover)(nil)

// patience is for a call that may look through a folder of ten thousand sectors on a network file system.
const patience = 5 * time.Minute

// New names the provers: to is lotus-miner or curio, and api their addresses as MINER_API_INFO or CURIO_API_INFO has them, separated by
// commas: one lotus-miner for each miner, or the Curio nodes that have storage paths attached.
func New(to jobs.HandoverTo, api string) (*Handover, error) {
	if to != jobs.HandoverLotusMiner && to != jobs.HandoverCurio {
		return nil, fmt.Errorf("hand-over: nothing is declared to %q; choose %s or %s", to, jobs.HandoverLotusMiner, jobs.HandoverCurio)
	}
	endpoints, err := chain.ParseProverAPIInfo(api)
	if err != nil {
		return nil, fmt.Errorf("hand-over to %s: %w", to, err)
	}
	return &Handover{to: to, endpoints: endpoints, patience: patience}, nil
}

// Declare implements jobs.Handover.
func (h *Handover) Declare(ctx context.Context, r *jobs.Record, s *jobs.Stored) (by string, err error) {
	path := PathID(s.Path)
	p, err := h.attached(ctx, r.ID.Miner, path)
	if err == nil {
		defer p.Close()
		if err = p.declare(ctx, r, path); err == nil {
			err = p.finds(ctx, r, path)
		}
	}
	if err != nil {
		return "", fmt.Errorf("declare %s to %s: %w", r.ID, h.to, err)
	}
	return p.String(), nil
}

// Attached says whether a storage path is attached where a miner's sectors are proven; the error says what to do. It changes nothing.
func (h *Handover) Attached(ctx context.Context, miner abi.ActorID, path string) (by string, err error) {
	p, err := h.attached(ctx, miner, PathID(path))
	if err != nil {
		return "", err
	}
	defer p.Close()
	return p.String(), nil
}

// attached connects to the prover whose index has the path. The caller closes it.
func (h *Handover) attached(ctx context.Context, miner abi.ActorID, path PathID) (*prover, error) {
	if h.to == jobs.HandoverCurio {
		return h.curioNode(ctx, path)
	}
	p, err := h.lotusMiner(ctx, miner)
	if err != nil {
		return nil, err
	}
	_, err = ask(ctx, p, "StorageInfo", func(ctx context.Context) (PathInfo, error) { return p.api.StorageInfo(ctx, path) })
	if err == nil {
		return p, nil
	}
	p.Close()
	if strings.Contains(err.Error(), unknownPath) {
		return nil, jobs.Failf(jobs.Transient, "%s knows no path %s; attach its folder there, as it is: lotus-miner storage attach DIR", p, path)
	}
	return nil, err
}

// declare has the process look through its folder of the path. One that a lotus-worker has attached the miner cannot look through: its
// index is told.
func (p *prover) declare(ctx context.Context, r *jobs.Record, path PathID) error {
	local, err := ask(ctx, p, "StorageLocal", p.api.StorageLocal)
	if err != nil {
		return err
	}
	_, own := local[path]
	switch {
	case p.curio:
		return p.do(ctx, "StorageRedeclare", func(ctx context.Context) error { return p.api.StorageRedeclare(ctx, &path, false) })
	case own:
		return p.do(ctx, "StorageRedeclareLocal", func(ctx context.Context) error { return p.api.StorageRedeclareLocal(ctx, &path, false) })
	}
	var files FileType
	for _, t := range typesOf(r) {
		files |= t
	}
	return p.do(ctx, "StorageDeclareSector", func(ctx context.Context) error {
		return p.api.StorageDeclareSector(ctx, path, sectorID(r), files, true)
	})
}

// curioNode connects to the node that has the path attached.
func (h *Handover) curioNode(ctx context.Context, path PathID) (*prover, error) {
	var errs []error
	for _, e := range h.endpoints {
		p, err := h.connect(ctx, e)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		local, err := ask(ctx, p, "StorageLocal", p.api.StorageLocal)
		if _, ok := local[path]; err == nil && ok {
			return p, nil
		}
		p.Close()
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return nil, jobs.Failf(jobs.Transient, "no Curio node of handover.api has path %s; attach its folder to one, as it is: curio cli storage attach DIR; or add the node that has it",
		path)
}

// lotusMiner connects to the lotus-miner of a miner. The caller closes it.
func (h *Handover) lotusMiner(ctx context.Context, miner abi.ActorID) (*prover, error) {
	var errs []error
	var others []string
	for _, e := range h.endpoints {
		p, err := h.connect(ctx, e)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		is, err := ask(ctx, p, "ActorAddress", p.api.ActorAddress)
		if err != nil {
			p.Close()
			errs = append(errs, err)
			continue
		}
		id, err := address.IDFromAddress(is)
		if err == nil && id == uint64(miner) {
			p.name = fmt.Sprintf("%s t0%d", h.to, id)
			return p, nil
		}
		p.Close()
		others = append(others, fmt.Sprintf("%s is of miner %s", e, is))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return nil, jobs.Failf(jobs.Transient, "none of handover.api is the lotus-miner of t0%d: %s; add its address", uint64(miner), others)
}

// Reserved are the sector numbers that a miner's lotus-miner was told not to use itself, under any name.
func (h *Handover) Reserved(ctx context.Context, miner abi.ActorID) (bitfield.BitField, error) {
	p, err := h.lotusMiner(ctx, miner)
	if err != nil {
		return bitfield.BitField{}, err
	}
	defer p.Close()
	byName, err := ask(ctx, p, "SectorNumReservations", p.api.SectorNumReservations)
	if err != nil {
		return bitfield.BitField{}, err
	}
	return bitfield.MultiMerge(slices.Collect(maps.Values(byName))...)
}

// NamedSenders are the control addresses that a miner's lotus-miner keeps for messages of one kind, none of them WindowPoSts.
func (h *Handover) NamedSenders(ctx context.Context, miner abi.ActorID) ([]address.Address, error) {
	p, err := h.lotusMiner(ctx, miner)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	c, err := ask(ctx, p, "ActorAddressConfig", p.api.ActorAddressConfig)
	if err != nil {
		return nil, err
	}
	return slices.Concat(c.PreCommitControl, c.CommitControl, c.TerminateControl, c.DealPublishControl), nil
}

// prover is one running lotus-miner or Curio node.
type prover struct {
	api      API
	curio    bool
	name     string
	endpoint chain.Endpoint
	patience time.Duration
	closer   jsonrpc.ClientCloser
}

func (h *Handover) connect(ctx context.Context, e chain.Endpoint) (*prover, error) {
	p := &prover{name: string(h.to), curio: h.to == jobs.HandoverCurio, endpoint: e, patience: h.patience}
	var err error
	p.closer, err = jsonrpc.NewMergeClient(ctx, e.URL, lotus.Namespace, []any{&p.api}, e.Header())
	if err != nil {
		return nil, p.fault("connect", err)
	}
	return p, nil
}

// Close ends the connection.
func (p *prover) Close() { p.closer() }

// String names it, such as "lotus-miner t01000".
func (p *prover) String() string { return p.name }

// finds makes sure that the index names the path for every file of the sector: a prover may have attached another disk under the
// path's name, or an older state of it.
func (p *prover) finds(ctx context.Context, r *jobs.Record, path PathID) error {
	for _, t := range typesOf(r) {
		found, err := ask(ctx, p, "StorageFindSector", func(ctx context.Context) ([]SectorPath, error) {
			return p.api.StorageFindSector(ctx, sectorID(r), t, abi.SectorSize(r.SectorSize()), false)
		})
		if err != nil {
			return err
		}
		if !holds(found, path) {
			return jobs.Failf(jobs.Transient, "%s does not see %s/%s on path %s; see that the folder it attached is the one that lpseal stores to, and that it may read it",
				p, t, r.ID, path)
		}
	}
	return nil
}

func holds(found []SectorPath, path PathID) bool {
	for _, f := range found {
		if f.ID == path {
			return true
		}
	}
	return false
}

func sectorID(r *jobs.Record) abi.SectorID {
	return abi.SectorID{Miner: r.ID.Miner, Number: r.ID.Number}
}

// ask makes one call under a deadline.
func ask[T any](ctx context.Context, p *prover, method string, call func(context.Context) (T, error)) (T, error) {
	limited, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	out, err := call(limited)
	if ctx.Err() != nil {
		return out, ctx.Err()
	}
	if err != nil {
		return out, p.fault(method, err)
	}
	return out, nil
}

func (p *prover) do(ctx context.Context, method string, call func(context.Context) error) error {
	_, err := ask(ctx, p, method, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
	return err
}

package handovertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-jsonrpc/auth"
	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/chain/handover"
	"github.com/lpseal/lpseal/chain/lotus"
)

// Tokens that a stand-in knows.
const (
	Admin = "admin-token"
	Read  = "read-token"
)

const (
	permRead  auth.Permission = "read"
	permAdmin auth.Permission = "admin"
)

var permissions = map[string][]auth.Permission{Admin: {permRead, "write", "sign", permAdmin}, Read: {permRead}}

// Prover is a stand-in that runs until the test ends.
type Prover struct {
	index
	miner        address.Address
	reservations map[string]bitfield.BitField
	addresses    handover.AddressConfig
	server       *httptest.Server

	mu    sync.Mutex
	calls []string
}

// StartLotusMiner starts a stand-in of a miner's lotus-miner.
func StartLotusMiner(t testing.TB, miner abi.ActorID) *Prover {
	t.Helper()
	a, err := address.NewIDAddress(uint64(miner))
	if err != nil {
		t.Fatal(err)
	}
	p := &Prover{index: newIndex(), miner: a, reservations: map[string]bitfield.BitField{}}
	p.start(t, &lotusMiner{common{p}})
	return p
}

// StartCurio starts a stand-in of a Curio node.
func StartCurio(t testing.TB) *Prover {
	t.Helper()
	p := &Prover{index: newIndex()}
	p.start(t, &curio{common{p}})
	return p
}

func (p *Prover) start(t testing.TB, api any) {
	rpc := jsonrpc.NewServer()
	rpc.Register(lotus.Namespace, api)
	mux := http.NewServeMux()
	mux.Handle("/rpc/v0", rpc)
	p.server = httptest.NewServer(&auth.Handler{Next: mux.ServeHTTP, Verify: func(_ context.Context, token string) ([]auth.Permission, error) {
		if perms, ok := permissions[token]; ok {
			return perms, nil
		}
		return nil, errors.New("JWT Verification failed")
	}})
	t.Cleanup(p.server.Close)
}

// APIInfo is the stand-in's address with a token, as MINER_API_INFO and CURIO_API_INFO have it.
func (p *Prover) APIInfo(token string) string {
	if token == "" {
		return p.server.URL
	}
	return token + ":" + p.server.URL
}

// Stop makes the stand-in unreachable.
func (p *Prover) Stop() { p.server.Close() }

// Reserve sets numbers aside under a name, as lotus-miner sectors numbers reserve does.
func (p *Prover) Reserve(name string, first, last abi.SectorNumber) {
	numbers := bitfield.New()
	for n := first; n <= last; n++ {
		numbers.Set(uint64(n))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reservations[name] = numbers
}

// Keep has lotus-miner send from an address nothing but terminations.
func (p *Prover) Keep(a address.Address) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addresses.TerminateControl = append(p.addresses.TerminateControl, a)
}

// Calls names the methods that were called, in order, refused ones included.
func (p *Prover) Calls() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

func (p *Prover) permit(ctx context.Context, method string, needed auth.Permission) error {
	p.mu.Lock()
	p.calls = append(p.calls, method)
	p.mu.Unlock()
	if !auth.HasPerm(ctx, []auth.Permission{permRead}, needed) {
		return fmt.Errorf("missing permission to invoke '%s' (need '%s')", method, needed)
	}
	return nil
}

// common is what both have.
type common struct{ p *Prover }

func (c common) StorageLocal(ctx context.Context) (map[handover.PathID]string, error) {
	if err := c.p.permit(ctx, "StorageLocal", permAdmin); err != nil {
		return nil, err
	}
	return c.p.local(), nil
}

func (c common) StorageAddLocal(ctx context.Context, dir string) error {
	if err := c.p.permit(ctx, "StorageAddLocal", permAdmin); err != nil {
		return err
	}
	return c.p.Attach(dir)
}

func (c common) StorageDetachLocal(ctx context.Context, dir string) error {
	if err := c.p.permit(ctx, "StorageDetachLocal", permAdmin); err != nil {
		return err
	}
	c.p.detach(dir)
	return nil
}

func (c common) StorageInfo(ctx context.Context, path handover.PathID) (handover.PathInfo, error) {
	if err := c.p.permit(ctx, "StorageInfo", permAdmin); err != nil {
		return handover.PathInfo{}, err
	}
	return c.p.info(path)
}

func (c common) StorageFindSector(ctx context.Context, sector abi.SectorID, files handover.FileType, _ abi.SectorSize, _ bool) ([]handover.SectorPath, error) {
	if err := c.p.permit(ctx, "StorageFindSector", permAdmin); err != nil {
		return nil, err
	}
	return c.p.find(sector, files), nil
}

// lotusMiner is lotus-miner's API.
type lotusMiner struct{ common }

func (m *lotusMiner) ActorAddress(ctx context.Context) (address.Address, error) {
	return m.p.miner, m.p.permit(ctx, "ActorAddress", permRead)
}

func (m *lotusMiner) ActorAddressConfig(ctx context.Context) (handover.AddressConfig, error) {
	if err := m.p.permit(ctx, "ActorAddressConfig", permRead); err != nil {
		return handover.AddressConfig{}, err
	}
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	return m.p.addresses, nil
}

func (m *lotusMiner) SectorNumReservations(ctx context.Context) (map[string]bitfield.BitField, error) {
	if err := m.p.permit(ctx, "SectorNumReservations", permRead); err != nil {
		return nil, err
	}
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	return m.p.reservations, nil
}

func (m *lotusMiner) StorageRedeclareLocal(ctx context.Context, path *handover.PathID, dropMissing bool) error {
	if err := m.p.permit(ctx, "StorageRedeclareLocal", permAdmin); err != nil {
		return err
	}
	for id := range m.p.local() {
		if path == nil || *path == id {
			if err := m.p.scan(id, dropMissing); err != nil {
				return fmt.Errorf("redeclaring sectors: %w", err)
			}
		}
	}
	return nil
}

func (m *lotusMiner) StorageAttach(ctx context.Context, path handover.PathInfo, _ struct{}) error {
	if err := m.p.permit(ctx, "StorageAttach", permAdmin); err != nil {
		return err
	}
	m.p.know(path)
	return nil
}

func (m *lotusMiner) StorageDeclareSector(ctx context.Context, path handover.PathID, sector abi.SectorID, files handover.FileType, primary bool) error {
	if err := m.p.permit(ctx, "StorageDeclareSector", permAdmin); err != nil {
		return err
	}
	m.p.declare(path, sector, files, primary)
	return nil
}

// StorageList breaks as Lotus's does once a path was declared to that is not in the index.
func (m *lotusMiner) StorageList(ctx context.Context) (map[handover.PathID][]abi.SectorID, error) {
	if err := m.p.permit(ctx, "StorageList", permAdmin); err != nil {
		return nil, err
	}
	return m.p.list(), nil
}

// curio is Curio's API.
type curio struct{ common }

func (c *curio) StorageRedeclare(ctx context.Context, path *handover.PathID, dropMissing bool) error {
	if err := c.p.permit(ctx, "StorageRedeclare", permAdmin); err != nil {
		return err
	}
	if _, ok := c.p.local()[*path]; !ok {
		return fmt.Errorf("storage %s not found on the node", *path)
	}
	return c.p.scan(*path, dropMissing)
}

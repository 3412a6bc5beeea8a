package handover

import (
	"context"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/jobs"
)

// API is the part of lotus-miner's and Curio's JSON-RPC API that a hand-over needs; go-jsonrpc fills the functions. Both serve it in the
// namespace Filecoin at /rpc/v0. All of it but the first three needs the permission admin.
type API struct {
	// ActorAddress is the miner proven for; Curio, which proves for several, has no such method.
	ActorAddress func(context.Context) (address.Address, error)
	// ActorAddressConfig are the control addresses that lotus-miner's configuration names a use for.
	ActorAddressConfig func(context.Context) (AddressConfig, error)
	// SectorNumReservations are the number ranges that lotus-miner keeps from using itself, by name.
	SectorNumReservations func(context.Context) (map[string]bitfield.BitField, error)

	// StorageInfo is a path of the index; an error if there is none of that id. Lotus's index takes a declaration for a path that it does
	// not know without a word, and breaks later: ask this first.
	StorageInfo func(context.Context, PathID) (PathInfo, error)
	// StorageLocal are the paths that the process itself has attached, and their folders.
	StorageLocal func(context.Context) (map[PathID]string, error)
	// StorageRedeclareLocal has lotus-miner look through its folder of a path and take all it finds into the index. A path that another
	// process has attached is passed over without an error.
	StorageRedeclareLocal func(ctx context.Context, path *PathID, dropMissing bool) error
	// StorageRedeclare is Curio's; a path of another of its nodes is an error.
	StorageRedeclare func(ctx context.Context, path *PathID, dropMissing bool) error
	// StorageDeclareSector takes files into the index unseen.
	StorageDeclareSector func(ctx context.Context, path PathID, sector abi.SectorID, files FileType, primary bool) error
	// StorageFindSector are the paths of the index that hold files of a type.
	StorageFindSector func(ctx context.Context, sector abi.SectorID, files FileType, size abi.SectorSize, allowFetch bool) ([]SectorPath, error)
}

// AddressConfig is lotus-miner's [Addresses]: what it sends which messages from. WindowPoSts go from any other control address.
type AddressConfig struct {
	PreCommitControl   []address.Address
	CommitControl      []address.Address
	TerminateControl   []address.Address
	DealPublishControl []address.Address

	DisableOwnerFallback  bool
	DisableWorkerFallback bool
}

// PathID is the id in a path's sectorstore.json.
type PathID string

// FileType is a set of a sector's files, as bits.
type FileType int

// The file types that outlive sealing.
const (
	Unsealed FileType = 1 << iota
	Sealed
	Cache
)

// FileTypes are the single types.
var FileTypes = []FileType{Unsealed, Sealed, Cache}

// String names the folder of a path that holds files of a type.
func (t FileType) String() string {
	switch t {
	case Unsealed:
		return "unsealed"
	case Sealed:
		return "sealed"
	case Cache:
		return "cache"
	}
	return "mixed"
}

// typesOf are the types that a stored sector has.
func typesOf(r *jobs.Record) []FileType {
	if r.KeepUnsealed {
		return FileTypes
	}
	return []FileType{Sealed, Cache}
}

// PathInfo is what the index says of a path.
type PathInfo struct {
	ID       PathID
	URLs     []string // where other processes fetch from it
	Weight   uint64
	CanSeal  bool
	CanStore bool
}

// SectorPath is a path that holds files of a sector.
type SectorPath struct {
	ID       PathID
	CanStore bool
	Primary  bool // declared as the copy to keep
}

// Package handovertest stands in for lotus-miner and Curio where stored sectors are handed over: a JSON-RPC server with tokens and
// permissions over HTTP, and behind it an index that finds files in real folders.
//
// What it keeps to was read in the sources (Lotus at b835fab, v1.36; Curio at e0294b0), and package handover's conformance suite has asked
// the same of a lotus-miner and a Curio that were running (TestProversConform):
//
//   - Tokens travel as a Bearer; one that is not known is HTTP status 401, none at all has the permission read. A method above the
//     token's permissions is an RPC error that names both. All methods but ActorAddress, ActorAddressConfig and SectorNumReservations need admin.
//   - lotus-miner's index is in memory. StorageInfo of an unknown path is the error "sector store not found". StorageDeclareSector takes
//     an unknown path without an error; StorageFindSector does not give it, and StorageList breaks the call from then on.
//   - Attaching looks through the folder, and makes the folders of file types that it lacks. What is stored later is not seen until asked for.
//   - StorageRedeclareLocal passes over a path that another process has attached, without an error. Of its own it reads the folder: every
//     entry of unsealed, sealed and cache is declared, and one that is no sector's name ends it with an error.
//   - StorageFindSector gives a path for every file type in the index, whether or not the file is still there.
//   - Curio has StorageRedeclare, which refuses a path that the node does not have attached, and neither ActorAddress nor
//     StorageDeclareSector.
//
// Left out: fetching from other processes, heartbeats, space, locks, filters by miner and type, and everything about proofs.
package handovertest

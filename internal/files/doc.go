// Package files keeps sectors' files: it lays them out on sealing and storage
// paths as lotus does, binds each cache folder to one seal, moves what lasts to a
// storage path, and serves files to the other hosts.
//
// A path is a folder with a sectorstore.json. Under it:
//
//	cache/s-t01000-42/   layers, trees, p_aux, t_aux, c1.json, lpseal-manifest.json
//	sealed/s-t01000-42   the replica
//	unsealed/s-t01000-42 the data, fr32-padded, where it is kept
//	locks/               lock files, never removed (design rule 8)
//	receipts/            what was stored on the path, with digests
//	fetching/            files on their way in
//	superseded/          files that a newer replica of the same number replaced
//	trash/               files about to be deleted
//	pieces/              data uploaded for sectors, by SHA-256
//
// Two promises carry the package. Every method of [Host] that changes files may be
// killed between any two of its changes and run again: it ends in the same state.
// And nothing that was stored is deleted: the removing methods tell a path's
// scratch from what [Host.Store] declared, even when home and storage path are one.
//
// It sits beside internal/sectors and imports jobs and internal/crash only.
package files

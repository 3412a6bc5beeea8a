// Package handover declares stored sectors to the software that makes their WindowPoSts: lotus-miner or Curio.
//
// Both keep an index of which storage path (a sectorstore.json's id) holds which files of which sector, and prove from what the index
// names. A sector that lpseal stored is proven once its folder is attached there and its files are in that index; [Handover.Declare]
// sees to the second and says who must do the first.
//
// The API is that of Lotus v1.36 and of Curio as of August 2026, read from their sources. It was run against the stand-ins of package
// handovertest only, which behave as those sources say; no lotus-miner and no Curio has been asked yet
// (docs/how-to/lotus.md tells operators).
package handover

// Package handover declares stored sectors to the software that makes their WindowPoSts: lotus-miner or Curio.
//
// Both keep an index of which storage path (a sectorstore.json's id) holds which files of which sector, and prove from what the index
// names. A sector that lpseal stored is proven once its folder is attached there and its files are in that index; [Handover.Declare]
// sees to the second and says who must do the first.
//
// The API is that of Lotus v1.36 and of Curio as of August 2026. One conformance suite runs against the stand-ins of package handovertest in CI, and
// against a running lotus-miner and a running Curio wherever there are some (TestProversConform, tag lotusnode).
package handover

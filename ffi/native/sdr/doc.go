// Package sdr labels a sector: Filecoin's stacked depth-robust graph and the chain
// of SHA-256 labels over it, which is what makes sealing slow on purpose.
//
// A [Graph] gives each node 14 parents: six of DRSample in the same layer, the
// previous node among them, and eight expanders in the layer before, by a Feistel
// permutation. A [ParentCache] lists them all, in memory or in the file that
// rust-fil-proofs reads and writes too, and [Labeler.Layer] computes one layer from
// that list and the layer before. Everything is a flat array: a layer is nodes × 32
// bytes, the list nodes × 14 numbers. On amd64 the labels that a node hashes are asked
// from memory some nodes ahead.
package sdr

// Package sdr labels a sector: Filecoin's stacked depth-robust graph and the chain
// of SHA-256 labels over it, which is what makes sealing slow on purpose.
//
// A [Graph] gives each node 14 parents: six of DRSample in the same layer, the
// previous node among them, and eight expanders in the layer before, by a Feistel
// permutation. A [ParentCache] lists them all, in memory or in the file that
// rust-fil-proofs reads and writes too, and [Labeler.Layer] computes one layer from
// that list and the layer before. Everything is a flat array: a layer is nodes × 32
// bytes, the list nodes × 14 numbers.
//
// # Speed
//
// A label is 20 blocks of SHA-256, and each waits for the one before. On amd64 with SHA
// extensions the labels are made in assembly (tools/sha256asm): parents are hashed from
// where they lie and asked from memory some nodes ahead; the blocks of parents that
// repeat are not expanded again; the first block of the next label is hashed beside the
// last of this one. Two sectors in lockstep fill the time in which the rounds of one wait,
// and share what they read of the graph.
package sdr

// Package sha256mb hashes rows of Filecoin's data trees: SHA-256 of two nodes, cut to
// 254 bits so that the digest is a field element.
//
// With the SHA extensions of amd64 it hashes several messages at a time (multi-buffer):
// the rounds of one message wait for each other, and another message fills the time.
// Elsewhere it is crypto/sha256.
package sha256mb

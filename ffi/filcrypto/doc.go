// Package filcrypto makes production proofs with filecoin-ffi, built on this machine
// by `make ffi`.
//
// [Prover], behind build tag filcrypto, implements jobs.Prover: layers by GenerateSDR,
// trees and replica by SealPreCommitPhase2, proofs by SealCommitPhase1 and 2. Its
// files are those of ffi/native, so that each stage of a sector may use either.
// filecoin-ffi makes no data tree by itself; the one of ffi/native is used. Without
// the tag the package holds only what needs no library: the words it understands
// faults by and the environment it passes on.
//
// A call into the library cannot be stopped: a context is looked at before and after
// it. Whoever must stop one kills the process (design rule 7).
package filcrypto

// Name is the prover's name in configuration, logs and lanes.
const Name = "filcrypto"

// Package provertest is the conformance suite of provers: each backend's tests run
// it, so that all make the same bytes and fail in the same classes.
//
// [Seal] holds a backend to the sectors that filecoin-ffi v1.36.1 sealed (2 KiB and
// 8 MiB; those with synthetic proofs are proven after their layers are gone); [BadInput] to the fault classes of design §5; [Mixed] seals each sector
// half by one backend and half by another; [Prove] makes a proof and refuses wrong
// ones. The vectors are in testdata.
package provertest

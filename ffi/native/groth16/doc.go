// Package groth16 checks Groth16 proofs over BLS12-381 in the encodings of
// bellperson, with which Filecoin's proofs are made.
//
// Every point has one accepted encoding: canonical coordinates, the flags of its form,
// on the curve, in the subgroup of prime order, and never infinity. What is left is
// the malleability of Groth16 itself: whoever has a proof can make others of the same
// statement from it, so a proof's bytes identify nothing.
package groth16

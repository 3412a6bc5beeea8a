// Package poseidon is Filecoin's Poseidon hash over the scalar field of BLS12-381:
// standard strength, x^5, the arities 2, 4, 8 and 11 that sealing uses.
//
// [Of] gives the constants of an arity. [Params.Hash] hashes one preimage.
// [Batch] hashes many at once: it keeps the state as a structure of arrays, one
// vector per state element and one lane per preimage, so that every step is a
// vector operation of gnark-crypto, which uses AVX-512 IFMA where the processor
// has it. Both compute the optimised form of the permutation, in which a partial
// round costs 2t-1 multiplications instead of t².
//
// Elements are 32 bytes, little-endian and canonical, wherever they are bytes.
package poseidon

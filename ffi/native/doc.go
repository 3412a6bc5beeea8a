// Package native seals Filecoin sectors in pure Go, byte for byte as filecoin-ffi
// does, and checks what others sealed.
//
// [Prover] implements jobs.Prover. Its methods follow the order of sealing and live
// in a file each: tree-d from the pieces (treed.go), the layers of labels (sdr.go),
// tree-c, the replica and tree-r-last (treerc.go), the vanilla proof (c1.go), its
// tag (c2.go) and the way back (unseal.go). [VerifyVanilla] checks every opening of
// a vanilla proof from its bytes alone.
//
// The package makes no SNARK. Where filecoin-ffi would prove a circuit, it gives the
// digest of the vanilla proof under a tag that says so, which only the embedded node
// accepts. Real proofs are checked by the package groth16 below.
//
// Every published size is sealed. From 32 GiB on, tree-c and tree-r-last are cut into
// base trees with a file each (forest.go).
package native

// Package native seals Filecoin sectors in pure Go, byte for byte as filecoin-ffi
// does, and checks what others sealed.
//
// [Prover] implements jobs.Prover. Its methods follow the order of sealing and live
// in a file each: tree-d from the pieces (treed.go), the layers of labels (sdr.go),
// tree-c, the replica and tree-r-last (treerc.go), proofs of every challenge that a
// seed may select (synthetic.go), the vanilla proof (c1.go), its
// tag (c2.go) and the way back (unseal.go). [VerifyVanilla] checks every opening of
// a vanilla proof from its bytes alone.
//
// The package makes no SNARK. Where filecoin-ffi would prove a circuit, it gives the
// digest of the vanilla proof under a tag that says so, which only the embedded node
// accepts. Real proofs are checked by the package groth16 below.
//
// Labels and tree-d are hashed with the CPU's SHA extensions where it has them, in assembly
// that tools/sha256asm writes; [Prover.SDRTogether] labels two sectors in the time of little
// more than one.
//
// Every published size is sealed. From 32 GiB on, tree-c and tree-r-last are cut into
// base trees with a file each (forest.go).
//
// # Memory
//
// What a stage holds at most, with S the sector's size, L its layers and T threads; a
// test holds it at 8 MiB. The columns are for 16 threads.
//
//	stage                  bytes                       8 MiB   512 MiB   32 GiB   64 GiB
//	tree_d                 T·1 MiB + S/4096 + 1/4 MiB  16 MiB  16 MiB    24 MiB   32 MiB
//	sdr, a parent cache    2·S + 4 MiB                 20 MiB  1.0 GiB   64 GiB   128 GiB
//	  two in lockstep      4·S + 8 MiB                 40 MiB  2.0 GiB   128 GiB  256 GiB
//	  while it is written  (T+3)·1 MiB                 19 MiB  19 MiB    19 MiB   19 MiB
//	sdr without            3.75·S + 1 MiB              31 MiB  1.9 GiB   120 GiB  240 GiB
//	tree_rc                T·(L+7)/8 MiB + S/2048      20 MiB  20 MiB    53 MiB   69 MiB
//	                       + 1 MiB
//	  synthetic proofs     4 MiB + T/4 MiB             8 MiB   8 MiB     8 MiB    8 MiB
//	c1                     30 times its output         6 MiB   8 MiB     1.2 GiB  1.2 GiB
//	verify                 16 times that               4 MiB   4 MiB     0.6 GiB  0.6 GiB
//	unseal                 as sdr, and 4 MiB           24 MiB  1.0 GiB   64 GiB   128 GiB
//
// From 32 GiB on the output of c1 is some 40 MB of JSON, computed and not measured: no
// sector of that size was sealed with this package yet.
package native

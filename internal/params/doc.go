// Package params keeps Groth16 parameter files: which there are, whether those on
// disk are what they should be, how to get them, and how to make some for tests.
//
// A parameter file's name says only its circuit; production and test parameters of
// one circuit share it, and a proof made with the wrong ones verifies on the machine
// that made it and nowhere else. So every file is known by its digest: that of
// filecoin-ffi's parameters.json makes it production, one that [Dir.Generate] noted
// beside the files makes it test, and any other is refused. Digests are taken once
// for each version of a file, before its first use, and kept.
package params

// Package figures keeps how long each prover takes for each stage on this host, and
// chooses the faster one.
//
// `lpseal bench seal` measures and saves; a worker whose lanes leave the prover open
// loads and chooses when it starts. A figure counts for the program, the CPU and the
// stage that it was taken with: [Choose] says what stands where it does not count, or
// where there is none.
package figures

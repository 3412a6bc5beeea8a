// Command build makes filecoin-ffi's library on this machine and attaches it, as
// `make ffi` runs it:
//
//	go run ./ffi/build            build what is missing, write go.work
//	go run ./ffi/build -print     say what would be built, and with which flags
//
// It copies the module filecoin-ffi, at go.mod's version, from the Go module cache
// to the user's cache folder, builds libfilcrypto there without FVM, with its header
// and pkg-config file, and writes a go.work that puts the copy in the module's
// place. The folder's name is made from everything that changes the library:
// version, features, compiler, CPU flags. Beside the library lies testparams, which
// makes proof parameters for tests.
//
// The CPU flags matter: filecoin-ffi's SHA-256 is written for SHA-NI, and a compiler
// that may not use it makes SDR about seven times slower. So they are read from this
// CPU, the library is searched for the trace of a build without them, and the
// program refuses to run it on a CPU that lacks them.
package main

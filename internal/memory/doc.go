// Package memory says how much memory this process may have, how much it could get now,
// and how many processes were killed for want of it.
//
// On Linux the limits of the process's control group count, and of those above it, in
// version 1 and 2. macOS says how much there is and no more.
package memory

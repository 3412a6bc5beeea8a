// Package chain is lpseal's client of a Filecoin node: what the chain says of a sector, and messages that are sent once.
//
// [Client] implements jobs.Chain over go-jsonrpc. Reads are remembered for as long as a tipset stands, so their number follows the chain
// and not the number of sectors. A message is journaled under what it means before it is signed and again before it is pushed
// (design rule 13): a crash between any two steps leaves something that the next call finishes, with the same signed bytes.
//
// The wire types are in package lotus; the embedded node for one machine is package devnet.
package chain

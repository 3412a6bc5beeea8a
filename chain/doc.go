// Package chain is lpseal's client of a Filecoin node: what the chain says of a sector, and messages that are sent once.
//
// [Client] implements jobs.Chain over go-jsonrpc. Reads are remembered for as long as a tipset stands, so their number follows the chain
// and not the number of sectors. A batch goes in as few messages as hold it. A message is journaled with its members, and claimed
// for each of them, before it is signed, and again before it is pushed (design rules 12 and 13, docs/adr/0004): a crash between any two steps leaves something
// that the next call finishes, with the same signed bytes, and no two live messages carry one sector. Members that the node's estimate is against stay behind.
//
// The wire types are in package lotus; the embedded node for one machine is package devnet.
package chain

package lotus

import "github.com/filecoin-project/go-address"

// Mainnet is the name of the main network.
const Mainnet = "mainnet"

// PrintAddressesOf makes addresses print as a network's own tools print them: f… on mainnet, t… on every other. Both are read everywhere. go-address keeps
// this for the whole process, so a program calls it once, before it starts goroutines.
func PrintAddressesOf(network string) {
	prefix := address.Testnet
	if network == Mainnet {
		prefix = address.Mainnet
	}
	if address.CurrentNetwork != prefix { // who asks for what is so already may do it at any time
		address.CurrentNetwork = prefix
	}
}

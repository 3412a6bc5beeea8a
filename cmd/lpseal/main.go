// Command lpseal seals Filecoin sectors. See package internal/cli.
package main

import (
	"os"

	"github.com/lpseal/lpseal/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }

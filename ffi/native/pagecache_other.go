//go:build !linux

package native

import "os"

func startWriting(*os.File, int64, int64) {}

func settle(*os.File, int64, int64, bool) {}

func willRead(*os.File, int64, int64) {}

//go:build !linux

package files

import "os"

// dropPageCache does nothing where there is no such advice.
func dropPageCache(*os.File) {}

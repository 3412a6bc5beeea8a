//go:build !linux

package native

func (*writeBehind) settle(int64) {}

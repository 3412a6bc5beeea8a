//go:build !linux

package sdr

func adviseHugePages([]byte) {}

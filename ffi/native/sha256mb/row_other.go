//go:build !amd64 || purego

package sha256mb

func hashTwos(_, _ []byte) int { return 0 }

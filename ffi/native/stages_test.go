package native

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/provertest"
)

// BenchmarkStages times each stage by itself at 8 MiB on one thread, the graph from a
// parent cache where one is needed. MB/s are of sector.
func BenchmarkStages(b *testing.B) {
	v := provertest.Named(b, "8m-data")
	_, s, f := sealed(b, v)
	p := New(Options{Threads: 1, ParentCache: b.TempDir()})
	c1, err := p.C1(b.Context(), s, f)
	require.NoError(b, err)
	data, pieces := v.Data(), v.Pieces()
	for name, do := range map[string]func() error{
		"tree_d": func() error {
			pieces[0].Reader = bytes.NewReader(data)
			_, err := p.TreeD(b.Context(), s.Proof, f.Cache, pieces, nil)
			return err
		},
		"sdr": func() error { return p.SDR(b.Context(), s, b.TempDir(), nil) },
		"tree_rc": func() error {
			_, err := p.TreeRC(b.Context(), s, f, nil)
			return err
		},
		"c1": func() error {
			_, err := p.C1(b.Context(), s, f)
			return err
		},
		"verify": func() error { return VerifyVanilla(s, c1) },
		"unseal": func() error {
			return p.Unseal(b.Context(), s, f.Sealed, "", 0, uint64(len(data)), io.Discard, nil)
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(v.Size))
			for b.Loop() {
				require.NoError(b, do())
			}
		})
	}
}

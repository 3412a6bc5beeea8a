package native

import (
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

func TestTaggedProof(t *testing.T) {
	t.Parallel()
	s, c1 := example(t)
	p := New(Options{})
	require.Equal(t, "native", p.Name())
	proof, err := p.C2(t.Context(), s, c1)
	require.NoError(t, err)
	require.Len(t, proof, 192)
	require.Equal(t, jobs.VanillaTag, string(proof[:len(jobs.VanillaTag)]))
	require.Equal(t, make([]byte, 160-len(jobs.VanillaTag)), proof[len(jobs.VanillaTag):160])
	got, ok := Digest(proof)
	require.True(t, ok)
	require.Equal(t, sha256.Sum256(c1), got)

	require.NoError(t, p.Verify(t.Context(), s, proof, c1))
	require.ErrorContains(t, p.Verify(t.Context(), s, proof, append([]byte(" "), c1...)), "another vanilla proof")
	require.ErrorContains(t, p.Verify(t.Context(), s, Tag([]byte("{}")), []byte("{}")), "verify vanilla proof")
	_, err = p.C2(t.Context(), s, nil)
	require.ErrorContains(t, err, "empty")
}

func TestSNARKsAreNotTagged(t *testing.T) {
	t.Parallel()
	s, c1 := example(t)
	proof := Tag(c1)
	for what, snark := range map[string][]byte{
		"no tag":         make([]byte, 192),
		"a byte more":    append(proof, 0),
		"a byte less":    proof[:191],
		"longer tag":     func() []byte { b := Tag(c1); b[159] = '!'; return b }(),
		"nothing at all": nil,
	} {
		require.False(t, IsTagged(snark), what)
		_, ok := Digest(snark)
		require.False(t, ok, what)
		require.ErrorContains(t, New(Options{}).Verify(t.Context(), s, snark, c1), "not one of the native prover", what)
	}
}

package groth16

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/stretchr/testify/require"
)

func keyAndProof(t testing.TB) (key, proof []byte) {
	raw, err := os.ReadFile("../testdata/groth16-2k.json")
	require.NoError(t, err)
	var v struct {
		Key   string `json:"verifying_key_hex"`
		Cases []struct {
			Proof string `json:"groth16_proof_hex"`
		}
	}
	require.NoError(t, json.Unmarshal(raw, &v))
	key, err = hex.DecodeString(v.Key)
	require.NoError(t, err)
	proof, err = hex.DecodeString(v.Cases[0].Proof)
	require.NoError(t, err)
	return key, proof
}

func TestParseVerifyingKeyIsStrict(t *testing.T) {
	t.Parallel()
	key, _ := keyAndProof(t)
	const count = 864 // offset of the number of input points
	change := func(f func(b []byte) []byte) []byte { return f(append([]byte(nil), key...)) }
	for what, bad := range map[string][]byte{
		"empty":            nil,
		"cut short":        key[:len(key)-1],
		"cut in a point":   key[:100],
		"a byte more":      change(func(b []byte) []byte { return append(b, 0) }),
		"no input points":  change(func(b []byte) []byte { b[count+3] = 0; return b[:count+4] }),
		"wrong count":      change(func(b []byte) []byte { b[count+3]++; return b }),
		"huge count":       change(func(b []byte) []byte { b[count] = 0xff; return b }),
		"compressed point": change(func(b []byte) []byte { b[0] |= flagCompressed; return b }),
		"infinity":         change(func(b []byte) []byte { clear(b[:96]); b[0] = flagInfinity; return b }),
		"sign flag":        change(func(b []byte) []byte { b[0] |= flagSign; return b }),
		"off the curve":    change(func(b []byte) []byte { b[95] ^= 1; return b }),
		"last off curve":   change(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }),
	} {
		_, err := ParseVerifyingKey(bad)
		require.ErrorContains(t, err, "parse verifying key", what)
	}
}

func TestVerifyRefusesMalformedProofs(t *testing.T) {
	t.Parallel()
	key, proof := keyAndProof(t)
	vk, err := ParseVerifyingKey(key)
	require.NoError(t, err)
	inputs := make([]fr.Element, vk.Inputs())
	require.ErrorIs(t, vk.Verify(proof, inputs), ErrInvalid, "wrong inputs")
	require.ErrorContains(t, vk.Verify(proof, inputs[1:]), "38 public inputs")
	require.ErrorContains(t, vk.Verify(proof[1:], inputs), "191 bytes")
	require.ErrorContains(t, vk.Verify(nil), "0 bytes")
	require.ErrorContains(t, vk.Verify(proof, inputs, inputs), "192 bytes, want 384")

	for what, bad := range malformed(t, proof) {
		err := vk.Verify(bad, inputs)
		require.ErrorContains(t, err, "parse proof 0", what)
		require.NotErrorIs(t, err, ErrInvalid, what)
		require.ErrorContains(t, vk.Verify(append(bytes.Clone(proof), bad...), inputs, inputs), "parse proof 1", what)
	}
}

// malformed gives proofs in which one point is not as it must be.
func malformed(t testing.TB, proof []byte) map[string][]byte {
	all := map[string][]byte{}
	for _, p := range []struct {
		name     string
		at, size int
		outside  []byte // on the curve and not in the subgroup
	}{
		{"A", 0, bls.SizeOfG1AffineCompressed, outsideG1(t)},
		{"B", 48, bls.SizeOfG2AffineCompressed, outsideG2(t)},
		{"C", 144, bls.SizeOfG1AffineCompressed, outsideG1(t)},
	} {
		with := func(what string, change func(point []byte)) {
			bad := bytes.Clone(proof)
			change(bad[p.at:][:p.size])
			all[p.name+" "+what] = bad
		}
		with("without the flag of its form", func(b []byte) { b[0] &^= flagCompressed })
		with("is infinity", func(b []byte) { clear(b); b[0] = flagCompressed | flagInfinity })
		with("is infinity and more", func(b []byte) { b[0] |= flagInfinity })
		with("is zeros", func(b []byte) { clear(b) })
		with("is outside the subgroup", func(b []byte) { copy(b, p.outside) })
		with("has no y", func(b []byte) { copy(b, offCurve(t, p.size)) })
		with("has x as large as the modulus", func(b []byte) {
			clear(b)
			fp.Modulus().FillBytes(b[p.size-fp.Bytes:])
			b[0] |= flagCompressed
		})
	}
	return all
}

// outsideG1 finds a point of E(Fp): nearly all are outside the subgroup.
func outsideG1(t testing.TB) []byte {
	var p bls.G1Affine
	for x := uint64(1); ; x++ {
		p.X.SetUint64(x)
		var rhs, four fp.Element
		rhs.Square(&p.X).Mul(&rhs, &p.X).Add(&rhs, four.SetUint64(4))
		if p.Y.Sqrt(&rhs) != nil && !p.IsInSubGroup() {
			require.True(t, p.IsOnCurve())
			b := p.Bytes()
			return b[:]
		}
	}
}

// outsideG2 is the same for the twist.
func outsideG2(t testing.TB) []byte {
	var p bls.G2Affine
	for x := uint64(1); ; x++ {
		p.X.A0.SetUint64(x)
		rhs, b := p.X, p.X
		b.A0.SetUint64(4)
		b.A1.SetUint64(4)
		rhs.Square(&p.X).Mul(&rhs, &p.X).Add(&rhs, &b)
		if rhs.Legendre() == 1 && !p.IsInSubGroup() {
			p.Y.Sqrt(&rhs)
			require.True(t, p.IsOnCurve())
			b := p.Bytes()
			return b[:]
		}
	}
}

// offCurve finds an x that no point has.
func offCurve(t testing.TB, size int) []byte {
	b := make([]byte, size)
	b[0] = flagCompressed
	for {
		b[size-1]++
		r := reader{rest: b, compressed: true}
		if size == bls.SizeOfG1AffineCompressed {
			r.g1(new(bls.G1Affine))
		} else {
			r.g2(new(bls.G2Affine))
		}
		require.Error(t, r.err, "x=%d is in the subgroup", b[size-1])
		if strings.Contains(r.err.Error(), "square root") {
			return b
		}
	}
}

func TestKeysParseOnce(t *testing.T) {
	t.Parallel()
	key, _ := keyAndProof(t)
	var keys Keys
	first, err := keys.Parse(key)
	require.NoError(t, err)
	again, err := keys.Parse(bytes.Clone(key))
	require.NoError(t, err)
	require.Same(t, first, again)
	key[len(key)-1] ^= 1
	_, err = keys.Parse(key)
	require.ErrorContains(t, err, "parse verifying key")
}

func FuzzParseVerifyingKey(f *testing.F) {
	key, _ := keyAndProof(f)
	f.Add(key)
	f.Add(key[:864])
	f.Fuzz(func(t *testing.T, file []byte) {
		vk, err := ParseVerifyingKey(file)
		if err == nil {
			require.Len(t, file, 868+96*(vk.Inputs()+1))
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	key, proof := keyAndProof(b)
	vk, err := ParseVerifyingKey(key)
	require.NoError(b, err)
	inputs := make([]fr.Element, vk.Inputs())
	for i := range inputs {
		inputs[i].SetUint64(uint64(i) * 0x9e3779b97f4a7c15)
	}
	for b.Loop() {
		require.ErrorIs(b, vk.Verify(proof, inputs), ErrInvalid)
	}
}

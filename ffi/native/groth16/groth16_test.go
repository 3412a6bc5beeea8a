package groth16

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

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
	for what, at := range map[string]int{"A": 0, "B": 48, "C": 144} {
		bad := append([]byte(nil), proof...)
		bad[at] &^= flagCompressed
		require.ErrorContains(t, vk.Verify(bad, inputs), "flags", what)
		bad[at] = flagCompressed | flagInfinity
		clear(bad[at+1:])
		require.ErrorContains(t, vk.Verify(bad, inputs), "flags", what)
	}
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

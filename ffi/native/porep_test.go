package native

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/native/groth16"
	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/jobs"
)

type porepVectors struct {
	Key   string `json:"verifying_key_hex"`
	Cases []struct {
		provertest.Vector
		Groth16 string `json:"groth16_proof_hex"`
	}
}

func (v porepVectors) key(t testing.TB) []byte {
	b, err := hex.DecodeString(v.Key)
	require.NoError(t, err)
	return b
}

func loadPorep(t testing.TB) (v porepVectors) {
	raw, err := os.ReadFile("testdata/groth16-2k.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &v))
	require.Len(t, v.Cases, 2)
	return v
}

// TestVerifyPoRep accepts filecoin-ffi's SNARKs and refuses them with any one input
// changed, and with any one bit of the proof changed.
func TestVerifyPoRep(t *testing.T) {
	t.Parallel()
	vectors := loadPorep(t)
	vk, err := groth16.ParseVerifyingKey(vectors.key(t))
	require.NoError(t, err)
	require.Equal(t, 39, vk.Inputs())

	for i, c := range vectors.Cases {
		good := c.Seal(t)
		proof, err := hex.DecodeString(c.Groth16)
		require.NoError(t, err)
		require.NoError(t, VerifyPoRep(vk, good, proof))

		other := vectors.Cases[1-i].Seal(t)
		for what, change := range map[string]func(*jobs.Seal){
			"miner":      func(s *jobs.Seal) { s.ID.Miner++ },
			"number":     func(s *jobs.Seal) { s.ID.Number++ },
			"seal proof": func(s *jobs.Seal) { s.Proof = 0 },
			"ticket":     func(s *jobs.Seal) { s.Ticket = other.Ticket },
			"seed":       func(s *jobs.Seal) { s.Seed = other.Seed },
			"CommD":      func(s *jobs.Seal) { s.CommD = other.CommD },
			"CommR":      func(s *jobs.Seal) { s.CommR = other.CommR },
		} {
			s := good
			change(&s)
			require.ErrorIs(t, VerifyPoRep(vk, s, proof), groth16.ErrInvalid, what)
		}
		for at := 0; at < len(proof); at += 5 {
			bad := append([]byte(nil), proof...)
			bad[at] ^= 1 << (at % 8)
			require.Error(t, VerifyPoRep(vk, good, bad), "byte %d", at)
		}
		require.ErrorContains(t, VerifyPoRep(vk, good, proof[:191]), "191 bytes")
		require.ErrorContains(t, VerifyPoRep(vk, good, append(proof, 0)), "193 bytes")
	}
}

// TestPublicInputsOfMainnet checks the shape that 32 GiB circuits have.
func TestPublicInputsOfMainnet(t *testing.T) {
	t.Parallel()
	s := provertest.Named(t, "2k-cc").Seal(t)
	s.Proof = 8
	r, err := newReplica(s)
	require.NoError(t, err)
	in, err := r.publicInputs(node(s.Seed), node{1})
	require.NoError(t, err)
	require.Len(t, in, 10)
	for _, partition := range in {
		require.Len(t, partition, 327)
	}
}

// TestVerifyTogether checks two proofs in one combined check, as partitions are.
func TestVerifyTogether(t *testing.T) {
	t.Parallel()
	vectors := loadPorep(t)
	vk, err := groth16.ParseVerifyingKey(vectors.key(t))
	require.NoError(t, err)
	var proofs []byte
	var inputs [][]fr.Element
	for _, c := range vectors.Cases {
		s := c.Seal(t)
		r, err := newReplica(s)
		require.NoError(t, err)
		commR, err := replicaCommitment(s.CommR)
		require.NoError(t, err)
		in, err := r.publicInputs(node(s.Seed), commR)
		require.NoError(t, err)
		proof, err := hex.DecodeString(c.Groth16)
		require.NoError(t, err)
		proofs, inputs = append(proofs, proof...), append(inputs, in...)
	}
	require.NoError(t, vk.Verify(proofs, inputs...))
	require.ErrorIs(t, vk.Verify(proofs, inputs[1], inputs[0]), groth16.ErrInvalid, "swapped")
	for i := range inputs {
		wrong := slices.Clone(inputs)
		wrong[i] = slices.Clone(inputs[i])
		wrong[i][38].SetUint64(1)
		require.ErrorIs(t, vk.Verify(proofs, wrong...), groth16.ErrInvalid, "inputs of proof %d", i)
	}

	// Two false proofs whose errors cancel out in a plain sum must not pass a weighted one.
	const c1, c2 = groth16.ProofSize - bls.SizeOfG1AffineCompressed, 2*groth16.ProofSize - bls.SizeOfG1AffineCompressed
	_, _, shift, _ := bls.Generators()
	move := func(at int, by bls.G1Affine) {
		var c bls.G1Affine
		_, err := c.SetBytes(proofs[at:])
		require.NoError(t, err)
		b := c.Add(&c, &by).Bytes()
		copy(proofs[at:], b[:])
	}
	move(c1, shift)
	move(c2, *new(bls.G1Affine).Neg(&shift))
	require.ErrorIs(t, vk.Verify(proofs, inputs...), groth16.ErrInvalid)
}

// FuzzVerifyPoRep has proofs of any bytes. Beside the genuine one only its twin is
// right: A and B negated together prove the same.
func FuzzVerifyPoRep(f *testing.F) {
	vectors := loadPorep(f)
	vk, err := groth16.ParseVerifyingKey(vectors.key(f))
	require.NoError(f, err)
	s := vectors.Cases[0].Seal(f)
	proof, err := hex.DecodeString(vectors.Cases[0].Groth16)
	require.NoError(f, err)
	twin := bytes.Clone(proof)
	twin[0] ^= 0x20
	twin[bls.SizeOfG1AffineCompressed] ^= 0x20
	f.Add(proof)
	f.Add(twin)
	f.Add(proof[:100])
	f.Fuzz(func(t *testing.T, b []byte) {
		err := VerifyPoRep(vk, s, b)
		require.Equal(t, bytes.Equal(b, proof) || bytes.Equal(b, twin), err == nil, "%x: %v", b, err)
	})
}

func BenchmarkVerifyPoRep(b *testing.B) {
	vectors := loadPorep(b)
	vk, err := groth16.ParseVerifyingKey(vectors.key(b))
	require.NoError(b, err)
	s := vectors.Cases[0].Seal(b)
	proof, err := hex.DecodeString(vectors.Cases[0].Groth16)
	require.NoError(b, err)
	for b.Loop() {
		require.NoError(b, VerifyPoRep(vk, s, proof))
	}
}

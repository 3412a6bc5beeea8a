package native

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/native/groth16"
	"github.com/lpseal/lpseal/jobs"
)

type porepVectors struct {
	Key   string `json:"verifying_key_hex"`
	Cases []struct {
		vector
		Groth16 string `json:"groth16_proof_hex"`
	}
}

func (v porepVectors) key(t *testing.T) []byte {
	b, err := hex.DecodeString(v.Key)
	require.NoError(t, err)
	return b
}

func loadPorep(t *testing.T) (v porepVectors) {
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
		good := c.seal(t)
		proof, err := hex.DecodeString(c.Groth16)
		require.NoError(t, err)
		require.NoError(t, VerifyPoRep(vk, good, proof))

		other := vectors.Cases[1-i].seal(t)
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

// TestPublicInputsOfMainnet checks the shape that 32 GiB circuits have: no proof of
// that size can be made here.
func TestPublicInputsOfMainnet(t *testing.T) {
	t.Parallel()
	s := vectorNamed(t, "2k-cc").seal(t)
	s.Proof = 8
	spec, err := interactive(s.Proof)
	require.NoError(t, err)
	r, err := spec.replica(s)
	require.NoError(t, err)
	in, err := r.publicInputs(node(s.Seed), node{1})
	require.NoError(t, err)
	require.Len(t, in, 10)
	for _, partition := range in {
		require.Len(t, partition, 327)
	}
}

package native

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/jobs"
)

// example is filecoin-ffi's own C1 output and the seal it is for.
func example(t testing.TB) (jobs.Seal, []byte) {
	return provertest.Named(t, "2k-data").Seal(t), provertest.C1Output(t)
}

func encoded(t *testing.T, p *vanillaProof) []byte {
	t.Helper()
	b, err := p.encode()
	require.NoError(t, err)
	return b
}

func TestVerifyVanillaBindsTheSeal(t *testing.T) {
	t.Parallel()
	good, c1 := example(t)
	require.NoError(t, VerifyVanilla(good, c1))
	other := provertest.Named(t, "2k-cc").Seal(t)
	for what, change := range map[string]func(*jobs.Seal){
		"miner":      func(s *jobs.Seal) { s.ID.Miner++ },
		"number":     func(s *jobs.Seal) { s.ID.Number++ },
		"seal proof": func(s *jobs.Seal) { s.Proof = 0 },
		"size":       func(s *jobs.Seal) { s.Proof = 6 },
		"ticket":     func(s *jobs.Seal) { s.Ticket = other.Ticket },
		"seed":       func(s *jobs.Seal) { s.Seed = other.Seed },
		"CommD":      func(s *jobs.Seal) { s.CommD = other.CommD },
		"CommR":      func(s *jobs.Seal) { s.CommR = other.CommR },
	} {
		s := good
		change(&s)
		err := VerifyVanilla(s, c1)
		require.ErrorContains(t, err, "verify vanilla proof of s-t0", what)
		fault, ok := jobs.Classify(t.Context(), err)
		require.True(t, ok)
		require.Equal(t, jobs.Input, fault.Class, what)
	}
	zero := good
	zero.Seed = make([]byte, 32)
	require.ErrorContains(t, VerifyVanilla(zero, c1), "seed")
}

// TestVerifyVanillaChecksEveryField changes each value of a proof in turn, and the
// length of each list: every one must be refused.
func TestVerifyVanillaChecksEveryField(t *testing.T) {
	t.Parallel()
	s, c1 := example(t)
	r, err := newReplica(s)
	require.NoError(t, err)
	v, err := r.verifier(s)
	require.NoError(t, err)
	proof, err := parseVanilla(c1)
	require.NoError(t, err)
	require.NoError(t, v.proof(t.Context(), 1, proof))

	tried := 0
	refused := func(verify func() error) func(string) {
		require.NoError(t, verify())
		return func(path string) {
			tried++
			require.Error(t, verify(), "changed %s", path)
		}
	}
	challenge := reflect.TypeFor[challengeProof]()
	eachValue(reflect.ValueOf(proof).Elem(), "", challenge, refused(func() error { return v.proof(t.Context(), 1, proof) }))
	partition := proof.Proofs["StackedDrg2KiBV1"][0]
	for i, c := range v.challenges(v.seed, v.commR) {
		check := refused(func() error { return v.challenge(&partition[i], c) })
		eachValue(reflect.ValueOf(&partition[i]).Elem(), fmt.Sprintf("challenge %d", i), nil, check)
	}
	require.Greater(t, tried, 1000)
	require.NoError(t, v.proof(t.Context(), 1, proof), "every change was taken back")
}

// eachValue changes one value after the other, calls visit, and changes it back. It
// does not go into values of type skip.
func eachValue(v reflect.Value, path string, skip reflect.Type, visit func(path string)) {
	change := func(to reflect.Value, how string) {
		was := reflect.New(v.Type()).Elem()
		was.Set(v)
		v.Set(to)
		visit(path + how)
		v.Set(was)
	}
	switch {
	case v.Type() == skip:
	case v.Type() == reflect.TypeFor[node]():
		n := v.Interface().(node)
		at := len(path) % nodeSize
		n[at] ^= 1 << (len(path) % 8)
		change(reflect.ValueOf(n), fmt.Sprintf("[%d]", at))
	case v.CanInt():
		change(reflect.ValueOf(v.Int()+1).Convert(v.Type()), "+1")
	case v.CanUint():
		change(reflect.ValueOf(v.Uint()+1).Convert(v.Type()), "+1")
	case v.Kind() == reflect.String:
		change(reflect.ValueOf(v.String()+"_1"), "_1")
	case v.Kind() == reflect.Slice:
		last := v.Len() - 1
		change(v.Slice(0, last), " without its last")
		change(reflect.Append(v.Slice3(0, last+1, last+1), v.Index(last)), " with its last twice")
		for i := range v.Len() {
			eachValue(v.Index(i), fmt.Sprintf("%s[%d]", path, i), skip, visit)
		}
	case v.Kind() == reflect.Map:
		key := v.MapKeys()[0]
		both := reflect.MakeMap(v.Type())
		both.SetMapIndex(key, v.MapIndex(key))
		both.SetMapIndex(reflect.ValueOf(key.String()+"_1"), v.MapIndex(key))
		change(both, " with a second key")
		both.SetMapIndex(key, reflect.Value{})
		change(both, " under another key")
		list := v.MapIndex(key)
		for i := range list.Len() {
			eachValue(list.Index(i), fmt.Sprintf("%s[%s][%d]", path, key, i), skip, visit)
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.Type != reflect.TypeFor[null]() {
				eachValue(v.Field(i), path+"."+f.Name, skip, visit)
			}
		}
	default:
		panic("no rule to change " + path)
	}
}

// TestVerifyVanillaHasOneEncoding refuses the same proof in other bytes.
func TestVerifyVanillaHasOneEncoding(t *testing.T) {
	t.Parallel()
	s, c1 := example(t)
	for what, bad := range map[string]string{
		"white space":   " " + string(c1),
		"trailing":      string(c1) + "\n",
		"second value":  string(c1) + "{}",
		"unknown field": `{"extra":1,` + string(c1[1:]),
		"double field":  `{"comm_r":null,` + string(c1[1:]),
		"empty":         "",
		"null":          "null",
		"object":        "{}",
	} {
		require.ErrorContains(t, VerifyVanilla(s, []byte(bad)), "vanilla proof", what)
	}
}

// TestVerifyVanillaRefusesFlippedBytes flips bits of the JSON itself.
func TestVerifyVanillaRefusesFlippedBytes(t *testing.T) {
	t.Parallel()
	s, c1 := example(t)
	for at := 0; at < len(c1); at += 1999 {
		bad := append([]byte(nil), c1...)
		bad[at] ^= 1 << (at % 3)
		require.Error(t, VerifyVanilla(s, bad), "byte %d: %q", at, bad[at])
	}
}

func FuzzVerifyVanilla(f *testing.F) {
	s, c1 := example(f)
	f.Add(uint32(0), byte(1))
	f.Add(uint32(70_000), byte(0x21))
	f.Fuzz(func(t *testing.T, at uint32, flip byte) {
		if flip == 0 {
			return
		}
		bad := append([]byte(nil), c1...)
		bad[int(at)%len(bad)] ^= flip
		require.Error(t, VerifyVanilla(s, bad))
	})
}

// TestC1RefusesAReplicaThatDoesNotProve damages each file that C1 reads.
func TestC1RefusesAReplicaThatDoesNotProve(t *testing.T) {
	t.Parallel()
	v := provertest.Named(t, "2k-data")
	for _, name := range []string{"sealed", treeCFile, treeRFile, jobs.LayerFile(1), jobs.LayerFile(2), jobs.TreeDFile} {
		p, s, f := sealed(t, v)
		path := f.Cache + "/" + name
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		for i := 0; i < len(b); i += nodeSize {
			b[i] ^= 1
		}
		require.NoError(t, os.WriteFile(path, b, 0o600))
		_, err = p.C1(t.Context(), s, f)
		require.ErrorContains(t, err, "c1 s-t01000-2: ", name)
		fault, ok := jobs.Classify(t.Context(), err)
		require.True(t, ok)
		require.Equal(t, jobs.Input, fault.Class, name)
	}
}

// TestVerifyVanillaRefusesForgers has provers who cheat in one place and are
// consistent everywhere else: their trees, roots and CommR are of what they cheated
// with.
func TestVerifyVanillaRefusesForgers(t *testing.T) {
	t.Parallel()
	v := provertest.Named(t, "2k-data")
	garbage := make([]byte, v.Size)
	for i := range garbage {
		garbage[i] = byte(i) &^ 0xc0
	}
	file := func(nodes []byte) input {
		path := filepath.Join(t.TempDir(), "nodes")
		require.NoError(t, os.WriteFile(path, nodes, 0o600))
		in, err := openNodes(path, len(nodes)/nodeSize)
		require.NoError(t, err)
		return in
	}
	for _, forger := range []struct {
		name   string
		treeC  func(*inputs) // what the columns are made of
		treeR  func(*inputs) // what the replica is made of
		refuse string
	}{
		{"honest", func(*inputs) {}, func(*inputs) {}, ""},
		{"labels out of nowhere in layer 1", func(in *inputs) { in.layers[0] = file(garbage) }, func(*inputs) {}, "layer 1: the label is not the hash of its parents"},
		{"a key out of nowhere", func(in *inputs) { in.layers[1] = file(garbage) }, func(*inputs) {}, "layer 2: the label is not the hash of its parents"},
		{"replica of another key", func(*inputs) {}, func(in *inputs) { in.layers[1] = file(garbage) }, "the replica is not the label plus the data"},
		{"other data", func(in *inputs) {
			dir := t.TempDir()
			_, err := New(Options{}).TreeD(t.Context(), v.Proof, dir, nil, nil)
			require.NoError(t, err)
			tree, err := openNodes(filepath.Join(dir, jobs.TreeDFile), 127)
			require.NoError(t, err)
			in.data = tree
		}, func(*inputs) {}, "tree-d: the path leads to"},
	} {
		_, s, f := sealed(t, v)
		r, err := newReplica(s)
		require.NoError(t, err)
		o, err := r.openSealed(f)
		require.NoError(t, err)
		t.Cleanup(o.close)

		forger.treeC(&o.inputs)
		replica := inputs{data: o.data, layers: slices.Clone(o.layers)}
		forger.treeR(&replica)
		ignore := func(jobs.Progress) {}
		commC, err := r.treeC(t.Context(), 1, o.inputs, f.Cache, ignore)
		require.NoError(t, err)
		commRLast, err := r.treeR(t.Context(), 1, replica, f, ignore)
		require.NoError(t, err)
		commR, err := poseidonHash(commC, commRLast)
		require.NoError(t, err)
		s.CommR, err = replicaCID(commR)
		require.NoError(t, err)

		o.columns, err = openForest(f.Cache, jobs.TreeC, r.forest(), 0)
		require.NoError(t, err)
		o.rows, err = openForest(f.Cache, jobs.TreeR, r.forest(), o.rows.lowest)
		require.NoError(t, err)
		changed, err := openNodes(f.Sealed, r.Nodes())
		require.NoError(t, err)
		o.low = newLowRows(changed, r.Base, o.rows.lowest)
		proof, err := o.prove(t.Context(), 2, node(s.Seed), commR)
		require.NoError(t, err)
		err = VerifyVanilla(s, encoded(t, proof))
		if forger.refuse != "" {
			require.ErrorContains(t, err, forger.refuse, forger.name)
			continue
		}
		require.NoError(t, err, forger.name)

		// Even an honest prover cannot claim a CommR that its trees do not have.
		other := provertest.Named(t, "2k-cc").Seal(t)
		s.CommR = other.CommR
		commR, err = replicaCommitment(other.CommR)
		require.NoError(t, err)
		proof, err = o.prove(t.Context(), 2, node(s.Seed), commR)
		require.NoError(t, err)
		require.ErrorContains(t, VerifyVanilla(s, encoded(t, proof)), "do not compose to CommR")
	}
}

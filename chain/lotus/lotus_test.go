package lotus_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/batch"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/stretchr/testify/require"
	cbg "github.com/whyrusleeping/cbor-gen"

	"github.com/lpseal/lpseal/chain/lotus"
)

func TestMain(m *testing.M) {
	lotus.PrintAddressesOf("localnet") // the recordings are of a private network: t addresses
	os.Exit(m.Run())
}

// exchange is one recorded request with its answer, or a notification.
type exchange struct {
	Name   string
	Note   string
	Method string
	Params []json.RawMessage
	Result json.RawMessage
	Error  *jsonrpc.JSONRPCError
}

func recordings(t *testing.T) []exchange {
	t.Helper()
	raw, err := os.ReadFile("testdata/lotus-rpc.json")
	require.NoError(t, err)
	var file struct{ Exchanges []exchange }
	require.NoError(t, json.Unmarshal(raw, &file))
	require.Len(t, file.Exchanges, 101)
	return file.Exchanges
}

// Every recorded request, answer, error and notification goes through the types of the method table and must come out as it was.
func TestCodecConformance(t *testing.T) {
	t.Parallel()
	table := reflect.TypeFor[lotus.FullNode]()
	for i, x := range recordings(t) {
		t.Run(x.Name, func(t *testing.T) {
			t.Parallel()
			if x.Method == "xrpc.ch.val" { // a notification: channel, value
				require.Len(t, x.Params, 2)
				roundTrip(t, x.Params[1], reflect.TypeFor[[]*lotus.HeadChange]())
				return
			}
			if x.Error != nil {
				roundTripError(t, x.Error)
			}
			field, ok := table.FieldByName(strings.TrimPrefix(x.Method, lotus.Namespace+"."))
			require.Equal(t, x.Error == nil || x.Error.Code != lotus.CodeMethodNotFound, ok, "exchange %d: method table", i)
			if !ok {
				return
			}
			require.Equal(t, field.Type.NumIn()-1, len(x.Params), "parameters")
			for n, param := range x.Params {
				in := field.Type.In(n + 1)
				if x.Error != nil && x.Error.Code == lotus.CodeParse {
					require.Error(t, json.Unmarshal(x.Params[0], reflect.New(in).Interface()))
					return
				}
				roundTrip(t, param, in)
			}
			if x.Error == nil {
				roundTrip(t, x.Result, field.Type.Out(0))
			}
		})
	}
}

func roundTrip(t *testing.T, record json.RawMessage, typ reflect.Type) {
	t.Helper()
	v := reflect.New(typ)
	require.NoError(t, json.Unmarshal(record, v.Interface()), "decode into %s", typ)
	again, err := json.Marshal(v.Interface())
	require.NoError(t, err)
	sameJSON(t, typ.String(), parse(t, record), parse(t, again))
}

func parse(t *testing.T, raw []byte) (v any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // gas limits are larger than a float64 holds exactly
	require.NoError(t, dec.Decode(&v))
	return v
}

// optional are the members that Lotus writes and does not need: a few recorded requests were typed without them.
var optional = map[string]bool{"CID": true, "MsgUuid": true, "MaximizeFeeCap": true}

// sameJSON compares everything but the order of members.
func sameJSON(t *testing.T, path string, want, got any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		require.True(t, ok, "%s: not an object", path)
		for key, value := range want {
			require.Contains(t, got, key, path)
			sameJSON(t, path+"."+key, value, got[key])
		}
		for key := range got {
			require.True(t, optional[key] || has(want, key), "%s: member %s is not in the record", path, key)
		}
	case []any:
		got, ok := got.([]any)
		require.True(t, ok, "%s: not a list", path)
		require.Len(t, got, len(want), path)
		for i := range want {
			sameJSON(t, path, want[i], got[i])
		}
	default:
		require.Equal(t, want, got, path)
	}
}

func has(m map[string]any, key string) bool { _, ok := m[key]; return ok }

func roundTripError(t *testing.T, record *jsonrpc.JSONRPCError) {
	t.Helper()
	if record.Code != lotus.CodeExecutionReverted {
		require.Nil(t, record.Data, "only execution errors carry data")
		return
	}
	var reverted lotus.ExecutionReverted
	require.NoError(t, reverted.FromJSONRPCError(*record))
	wire, err := reverted.ToJSONRPCError()
	require.NoError(t, err)
	require.Equal(t, *record, wire)
	require.ErrorContains(t, &reverted, "message execution failed")
}

// Each message, signed message and block in the recordings names itself; the CID is computed again from our CBOR.
func TestCids(t *testing.T) {
	t.Parallel()
	var messages, signed, blocks int
	for _, x := range recordings(t) {
		for _, raw := range append(x.Params, x.Result) {
			if len(raw) == 0 {
				continue
			}
			walk(parse(t, raw), func(obj map[string]any) {
				raw, err := json.Marshal(obj)
				require.NoError(t, err)
				switch {
				case has(obj, "Cids") && has(obj, "Blocks"):
					var ts lotus.TipSet
					require.NoError(t, json.Unmarshal(raw, &ts))
					require.Equal(t, ts.Cids, lotus.NewTipSet(ts.Blocks...).Cids, x.Name)
					blocks += len(ts.Blocks)
				case has(obj, "CID") && has(obj, "Signature"):
					var m lotus.SignedMessage
					require.NoError(t, json.Unmarshal(raw, &m))
					require.Equal(t, cidIn(obj), m.Cid().String(), x.Name)
					signed++
				case has(obj, "CID") && has(obj, "GasFeeCap"):
					var m lotus.Message
					require.NoError(t, json.Unmarshal(raw, &m))
					require.Equal(t, cidIn(obj), m.Cid().String(), x.Name)
					messages++
				}
			})
		}
	}
	require.Equal(t, []int{28, 17, 6}, []int{messages, signed, blocks}, "recorded names checked")
}

func cidIn(obj map[string]any) string { return obj["CID"].(map[string]any)["/"].(string) }

func walk(v any, visit func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(v)
		for _, member := range v {
			walk(member, visit)
		}
	case []any:
		for _, item := range v {
			walk(item, visit)
		}
	}
}

// Objects that go on chain must be read and written again byte for byte.
func TestCBORConformance(t *testing.T) {
	t.Parallel()
	var precommits, commits int
	for _, x := range recordings(t) {
		for _, raw := range append(x.Params, x.Result) {
			if len(raw) == 0 {
				continue
			}
			walk(parse(t, raw), func(obj map[string]any) {
				if !has(obj, "GasFeeCap") {
					return
				}
				raw, err := json.Marshal(obj)
				require.NoError(t, err)
				var m lotus.Message
				require.NoError(t, json.Unmarshal(raw, &m))
				sameCBOR(t, mustCBOR(t, &m), new(lotus.Message))
				switch m.Method {
				case builtin.MethodsMiner.PreCommitSectorBatch2:
					if x.Name == "estimate-bad-params" {
						require.Error(t, new(miner.PreCommitSectorBatchParams2).UnmarshalCBOR(bytes.NewReader(m.Params)))
						return
					}
					sameCBOR(t, m.Params, new(miner.PreCommitSectorBatchParams2))
					precommits++
				case builtin.MethodsMiner.ProveCommitSectors3:
					sameCBOR(t, m.Params, new(miner.ProveCommitSectors3Params))
					commits++
				}
			})
		}
	}
	require.Equal(t, []int{25, 6}, []int{precommits, commits}, "parameters checked")

	sameCBOR(t, []byte{0x82, 0x01, 0x80}, new(batch.BatchReturn)) // the recorded return of ProveCommitSectors3
	for _, x := range recordings(t) {
		if x.Name == "search-msg" {
			var found lotus.MsgLookup
			require.NoError(t, json.Unmarshal(x.Result, &found))
			sameCBOR(t, mustCBOR(t, &found.Receipt), new(lotus.MessageReceipt))
		}
	}
}

type cborType interface {
	cbg.CBORMarshaler
	cbg.CBORUnmarshaler
}

func mustCBOR(t *testing.T, v cbg.CBORMarshaler) []byte {
	t.Helper()
	var buf bytes.Buffer
	require.NoError(t, v.MarshalCBOR(&buf))
	return buf.Bytes()
}

func sameCBOR(t *testing.T, want []byte, into cborType) {
	t.Helper()
	require.NoError(t, into.UnmarshalCBOR(bytes.NewReader(want)))
	require.Equal(t, want, mustCBOR(t, into))
}

// The recorded signatures are by Lotus's own BLS library: ours must accept them, and refuse the one that the node refused.
func TestRecordedSignatures(t *testing.T) {
	t.Parallel()
	var good, bad int
	for _, x := range recordings(t) {
		switch x.Method {
		case "Filecoin.MpoolPush":
			var m lotus.SignedMessage
			require.NoError(t, json.Unmarshal(x.Params[0], &m))
			if x.Name == "push-bad-signature" {
				require.ErrorIs(t, m.Verify(), lotus.ErrSignature)
				bad++
				continue
			}
			require.NoError(t, m.Verify(), x.Name)
			good++
			m.Message.Nonce++
			require.ErrorIs(t, m.Verify(), lotus.ErrSignature)
		case "Filecoin.WalletSign":
			var (
				signer address.Address
				data   []byte
				m      lotus.SignedMessage
			)
			require.NoError(t, json.Unmarshal(x.Params[0], &signer))
			require.NoError(t, json.Unmarshal(x.Params[1], &data))
			require.NoError(t, json.Unmarshal(x.Result, &m.Signature))
			require.NoError(t, lotus.VerifySignature(&m.Signature, signer, data))
			good++
		}
	}
	require.Equal(t, []int{9, 1}, []int{good, bad})
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for name, newKey := range map[string]func([32]byte) (*lotus.Key, error){
		"secp256k1": lotus.NewSecp256k1Key, "bls": lotus.NewBLSKey,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := newKey([32]byte{})
			require.Error(t, err, "a zero secret is no key")
			key, err := newKey([32]byte{1, 2, 3})
			require.NoError(t, err)
			other, err := newKey([32]byte{3, 2, 1})
			require.NoError(t, err)
			to, err := address.NewIDAddress(1000)
			require.NoError(t, err)

			signed, err := key.SignMessage(&lotus.Message{From: key.Address(), To: to, Nonce: 7})
			require.NoError(t, err)
			require.NoError(t, signed.Verify())
			require.Equal(t, name == "bls", signed.Cid() == signed.Message.Cid(), "a BLS message keeps its unsigned name")
			sameCBOR(t, mustCBOR(t, signed), new(lotus.SignedMessage))

			forged := *signed
			forged.Message.From = other.Address()
			require.ErrorIs(t, forged.Verify(), lotus.ErrSignature)
			for _, bit := range []int{0, 20, 40, len(signed.Signature.Data) - 1} {
				broken := *signed
				broken.Signature.Data = bytes.Clone(signed.Signature.Data)
				broken.Signature.Data[bit] ^= 1
				require.ErrorIs(t, broken.Verify(), lotus.ErrSignature, "byte %d", bit)
			}
			_, err = key.SignMessage(&lotus.Message{From: other.Address(), To: to})
			require.Error(t, err, "a key signs only for itself")
		})
	}
}

// The address of a known secp256k1 key: the secret 1, whose public key is the curve's generator.
func TestSecp256k1Address(t *testing.T) {
	t.Parallel()
	key, err := lotus.NewSecp256k1Key([32]byte{31: 1})
	require.NoError(t, err)
	require.Equal(t, "t1wcuzrs736zqzbbjjdgl2wvyyufuk4pefbymzf2i", key.Address().String())
}

func TestTipSetKey(t *testing.T) {
	t.Parallel()
	var fromNull, fromEmpty lotus.TipSetKey
	require.NoError(t, json.Unmarshal([]byte("null"), &fromNull))
	require.NoError(t, json.Unmarshal([]byte("[]"), &fromEmpty))
	require.Equal(t, lotus.EmptyTSK, fromNull)
	require.True(t, fromEmpty.IsEmpty())
	raw, err := json.Marshal(lotus.EmptyTSK)
	require.NoError(t, err)
	require.Equal(t, "[]", string(raw))
	require.Equal(t, "{}", lotus.EmptyTSK.String())
}

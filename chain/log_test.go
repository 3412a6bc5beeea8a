package chain

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// valueOf parses what a journal holds under a key, as whoever reads that key does.
func valueOf(key string, raw []byte) (any, error) {
	var v any
	switch {
	case isMessage(key):
		return decodeEntry(key, raw)
	case strings.HasPrefix(key, senderPrefix):
		v = &sender{}
	case key == forgottenKey:
		v = &forgotten{}
	default:
		v = &claim{}
	}
	return v, decode(key, raw, v)
}

// entriesOf23November2026 are what lpseal wrote then, of each kind and in each state: there are such entries in journals.
func entriesOf23November2026(t *testing.T) map[string]json.RawMessage {
	t.Helper()
	raw, err := os.ReadFile("testdata/journal-entries.json")
	require.NoError(t, err)
	var entries map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(raw, &entries))
	return entries
}

// What an earlier lpseal wrote is read, and written as it was.
func TestEarlierEntriesAreRead(t *testing.T) {
	t.Parallel()
	for key, raw := range entriesOf23November2026(t) {
		v, err := valueOf(key, raw)
		require.NoError(t, err, key)
		again, err := json.Marshal(v)
		require.NoError(t, err, key)
		require.Equal(t, string(raw), string(again), key)
	}
}

// What a newer lpseal may write is refused, wherever its news is: to ignore it would be to judge without it, and to cut it off at the next write.
func TestNewerEntriesAreRefused(t *testing.T) {
	t.Parallel()
	tried := map[string]int{}
	for key, raw := range entriesOf23November2026(t) {
		for _, news := range []struct{ at, to string }{
			{`{"`, `{"Novel":1,"`}, // of the value itself
			{`"Members":[{`, `"Members":[{"Novel":1,`},
			{`"Bill":{`, `"Bill":{"Novel":1,`},
			{`"Reserved":{"0":{`, `"Reserved":{"0":{"Novel":1,`},
			{`"State":"`, `"State":"re`},
			{`"State":""`, `"State":"novel"`},
		} {
			changed := strings.Replace(string(raw), news.at, news.to, 1)
			if changed == string(raw) {
				continue
			}
			tried[news.at]++
			_, err := valueOf(key, []byte(changed))
			require.True(t, isUnreadable(err), "%s: %s", key, changed)
			require.ErrorContains(t, err, fmt.Sprintf("entry %s cannot be read: a newer lpseal wrote it", key))
		}
		for _, damaged := range []string{"", "7", string(raw[:len(raw)-1]), string(raw) + string(raw), string(raw) + "}"} {
			_, err := valueOf(key, []byte(damaged))
			require.True(t, isUnreadable(err), "%s: %s", key, damaged)
		}
	}
	require.Len(t, tried, 6, "%v", tried)
}

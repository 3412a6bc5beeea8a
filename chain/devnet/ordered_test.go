package devnet

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestOrdered compares the map with Go's own over random edits, and checks that older versions never change.
func TestOrdered(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			got  ordered[int, int]
			want map[int]int
		}
		history := []version{{want: map[int]int{}}}
		for range rapid.IntRange(0, 60).Draw(t, "edits") {
			last := history[len(history)-1]
			next := version{want: maps.Clone(last.want)}
			key := rapid.IntRange(0, 20).Draw(t, "key")
			if rapid.Bool().Draw(t, "drop") {
				next.got = last.got.drop(key)
				delete(next.want, key)
			} else {
				value := rapid.Int().Draw(t, "value")
				next.got = last.got.set(key, value)
				next.want[key] = value
			}
			history = append(history, next)
		}
		for _, v := range history {
			require.Equal(t, len(v.want), v.got.len())
			require.Equal(t, v.want, maps.Collect(v.got.all()))
			var keys []int
			for k, value := range v.got.all() {
				keys = append(keys, k)
				got, ok := v.got.get(k)
				require.True(t, ok)
				require.Equal(t, value, got)
			}
			require.True(t, slices.IsSorted(keys))
		}
	})
}

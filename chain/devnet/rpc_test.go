package devnet

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/lotus"
)

// TestServesTheWholeAPI holds that every method of the client's table is served with its very signature.
func TestServesTheWholeAPI(t *testing.T) {
	t.Parallel()
	table, served := reflect.TypeFor[lotus.FullNode](), reflect.ValueOf(&api{})
	require.Positive(t, table.NumField())
	for i := range table.NumField() {
		field := table.Field(i)
		method := served.MethodByName(field.Name)
		require.True(t, method.IsValid(), "%s is not served", field.Name)
		require.Equal(t, field.Type.String(), method.Type().String(), field.Name)
	}
}

package chain_test

import (
	"fmt"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
)

func TestFIL(t *testing.T) {
	t.Parallel()
	for atto, want := range map[string]string{
		"0":                      "0 FIL",
		"1":                      "1 attoFIL",
		"999999999":              "999999999 attoFIL",
		"65565108224":            "65 nFIL",
		"1000000000000":          "0.000001 FIL",
		"1500000000000000000":    "1.500000 FIL",
		"-1500000000000000000":   "-1.500000 FIL",
		"-100000000000000000":    "-0.100000 FIL",
		"1000000000000000000000": "1000.000000 FIL",
	} {
		amount, err := big.FromString(atto)
		require.NoError(t, err)
		require.Equal(t, want, fmt.Sprintf("%s", chain.FIL(amount)))
	}
	require.Equal(t, "0 FIL", fmt.Sprint(chain.FIL(abi.TokenAmount{})))
}

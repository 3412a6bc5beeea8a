package handover

import (
	"errors"
	"strings"

	"github.com/filecoin-project/go-jsonrpc"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// fault says what went wrong at a prover and what mends it. All of it is transient: a person mends it there, and the next try goes on.
func (p *prover) fault(method string, err error) error {
	return jobs.Failf(jobs.Transient, "%s at %s: %s: %s%s", p, p.endpoint, method, lotus.Cause(p.endpoint.URL, err), p.advice(err))
}

func (p *prover) advice(err error) string {
	var (
		wire    *jsonrpc.JSONRPCError
		refused = strings.Contains(err.Error(), "401 Unauthorized") || strings.Contains(err.Error(), "missing permission")
	)
	switch {
	case refused && p.curio:
		return "; put a token of this Curio cluster with permission admin into handover.api"
	case refused:
		return "; put a token of this miner with permission admin into handover.api: lotus-miner auth create-token --perm admin"
	case errors.As(err, &wire) && wire.Code == lotus.CodeMethodNotFound:
		return "; it is too old, or another program than handover.to says"
	case lotus.NoAnswer(err):
		return "; start it, or correct handover.api"
	}
	return ""
}

// unknownPath is how Lotus's index says that no process has attached a path.
const unknownPath = "sector store not found"

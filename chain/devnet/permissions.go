package devnet

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/filecoin-project/go-jsonrpc/auth"
)

// What a token allows, each besides what those before it do (Lotus, api.AllPermissions). Every method that has no other needs [Read].
const (
	Read  auth.Permission = "read"
	Write auth.Permission = "write"
	Sign  auth.Permission = "sign"
)

var permissions = []auth.Permission{Read, Write, Sign}

// authorize demands a token, where there is one, and notes what it allows.
func authorize(cfg *Config, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		allowed, ok := cfg.allowed(r.Header.Get("Authorization"))
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(auth.WithPerm(r.Context(), allowed)))
	})
}

func (c *Config) allowed(header string) ([]auth.Permission, bool) {
	is := func(token string) bool {
		return subtle.ConstantTimeCompare([]byte(header), []byte("Bearer "+token)) == 1
	}
	if c.Token == "" || is(c.Token) {
		return permissions, true
	}
	for token, most := range c.Tokens {
		if is(token) {
			return permissions[:slices.Index(permissions, most)+1], true
		}
	}
	return nil, false
}

// AuthVerify tells what a token allows.
func (a *api) AuthVerify(_ context.Context, token string) ([]auth.Permission, error) {
	allowed, ok := a.n.cfg.allowed("Bearer " + token)
	if !ok {
		return nil, errors.New("JWT Verification failed: no such token")
	}
	return allowed, nil
}

// permit says what a caller lacks, in Lotus's words.
func permit(ctx context.Context, method string, needed auth.Permission) error {
	if !auth.HasPerm(ctx, nil, needed) {
		return fmt.Errorf("missing permission to invoke '%s' (need '%s')", method, needed)
	}
	return nil
}

package files

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Headers of the file service. All of them are signed.
const (
	expiresHeader = "Lpseal-Expires" // Unix seconds
	stageHeader   = "Lpseal-Stage"   // with the fence: who asks
	fenceHeader   = "Lpseal-Fence"
	offsetHeader  = "Lpseal-Offset" // bytes already there
	bodyHeader    = "Lpseal-Body"   // SHA-256 of a small body; file bodies are checked by their own digest
	signHeader    = "Lpseal-Signature"
)

const (
	minSecret = 16
	// validity is how long a signed request may be on its way, and how far two
	// hosts' clocks may differ.
	validity = 5 * time.Minute
)

// sign signs a request: method, host, path and query, expiry, and the headers above.
// It proves who asks; it hides nothing. Where the network is not trusted, serve the
// file service over TLS.
func sign(secret []byte, r *http.Request, now time.Time) {
	r.Header.Set(expiresHeader, strconv.FormatInt(now.Add(validity).Unix(), 10))
	r.Header.Set(signHeader, signature(secret, r))
}

func signature(secret []byte, r *http.Request) string {
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	mac := hmac.New(sha256.New, secret)
	parts := []string{"lpseal file service 1", r.Method, host, r.URL.RequestURI()}
	for _, name := range []string{expiresHeader, stageHeader, fenceHeader, offsetHeader, bodyHeader} {
		parts = append(parts, r.Header.Get(name))
	}
	mac.Write([]byte(strings.Join(parts, "\n"))) // no part can hold a line break
	return hex.EncodeToString(mac.Sum(nil))
}

// verify says why a request is not to be answered.
func verify(secret []byte, r *http.Request, now time.Time) error {
	if len(secret) < minSecret {
		return fmt.Errorf("this host has no file service secret; set worker.file_service.secret, the same on every host")
	}
	if !hmac.Equal([]byte(signature(secret, r)), []byte(r.Header.Get(signHeader))) {
		return fmt.Errorf("the signature is wrong; worker.file_service.secret must be the same on every host")
	}
	expires, err := strconv.ParseInt(r.Header.Get(expiresHeader), 10, 64)
	if err != nil {
		return fmt.Errorf("the request has no expiry")
	}
	at := time.Unix(expires, 0)
	if now.After(at) || at.Sub(now) > 2*validity {
		return fmt.Errorf("the request expired or comes from the future; set both hosts' clocks (they may differ by %s)", validity)
	}
	return nil
}

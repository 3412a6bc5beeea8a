package chain

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/multiformats/go-multiaddr"
)

// Token is an API token. It never prints itself.
type Token string

const hidden = "(token hidden)"

// String hides the token, in every verb that asks for a string.
func (t Token) String() string {
	if t == "" {
		return ""
	}
	return hidden
}

// GoString hides the token from %#v.
func (t Token) GoString() string { return t.String() }

// MarshalText hides the token from JSON and logs.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Endpoint is the address of one node's JSON-RPC API.
type Endpoint struct {
	// URL is complete, such as ws://127.0.0.1:1234/rpc/v1. Its scheme chooses the transport of calls; head notifications always take a
	// WebSocket to the same place.
	URL   string
	Token Token
}

// String gives the URL without the token.
func (e Endpoint) String() string { return e.URL }

// Header carries the token.
func (e Endpoint) Header() http.Header {
	h := http.Header{}
	if e.Token != "" {
		h.Set("Authorization", "Bearer "+string(e.Token))
	}
	return h
}

// notifyURL is the same place over WebSocket.
func (e Endpoint) notifyURL() string {
	if rest, ok := strings.CutPrefix(e.URL, "http"); ok {
		return "ws" + rest
	}
	return e.URL
}

// ParseAPIInfo reads FULLNODE_API_INFO as Lotus's users know it: TOKEN:ADDRESS, or ADDRESS alone, where the address is a multiaddr
// (/ip4/127.0.0.1/tcp/1234/http) or a URL (http, https, ws, wss); several nodes are separated by commas. Errors name the entry by its place and never
// quote it, since it may hold a token.
func ParseAPIInfo(info string) ([]Endpoint, error) {
	return parseAPIInfo("FULLNODE_API_INFO", info, nodePath)
}

// ParseProverAPIInfo reads MINER_API_INFO or CURIO_API_INFO, whose form is the same: where lotus-miner or Curio answers. They are only asked, so calls go
// over HTTP whatever the address says.
func ParseProverAPIInfo(info string) ([]Endpoint, error) {
	endpoints, err := parseAPIInfo("MINER_API_INFO or CURIO_API_INFO", info, proverPath)
	for i, e := range endpoints {
		if rest, ok := strings.CutPrefix(e.URL, "ws"); ok {
			endpoints[i].URL = "http" + rest
		}
	}
	return endpoints, err
}

func parseAPIInfo(variable, info, path string) ([]Endpoint, error) {
	if strings.TrimSpace(info) == "" {
		return nil, fmt.Errorf("no address: set %s to TOKEN:/ip4/HOST/tcp/PORT/http", variable)
	}
	var endpoints []Endpoint
	for i, entry := range strings.Split(info, ",") {
		e, err := parseEndpoint(strings.TrimSpace(entry), path)
		if err != nil {
			return nil, fmt.Errorf("address %d of %s: %w; write TOKEN:/ip4/HOST/tcp/PORT/http or TOKEN:http://HOST:PORT", i+1, variable, err)
		}
		endpoints = append(endpoints, e)
	}
	return endpoints, nil
}

func parseEndpoint(entry, path string) (Endpoint, error) {
	var token, addr string
	switch {
	case entry == "":
		return Endpoint{}, errors.New("empty")
	case strings.HasPrefix(entry, "/") || hasScheme(entry):
		addr = entry
	default:
		var ok bool
		if token, addr, ok = strings.Cut(entry, ":"); !ok {
			return Endpoint{}, errors.New("no address after the token")
		}
	}
	var (
		u   string
		err error
	)
	if strings.HasPrefix(addr, "/") {
		u, err = multiaddrURL(addr, path)
	} else {
		u, err = plainURL(addr, path)
	}
	return Endpoint{URL: u, Token: Token(token)}, err
}

func hasScheme(s string) bool {
	for _, scheme := range []string{"http://", "https://", "ws://", "wss://"} {
		if strings.HasPrefix(s, scheme) {
			return true
		}
	}
	return false
}

// Where the API versions are served whose shapes package lotus and package handover hold: lotus-miner and Curio have no other.
const (
	nodePath   = "/rpc/v1"
	proverPath = "/rpc/v0"
)

func plainURL(s, path string) (string, error) {
	if !hasScheme(s) {
		return "", errors.New("the address is neither a multiaddr nor a http(s) or ws(s) URL")
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return "", errors.New("the address is not a URL with a host") // err would quote it
	}
	if u.User != nil {
		return "", errors.New("the address holds a user or password: put the token before the address")
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = path
	}
	return u.String(), nil
}

// multiaddrURL reads host, port and an optional transport. Like Lotus, a plain or /http address is dialled by WebSocket first
// choice there; here calls go over HTTP, whose deadlines are exact, and notifications over WebSocket.
func multiaddrURL(s, path string) (string, error) {
	addr, err := multiaddr.NewMultiaddr(s)
	if err != nil {
		return "", errors.New("the address is not a multiaddr")
	}
	var host, port string
	scheme := "http"
	for _, part := range addr {
		switch part.Protocol().Code {
		case multiaddr.P_IP4, multiaddr.P_IP6, multiaddr.P_DNS, multiaddr.P_DNS4, multiaddr.P_DNS6:
			host = part.Value()
		case multiaddr.P_TCP:
			port = part.Value()
		case multiaddr.P_HTTP, multiaddr.P_HTTPS, multiaddr.P_WS, multiaddr.P_WSS:
			scheme = part.Protocol().Name
		default:
			return "", fmt.Errorf("the multiaddr's /%s is not understood", part.Protocol().Name)
		}
	}
	if host == "" || port == "" {
		return "", errors.New("the multiaddr has no host or no tcp port")
	}
	return scheme + "://" + net.JoinHostPort(host, port) + path, nil
}

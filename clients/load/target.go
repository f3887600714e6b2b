package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// A Protocol is the dialect that a server speaks.
type Protocol string

const (
	// YWebsocket: one document a socket, named by the URL's path.
	YWebsocket Protocol = "y-websocket"
	// Hocuspocus: frames carry the document's name, an authentication frame comes first.
	Hocuspocus Protocol = "hocuspocus"
)

// A Target is a server, or several nodes that serve the same documents.
type Target struct {
	// Name stands in tables.
	Name string
	// URLs are the nodes' base addresses, ws:// or wss://. Clients of a document are spread over them.
	URLs []string
	// Protocol is YWebsocket unless set.
	Protocol Protocol
	// PIDs are the processes whose CPU time and memory count, on this machine; none: neither is measured.
	PIDs []int

	// Token is given to every connection as the query parameter "token"; empty: none.
	Token string
	// TokenURL answers a GET with a token, as text or as JSON {"token": …}. One is fetched for every
	// connection before the clock runs, so that no server sees the same token twice. "{n}" in it
	// becomes a number that counts up from 10,000, for instance to ask for different lifetimes.
	TokenURL string

	// Roots are the certificate authorities of wss://; nil: the system's.
	Roots *x509.CertPool

	nodes []node
}

// A node is a resolved URL of a target.
type node struct {
	address *net.TCPAddr
	secure  *tls.Config
	host    string
	path    string // without a slash at the end
	query   string
}

func (t *Target) resolve() error {
	if t.Protocol == "" {
		t.Protocol = YWebsocket
	}
	if t.Protocol != YWebsocket && t.Protocol != Hocuspocus {
		return fmt.Errorf("unknown protocol %q", t.Protocol)
	}
	if len(t.URLs) == 0 {
		return fmt.Errorf("no URL to connect to")
	}
	t.nodes = nil
	for _, base := range t.URLs {
		u, err := url.Parse(base)
		if err != nil {
			return err
		}
		n := node{host: u.Host, path: strings.TrimSuffix(u.EscapedPath(), "/"), query: u.RawQuery}
		port := u.Port()
		switch u.Scheme {
		case "ws":
			port = or(port, "80")
		case "wss":
			port = or(port, "443")
			n.secure = &tls.Config{ServerName: u.Hostname(), RootCAs: t.Roots}
		default:
			return fmt.Errorf("%s: want a ws:// or wss:// URL", base)
		}
		if n.address, err = net.ResolveTCPAddr("tcp", net.JoinHostPort(u.Hostname(), port)); err != nil {
			return err
		}
		t.nodes = append(t.nodes, n)
	}
	return nil
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// request is the opening handshake for a document on a node.
func (t *Target) request(at int, document, token string) []byte {
	n := &t.nodes[at]
	path := n.path + "/"
	if t.Protocol == YWebsocket {
		path += url.PathEscape(document)
	}
	query := n.query
	if token != "" && t.Protocol == YWebsocket {
		if query != "" {
			query += "&"
		}
		query += "token=" + url.QueryEscape(token)
	}
	if query != "" {
		path += "?" + query
	}
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + n.host +
		"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: d3Nub2RlIGxvYWQgZ2VuLg==\r\n\r\n")
}

// tokens are fetched ahead, so that fetching is never part of what is measured.
type tokens struct {
	target *Target
	ready  []string
	number int
}

// prepare sees to n tokens being at hand.
func (t *tokens) prepare(ctx context.Context, n int) error {
	if t.target.TokenURL == "" {
		return nil
	}
	for len(t.ready) < n {
		token, err := t.fetch(ctx)
		if err != nil {
			return fmt.Errorf("fetch a token: %w", err)
		}
		t.ready = append(t.ready, token)
	}
	return nil
}

// next is a token for one connection. It falls back to the last one when none is left.
func (t *tokens) next() string {
	if t.target.TokenURL == "" {
		return t.target.Token
	}
	if len(t.ready) == 0 {
		return ""
	}
	token := t.ready[len(t.ready)-1]
	if len(t.ready) > 1 {
		t.ready = t.ready[:len(t.ready)-1]
	}
	return token
}

func (t *tokens) fetch(ctx context.Context) (string, error) {
	t.number++
	address := strings.ReplaceAll(t.target.TokenURL, "{n}", strconv.Itoa(10_000+t.number))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(body)))
	}
	var answer struct {
		Token string `json:"token"`
	}
	if json.Unmarshal(body, &answer) == nil && answer.Token != "" {
		return answer.Token, nil
	}
	return strings.TrimSpace(string(body)), nil
}

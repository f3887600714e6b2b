// Package web is for commands that come to nodes as clients do, by public URLs.
package web

import (
	"net/url"
	"slices"
	"strings"

	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/relay/storage"
)

// ParseURL reads the URL of a flag, which has one of the schemes.
func ParseURL(flag, value string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme) {
		return nil, exit.WrongFlag(flag, "%q: expected a URL that begins with %s://", storage.Redact(value), strings.Join(schemes, ":// or "))
	}
	return u, nil
}

// HTTPURL makes the URL of the HTTP API of a flag's URL, which may be that for WebSocket.
func HTTPURL(flag, base, path string) (*url.URL, error) {
	u, err := ParseURL(flag, base, "ws", "wss", "http", "https")
	if err != nil {
		return nil, err
	}
	u.Scheme = strings.Replace(u.Scheme, "ws", "http", 1)
	return u.JoinPath(path), nil
}

package storage

import (
	"net/url"
	"strings"
)

// The parameters of a store's URL that are not secret. Others are taken for a
// secret that somebody put there.
var shown = map[string]bool{
	"endpoint": true, "region": true, "profile": true, "role-arn": true, "path-style": true, "sse": true, "kms-key": true,
	"passfile": true, "table": true, "secret-file": true, "versions": true,
	"sslmode": true, "sslrootcert": true, "connect_timeout": true, "application_name": true, "search_path": true,
	"host": true, "port": true, "dbname": true, "user": true, "default_query_exec_mode": true,
}

const hidden = "xxxxx"

// Redact shows a store's URL without its secrets, for logs, errors and commands.
// What cannot be read as a URL is shown as its scheme only.
func Redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		scheme, _, ok := strings.Cut(raw, ":")
		if !ok || strings.ContainsAny(scheme, "/@? ") {
			return hidden
		}
		return scheme + ":" + hidden
	}
	if u.User != nil {
		if _, has := u.User.Password(); has {
			u.User = url.UserPassword(u.User.Username(), hidden)
		} else if u.Scheme != "postgres" && u.Scheme != "postgresql" {
			u.User = url.User(hidden) // a token stands there as often as a name
		}
	}
	query := u.Query()
	for name := range query {
		if !shown[name] {
			query[name] = []string{hidden}
		}
	}
	u.RawQuery = query.Encode()
	if u.Fragment != "" {
		u.Fragment = hidden
	}
	if u.Opaque != "" {
		u.Opaque = hidden
	}
	return u.String()
}

// RedactError takes a URL's secrets out of the text of an error about it. It
// replaces the error: none of the original is reachable through the result.
func RedactError(err error, raw string) string {
	text := strings.ReplaceAll(err.Error(), raw, Redact(raw))
	if u, parseErr := url.Parse(raw); parseErr == nil {
		if password, has := u.User.Password(); has && password != "" {
			text = strings.ReplaceAll(text, password, hidden)
			text = strings.ReplaceAll(text, url.QueryEscape(password), hidden)
			text = strings.ReplaceAll(text, url.PathEscape(password), hidden)
		}
	}
	return text
}

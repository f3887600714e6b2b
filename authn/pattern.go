package authn

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/wsnode/wsnode/docid"
)

// tenantHole is what a template has where the tenant goes.
const tenantHole = "{tenantId}"

// pattern is a string, or a template of one per tenant.
type pattern struct{ text string }

func (p pattern) empty() bool { return p.text == "" }

func (p pattern) perTenant() bool { return strings.Contains(p.text, tenantHole) }

func (p pattern) expand(t docid.Tenant) string {
	return strings.ReplaceAll(p.text, tenantHole, string(t))
}

// keysURL is where key sets are: one for all tenants, or one for each.
type keysURL struct {
	pattern
	inHost bool // the tenant is a label of the host
}

// parseKeysURL checks the operator's setting. Tenants come from tokens that are
// not verified yet, hence a hole may only stand where no tenant's name can lead
// to a server of somebody else: in the path, in the query, or as the whole first
// label of a longer host.
func parseKeysURL(s string, plainHTTP bool) (keysURL, error) {
	k := keysURL{pattern: pattern{s}}
	// The hole's braces are no URL characters; a word stands in for it.
	const standIn = "tenant0"
	u, err := url.Parse(strings.ReplaceAll(s, tenantHole, standIn))
	if err != nil || u.Host == "" || u.Fragment != "" || strings.ContainsAny(s, " \t\r\n") {
		return k, fmt.Errorf("JWKS URL: expected https://host/path, with or without %s", tenantHole)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !plainHTTP && !isLoopback(u.Hostname())) {
		return k, fmt.Errorf("JWKS URL: expected https: whoever can change the answer can sign tokens")
	}
	authority := s[strings.Index(s, "://")+3:]
	if end := strings.IndexAny(authority, "/?"); end >= 0 {
		authority = authority[:end]
	}
	if !strings.Contains(authority, tenantHole) {
		return k, nil
	}
	rest, first := strings.CutPrefix(authority, tenantHole+".")
	if !first || strings.Contains(rest, tenantHole) || !strings.Contains(rest, ".") && !isLoopback(rest) {
		return k, fmt.Errorf("JWKS URL: in the host, %s can only be the first label, such as https://%s.issuer.example/", tenantHole, tenantHole)
	}
	k.inHost = true
	return k, nil
}

// of is the URL of the tenant's keys; false when the tenant cannot stand in it.
func (k keysURL) of(t docid.Tenant) (string, bool) {
	if !k.perTenant() {
		return k.text, true
	}
	if !docid.ValidID(string(t)) || strings.Trim(string(t), ".") == "" {
		return "", false // "." and ".." would climb out of the path
	}
	if k.inHost && !isLabel(string(t)) {
		return "", false
	}
	return k.expand(t), true
}

// isLabel reports whether s is one lower-case DNS label: hosts know no case, so
// "ACME" would borrow the keys of "acme".
func isLabel(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-'
}

func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && addr.IsLoopback()
}

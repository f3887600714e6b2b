package authn

import (
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// domain is one allowed domain: a host, or a host and port. The zero value
// matches nothing.
type domain struct {
	host string // as hostASCII spells it
	port string // empty: any
}

// parseDomain reads an allowed domain. What cannot be one matches nothing.
func parseDomain(s string) domain {
	host, port, ok := splitHost(s)
	if !ok {
		return domain{}
	}
	return domain{host: host, port: port}
}

// AllowsOrigin says whether a handshake with that Origin header may go on. With
// no allowed domains any may, also one without Origin; else the host must be one
// of them, compared without regard to case and in its IDNA form, and the port
// too where the domain names one (a scheme's default port counts as named). An
// opaque origin ("null") matches no domain.
func (g *Grant) AllowsOrigin(origin string) bool {
	if len(g.domains) == 0 {
		return true
	}
	scheme, rest, ok := strings.Cut(origin, "://")
	if !ok || scheme == "" {
		return false
	}
	host, port, ok := splitHost(rest)
	if !ok {
		return false
	}
	if port == "" {
		port = defaultPort(scheme)
	}
	for _, d := range g.domains {
		if d.host == host && (d.port == "" || d.port == port) {
			return true
		}
	}
	return false
}

// Origins reports whether the grant is bound to allowed domains at all.
func (g *Grant) Origins() bool { return len(g.domains) > 0 }

func defaultPort(scheme string) string {
	switch strings.ToLower(scheme) {
	case "https", "wss":
		return "443"
	case "http", "ws":
		return "80"
	}
	return ""
}

// splitHost splits "host", "host:port", "[v6]", "[v6]:port" or a bare IPv6
// address, and brings the host into the one form that is compared.
func splitHost(s string) (host, port string, ok bool) {
	host = s
	if _, err := netip.ParseAddr(s); err != nil && strings.Contains(s, ":") && !strings.HasSuffix(s, "]") {
		if host, port, err = net.SplitHostPort(s); err != nil || !isPort(port) {
			return "", "", false
		}
	}
	host, ok = hostASCII(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return host, port, ok
}

func isPort(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 5 && s[0] != '0'
}

// hostASCII is the form in which browsers send a host: lower case, IDNA, and an
// address in its canonical spelling.
func hostASCII(host string) (string, bool) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.String(), addr.Zone() == ""
	}
	host = strings.TrimSuffix(host, ".")
	if isPlain(host) {
		return strings.ToLower(host), host != ""
	}
	ascii, err := idna.Lookup.ToASCII(host)
	return ascii, err == nil && ascii != ""
}

// isPlain spares ordinary names IDNA's tables, and lets underscores pass, which
// private names have.
func isPlain(host string) bool {
	for i := 0; i < len(host); i++ {
		c := host[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

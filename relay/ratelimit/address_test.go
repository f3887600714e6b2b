package ratelimit

import (
	"net/http/httptest"
	"net/netip"
	"testing"
)

func TestClientIsTheRightmostUntrustedAddress(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, c := range map[string]struct {
		peer      string
		forwarded []string
		trusted   []netip.Prefix
		want      string
	}{
		"peer":                            {"192.0.2.1:99", nil, proxies, "192.0.2.1"},
		"untrusted peer may say anything": {"192.0.2.1:99", []string{"198.51.100.7"}, proxies, "192.0.2.1"},
		"nobody is trusted":               {"10.0.0.1:99", []string{"198.51.100.7"}, nil, "10.0.0.1"},
		"one proxy":                       {"10.0.0.1:99", []string{"198.51.100.7"}, proxies, "198.51.100.7"},
		"what the client claimed before":  {"10.0.0.1:99", []string{"1.1.1.1, 198.51.100.7"}, proxies, "198.51.100.7"},
		"two proxies":                     {"10.0.0.1:99", []string{"1.1.1.1, 198.51.100.7, 10.2.3.4"}, proxies, "198.51.100.7"},
		"several lines":                   {"10.0.0.1:99", []string{"1.1.1.1", "198.51.100.7,10.2.3.4"}, proxies, "198.51.100.7"},
		"all trusted":                     {"10.0.0.1:99", []string{"10.9.9.9, 10.2.3.4"}, proxies, "10.9.9.9"},
		"proxy says nothing":              {"10.0.0.1:99", nil, proxies, "10.0.0.1"},
		"proxy says nonsense":             {"10.0.0.1:99", []string{"198.51.100.7, unknown"}, proxies, "10.0.0.1"},
		"nonsense behind a good hop":      {"10.0.0.1:99", []string{"evil, 10.2.3.4"}, proxies, "10.2.3.4"},
		"empty element":                   {"10.0.0.1:99", []string{"198.51.100.7,,10.2.3.4"}, proxies, "10.2.3.4"},
		"with a port":                     {"10.0.0.1:99", []string{"198.51.100.7:1234"}, proxies, "198.51.100.7"},
		"IPv6 by its /64":                 {"[2001:db8:1:2:3:4:5:6]:99", nil, proxies, "2001:db8:1:2::"},
		"IPv6 behind a proxy":             {"[fd00::1]:99", []string{"2001:db8::7"}, proxies, "2001:db8::"},
		"IPv6 with a port":                {"[fd00::1]:99", []string{"[2001:db8::7]:80"}, proxies, "2001:db8::"},
		"IPv4 in IPv6":                    {"[::ffff:10.0.0.1]:99", []string{"::ffff:198.51.100.7"}, proxies, "198.51.100.7"},
		"with a zone":                     {"[fe80::1%eth0]:99", nil, proxies, "fe80::"},
		"no address at all":               {"@", []string{"198.51.100.7"}, proxies, "invalid IP"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.peer
			for _, line := range c.forwarded {
				r.Header.Add("X-Forwarded-For", line)
			}
			if got := ClientIP(r, c.trusted).String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

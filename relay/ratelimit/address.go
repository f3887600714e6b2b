package ratelimit

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// ClientIP is the address that a request is charged to: the peer's, or, when
// the peer is a trusted proxy, the rightmost address of X-Forwarded-For that is
// not one. What stands left of it was written by somebody untrusted. IPv6
// addresses are cut to their /64, which one client has to itself. The zero Addr
// means that the peer has no IP address.
func ClientIP(r *http.Request, trusted []netip.Prefix) netip.Addr {
	client := Peer(r)
	lines := r.Header.Values("X-Forwarded-For")
	for i := len(lines) - 1; i >= 0 && isTrusted(client, trusted); i-- {
		rest := lines[i]
		for rest != "" && isTrusted(client, trusted) {
			var hop string
			if comma := strings.LastIndexByte(rest, ','); comma >= 0 {
				rest, hop = rest[:comma], rest[comma+1:]
			} else {
				rest, hop = "", rest
			}
			next := parseHop(strings.TrimSpace(hop))
			if !next.IsValid() {
				// Nobody knows who is behind this proxy: it stands for them.
				return Group(client)
			}
			client = next
		}
	}
	return Group(client)
}

// Address is the address that a connection is charged to, IPv6 by /64; the zero Addr if
// it has no IP address.
func Address(peer net.Addr) netip.Addr {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return Group(tcp.AddrPort().Addr().Unmap().WithZone(""))
}

// Peer is the whole address of who sent the request; the zero Addr if it has none.
func Peer(r *http.Request) netip.Addr { return parseHop(r.RemoteAddr) }

// IsTrusted reports whether the peer of a connection is one of the addresses.
func IsTrusted(peer net.Addr, trusted []netip.Prefix) bool {
	tcp, ok := peer.(*net.TCPAddr)
	return ok && isTrusted(tcp.AddrPort().Addr().Unmap().WithZone(""), trusted)
}

// FromProxy reports whether a trusted proxy sent the request, so that its word
// counts in what it adds.
func FromProxy(r *http.Request, trusted []netip.Prefix) bool {
	return isTrusted(Peer(r), trusted)
}

func isTrusted(addr netip.Addr, trusted []netip.Prefix) bool {
	for _, prefix := range trusted {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// parseHop reads an address with or without a port.
func parseHop(s string) netip.Addr {
	if addr, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return addr.Unmap().WithZone("")
	}
	if hop, err := netip.ParseAddrPort(s); err == nil {
		return hop.Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// Group is the part of an address that tells clients apart: of IPv6 the /64, which
// one client has to itself.
func Group(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return prefix.Addr()
}

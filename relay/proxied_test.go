package relay

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

// behind serves a handler that says whose a connection is, behind proxies.
func behind(t *testing.T, trusted string, config *tls.Config) (address string, log *lockedBuffer) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log = &lockedBuffer{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })
	s := NewServer(handler, ServerConfig{
		Log: slog.New(slog.NewTextHandler(log, nil)), TrustedProxies: []netip.Prefix{netip.MustParsePrefix(trusted)}, ProxyProtocol: true,
	})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l, config) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(s.Close(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), log
}

// header is what a proxy sends for a client.
func header(t *testing.T, version byte, command proxyproto.ProtocolVersionAndCommand, client string) []byte {
	t.Helper()
	source := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(client))
	h := proxyproto.HeaderProxyFromAddrs(version, source, source)
	h.Command = command
	if command == proxyproto.PROXY && version == 2 {
		// What balancers add, such as the id of an endpoint.
		if err := h.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2Type(0xEA), Value: []byte("vpce-1")}}); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func dialRaw(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

const plainRequest = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

// answerTo is the body of the answer to a request, and an error if there is none.
func answerTo(c io.Reader) (string, error) {
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

func TestATrustedProxySaysWhoseAConnectionIs(t *testing.T) {
	address, _ := behind(t, "127.0.0.1/32", nil)
	for _, client := range []string{"192.0.2.7:5000", "[2001:db8::7]:5000"} {
		c := dialRaw(t, address)
		// In one packet, of which no byte may be lost, and byte by byte.
		if _, err := c.Write(append(header(t, 2, proxyproto.PROXY, client), plainRequest...)); err != nil {
			t.Fatal(err)
		}
		if got, err := answerTo(c); err != nil || got != client {
			t.Errorf("the connection is of %q, %v, expected %s", got, err, client)
		}
		slow := dialRaw(t, address)
		for _, b := range append(header(t, 2, proxyproto.PROXY, client), plainRequest...) {
			if _, err := slow.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := answerTo(slow); err != nil || got != client {
			t.Errorf("byte by byte the connection is of %q, %v, expected %s", got, err, client)
		}
	}
	own := dialRaw(t, address)
	if _, err := own.Write(append(header(t, 2, proxyproto.LOCAL, "192.0.2.7:5000"), plainRequest...)); err != nil {
		t.Fatal(err)
	}
	if got, err := answerTo(own); err != nil || got != own.LocalAddr().String() {
		t.Errorf("a health check of the proxy is of %q, %v, expected %s", got, err, own.LocalAddr())
	}
}

func TestTheHeaderOfAProxyComesBeforeTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(nil) // for its certificate
	server.StartTLS()
	defer server.Close()
	address, _ := behind(t, "127.0.0.1/32", &tls.Config{Certificates: server.TLS.Certificates})
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	c := dialRaw(t, address)
	if _, err := c.Write(header(t, 2, proxyproto.PROXY, "192.0.2.7:5000")); err != nil {
		t.Fatal(err)
	}
	secure := tls.Client(c, &tls.Config{RootCAs: roots, ServerName: "example.com"})
	if _, err := io.WriteString(secure, plainRequest); err != nil {
		t.Fatal(err)
	}
	if got, err := answerTo(secure); err != nil || got != "192.0.2.7:5000" {
		t.Errorf("the connection is of %q, %v", got, err)
	}
}

func TestConnectionsWithoutAHeaderAndOfOthersAreClosedAndLogged(t *testing.T) {
	long := header(t, 2, proxyproto.PROXY, "192.0.2.7:5000")
	long[14], long[15] = 0xff, 0xff
	udp := header(t, 2, proxyproto.PROXY, "192.0.2.7:5000")
	udp[13] = byte(proxyproto.UDPv4)
	for name, test := range map[string]struct {
		trusted string
		sends   []byte
		log     string
	}{
		"no header":         {"127.0.0.1/32", []byte(plainRequest), "does not begin with a header of PROXY protocol version 2"},
		"version 1":         {"127.0.0.1/32", header(t, 1, proxyproto.PROXY, "192.0.2.7:5000"), "PROXY TCP4"},
		"a huge header":     {"127.0.0.1/32", long, "a header of 65535 bytes"},
		"no TCP connection": {"127.0.0.1/32", udp, "the address of no TCP connection"},
		"not trusted":       {"10.0.0.0/8", header(t, 2, proxyproto.PROXY, "192.0.2.7:5000"), "they come from a --trusted-proxy only"},
	} {
		t.Run(name, func(t *testing.T) {
			address, log := behind(t, test.trusted, nil)
			c := dialRaw(t, address)
			_, _ = c.Write(test.sends) // it may be closed already
			var timeout net.Error
			if got, err := answerTo(c); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("the answer is %q, %v; expected a closed connection", got, err)
			}
			if !strings.Contains(log.String(), test.log) || !strings.Contains(log.String(), "127.0.0.1") {
				t.Errorf("the log says nothing of %q:\n%s", test.log, log)
			}
		})
	}
}

func TestAProxyWhoseHeaderDoesNotComeHoldsUpNobody(t *testing.T) {
	address, _ := behind(t, "127.0.0.1/32", nil)
	for range 20 {
		dialRaw(t, address) // and stays silent, beyond the end of the server
	}
	c := dialRaw(t, address)
	if _, err := c.Write(append(header(t, 2, proxyproto.PROXY, "192.0.2.7:5000"), plainRequest...)); err != nil {
		t.Fatal(err)
	}
	if got, err := answerTo(c); err != nil || got != "192.0.2.7:5000" {
		t.Errorf("the connection is of %q, %v", got, err)
	}
}

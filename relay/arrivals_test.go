package relay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wsnode/wsnode/authn"
)

// served is a bare server, changed before it serves.
func served(t *testing.T, c ServerConfig, change func(*Server)) (s *Server, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s = NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }), c)
	change(s)
	end := make(chan error, 1)
	go func() { end <- s.Serve(l, nil) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := errors.Join(s.Close(ctx), <-end); err != nil {
			t.Error(err)
		}
	})
	return s, l.Addr().String()
}

// arrive connects and says nothing.
func arrive(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	return c
}

// isCut reports whether the server has ended the connection; it waits for that only if
// it is expected.
func isCut(t *testing.T, c net.Conn, expected bool) bool {
	t.Helper()
	if !expected {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	}
	_, err := c.Read(make([]byte, 1))
	timeout := net.Error(nil)
	return !errors.As(err, &timeout) || !timeout.Timeout()
}

func TestHalfOpenHandshakesAreBoundedByCuttingTheOldest(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for _, c := range []struct {
		name         string
		trusted      []netip.Prefix
		most, mostOf int
		stay         int
	}{
		{"of one address", nil, 100, 3, 3},
		{"of all addresses", nil, 4, 100, 4},
		{"of a trusted proxy, by their number alone", loopback, 4, 2, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, addr := served(t, ServerConfig{TrustedProxies: c.trusted}, func(s *Server) { s.arrivals.most, s.arrivals.mostOf = c.most, c.mostOf })
			var conns []net.Conn
			for i := range 6 {
				conns = append(conns, arrive(t, addr))
				eventually(t, "it is counted", func() bool {
					return s.Stats().Arriving == min(i+1, c.stay) && s.Stats().Cut == int64(max(0, i+1-c.stay))
				})
			}
			for i, conn := range conns {
				if want := i < len(conns)-c.stay; isCut(t, conn, want) != want {
					t.Errorf("connection %d of %d: cut %v, want %v", i, len(conns), !want, want)
				}
			}
		})
	}
}

func TestAConnectionWithARequestIsNoArrivalUntilItWaitsForAnother(t *testing.T) {
	s, addr := served(t, ServerConfig{}, func(*Server) {})
	c := arrive(t, addr)
	eventually(t, "it has arrived", func() bool { return s.Stats().Arriving == 1 })
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is kept", func() bool { return s.Stats().Arriving == 1 })
	_ = c.Close()
	eventually(t, "it has gone", func() bool { return s.Stats().Arriving == 0 })
	s.arrivals.mu.Lock()
	defer s.arrivals.mu.Unlock()
	if len(s.arrivals.conns) != 0 || len(s.arrivals.from) != 0 {
		t.Error("something is left of it")
	}
}

func TestASessionIsNoArrival(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a")
	open(t, n, "todo", w.token(authn.Subject{}))
	if got := n.server.Stats().Arriving; got != 0 {
		t.Errorf("%d", got)
	}
}

// failing is a listener whose first attempts to accept fail.
type failing struct {
	net.Listener
	left atomic.Int64
}

func (f *failing) Accept() (net.Conn, error) {
	if f.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

func TestFailuresToAcceptAreCountedAndLogged(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	s := NewServer(http.NotFoundHandler(), ServerConfig{Log: slog.New(slog.NewTextHandler(&log, nil))})
	f := &failing{Listener: l}
	f.left.Store(3)
	end := make(chan error, 1)
	go func() { end <- s.Serve(f, nil) }()
	c := arrive(t, l.Addr().String())
	eventually(t, "connections are accepted again", func() bool { return s.Stats().Arriving == 1 })
	_ = c.Close()
	if err := errors.Join(s.Close(t.Context()), <-end); err != nil {
		t.Error(err)
	}
	if got := s.Stats().Failures; got != 3 {
		t.Errorf("%d failures are counted", got)
	}
	if got := strings.Count(log.String(), "cannot accept connections"); got != 1 {
		t.Errorf("logged %d times:\n%s", got, log.String())
	}
}

package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/overload"
)

// Server settings that hold for every client.
const (
	headerTimeout  = 10 * time.Second // slow headers are cut off
	requestTimeout = 15 * time.Second // so are slow bodies, which no endpoint reads; a WebSocket is no request once it is accepted
	keepAliveIdle  = 60 * time.Second
	maxHeaderBytes = 32 << 10 // room for a token of 8 KiB and cookies
)

// ServerConfig says how a Server meets those who connect. Its zero value is useful.
type ServerConfig struct {
	Log            *slog.Logger          // nil: nowhere
	TrustedProxies []netip.Prefix        // which bring the clients of many addresses
	ProxyProtocol  bool                  // and say whose each connection is; others are refused
	Descriptors    *overload.Descriptors // clients leave a reserve of them; nil: any number
}

// Server serves a handler on listeners, made for a Node: connections can be
// written to without blocking, and request targets reach the handler as they
// were sent. It speaks HTTP/1.1 only.
type Server struct {
	http        http.Server
	log         *slog.Logger
	descriptors *overload.Descriptors
	arrivals    *arrivals
	proxies     []netip.Prefix // by the PROXY protocol; nil: it is not spoken

	failures atomic.Int64 // of accepting
	declined atomic.Int64 // connections that were closed at once for want of descriptors
	said     atomic.Int64 // when trouble was last logged, in Unix seconds
}

// connKey is the key of a request's connection in its context.
type connKey struct{}

// NewServer returns a server of the handler.
func NewServer(h http.Handler, c ServerConfig) *Server {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{log: c.Log, descriptors: c.Descriptors, arrivals: newArrivals(c.TrustedProxies, c.Descriptors)}
	if c.ProxyProtocol {
		s.proxies = append([]netip.Prefix{}, c.TrustedProxies...)
	}
	s.http = http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c, ok := r.Context().Value(connKey{}).(net.Conn); ok {
				s.arrivals.leave(c)
			}
			h.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		IdleTimeout:       keepAliveIdle,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
		ConnState:         s.arrivals.state,
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	return s
}

// Serve accepts connections until Close. config is nil for plain TCP.
func (s *Server) Serve(l net.Listener, config *tls.Config) error {
	l = entrance{l, s}
	if s.proxies != nil { // those that wait for a header count as open files, too
		l = newProxied(l, s.proxies, s.complain)
	}
	l = conn.Listener{Listener: l}
	if config != nil {
		config = config.Clone()
		config.NextProtos = []string{"http/1.1"}
		l = tls.NewListener(l, config)
	}
	err := s.http.Serve(literalListener{l})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// ServerStats describe a Server, for metrics.
type ServerStats struct {
	Arriving int   // connections that have not brought a request
	Cut      int64 // of these, such as were cut because there were too many
	Declined int64 // connections closed at once for want of descriptors
	Failures int64 // of accepting
}

// Stats returns what the server has met so far. That of a nil Server is nothing.
func (s *Server) Stats() ServerStats {
	if s == nil {
		return ServerStats{}
	}
	return ServerStats{
		Arriving: s.arrivals.len(), Cut: s.arrivals.cut.Load(), Declined: s.declined.Load(), Failures: s.failures.Load(),
	}
}

// entrance is where connections come in.
type entrance struct {
	net.Listener
	server *Server
}

// Accept waits for the next connection, and warns of errors. net/http tries again after
// them, and logs them at debug only.
func (e entrance) Accept() (net.Conn, error) {
	s := e.server
	for {
		c, err := e.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil, err
		case err != nil:
			s.failures.Add(1)
			s.complain("cannot accept connections", "err", err)
			return nil, err
		case s.descriptors.Take():
			return c, nil
		}
		s.declined.Add(1)
		s.complain("connections are closed at once: the process has too many files open", "may", s.descriptors.Most())
		_ = c.Close()
	}
}

// complainEvery is how often trouble with connections is logged, in seconds.
const complainEvery = 10

// complain logs trouble, now and then: who causes it can cause it any number of times.
func (s *Server) complain(message string, args ...any) {
	now, last := time.Now().Unix(), s.said.Load()
	if now-last < complainEvery || !s.said.CompareAndSwap(last, now) {
		return
	}
	s.log.Warn(message, append(args, "failures", s.failures.Load(), "closed", s.declined.Load())...)
}

// Close stops accepting, and ends the requests under way when ctx does. Sessions
// are the node's to end.
func (s *Server) Close(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}

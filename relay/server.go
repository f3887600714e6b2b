package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/wsnode/wsnode/relay/session"
)

// Server settings that hold for every client.
const (
	headerTimeout  = 10 * time.Second // slow headers are cut off
	requestTimeout = 15 * time.Second // so is a body, which nobody here asks for; a WebSocket is no request any more
	keepAliveIdle  = 60 * time.Second
	maxHeaderBytes = 32 << 10 // room for a token of 8 KiB and cookies
)

// Server serves a handler on listeners, made for a Node: connections can be
// written to without blocking, and request targets reach the handler as they
// were sent. It speaks HTTP/1.1 only.
type Server struct{ http http.Server }

// NewServer returns a server of the handler.
func NewServer(h http.Handler, log *slog.Logger) *Server {
	return &Server{http: http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		IdleTimeout:       keepAliveIdle,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
}

// Serve accepts connections until Close. config is nil for plain TCP.
func (s *Server) Serve(l net.Listener, config *tls.Config) error {
	l = session.Listener{Listener: l}
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

// Close stops accepting, and ends the requests under way when ctx does. Sessions
// are the node's to end.
func (s *Server) Close(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}

package admin

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config says what the admin listener serves.
type Config struct {
	// Ready is nil once the process takes clients, else an error that says why it
	// does not: it starts, it drains, or a connection that ended for good is opened
	// anew. A NATS that is away makes nobody unready: all nodes would be taken out of
	// service at once.
	Ready func() error
	// Profiles serves /debug/pprof/. They tell much about a process: only where the
	// listener is not public.
	Profiles bool
	Log      *slog.Logger
}

// Server is the admin listener of a process.
type Server struct {
	registry *prometheus.Registry
	http     http.Server
	done     chan struct{}
}

// Serve serves on a listener until Close, which closes it.
func Serve(l net.Listener, c Config) *Server {
	s := &Server{registry: prometheus.NewRegistry(), done: make(chan struct{})}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s.http = http.Server{
		Handler:           s.handler(c),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			c.Log.Error("the admin listener ended", "err", err)
		}
	}()
	return s
}

// Registerer is where the metrics of the process's nodes are registered.
func (s *Server) Registerer() prometheus.Registerer { return s.registry }

// Close ends the server, and with it requests under way: they are for figures that
// are no more. A nil Server may be closed.
func (s *Server) Close() {
	if s != nil {
		_ = s.http.Close() // the listener is closed already, or now
		<-s.done
	}
}

func (s *Server) handler(c Config) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError,
	}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := c.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	if c.Profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

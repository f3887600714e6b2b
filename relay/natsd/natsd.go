// Package natsd runs nats-server inside the process: for "wsnode dev", for
// "wsnode serve --standalone", and for tests. One server, JetStream on, no
// signal handlers, its log lines in slog.
package natsd

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Config says how to run a server. The zero value is a server that listens
// nowhere and keeps its data in a temporary directory.
type Config struct {
	// Name is the server's name, and the name of the region it stands for.
	// Default "wsnode".
	Name string
	// StoreDir is where JetStream keeps its files. Empty: a temporary directory
	// that Close removes. A directory belongs to one server at a time. Every write
	// reaches the disk before it is acknowledged: a server that is killed without
	// that may take back pins, and bring back those that had expired. In a temporary
	// directory, which nobody comes back to, the system decides when.
	StoreDir string
	// Listen is the host:port for clients such as wsctl; port 0 takes a free one.
	// Empty: in-process connections only.
	Listen string
	// MaxStore bounds JetStream's files, in bytes. 0: three quarters of the free
	// disk.
	MaxStore int64
	// MaxPayload bounds a message, in bytes. 0: 1 MiB.
	MaxPayload int32
	// Log takes the server's lines: notices at debug, the rest at its level. Nil:
	// none.
	Log *slog.Logger
	// Ready bounds the wait for the server's start. 0: 10 s.
	Ready time.Duration
}

// Server is a running nats-server. Its methods may be called concurrently.
type Server struct {
	nats *server.Server
	temp string   // the directory to remove, or empty
	lock *os.File // held while the directory is ours
}

// Start runs a server and returns when JetStream can be used.
func Start(config Config) (*Server, error) {
	options, err := config.options()
	if err != nil {
		return nil, err
	}
	s := &Server{}
	if options.StoreDir == "" {
		if s.temp, err = os.MkdirTemp("", "wsnode-nats-"); err != nil {
			return nil, fmt.Errorf("start nats-server: %w", err)
		}
		options.StoreDir = s.temp
	}
	if err := s.start(config, options); err != nil {
		s.Close()
		return nil, fmt.Errorf("start nats-server in %s: %w", options.StoreDir, err)
	}
	return s, nil
}

func (s *Server) start(config Config, options *server.Options) (err error) {
	if s.lock, err = lock(filepath.Join(options.StoreDir, "wsnode.lock")); err != nil {
		return err
	}
	if s.nats, err = server.NewServer(options); err != nil {
		return err
	}
	if config.Log != nil {
		s.nats.SetLoggerV2(logger{config.Log}, false, false, false)
	}
	s.nats.Start()
	ready := config.Ready
	if ready == 0 {
		ready = 10 * time.Second
	}
	if !s.nats.ReadyForConnections(ready) {
		return fmt.Errorf("not ready within %v", ready)
	}
	if !s.nats.JetStreamEnabled() {
		return errors.New("JetStream did not start; is the directory writable?")
	}
	return nil
}

func (c Config) options() (*server.Options, error) {
	name := c.Name
	if name == "" {
		name = "wsnode"
	}
	o := &server.Options{
		ServerName:             name,
		JetStream:              true,
		StoreDir:               c.StoreDir,
		SyncAlways:             c.StoreDir != "",
		JetStreamMaxStore:      c.MaxStore,
		MaxPayload:             c.MaxPayload,
		NoLog:                  c.Log == nil,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
		DontListen:             c.Listen == "",
		// Nobody keeps streams in memory here; without a bound the server would
		// claim three quarters of the machine's.
		JetStreamMaxMemory: 64 << 20,
	}
	if c.Listen == "" {
		return o, nil
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen address %q: expected host:port", c.Listen)
	}
	if o.Port, err = strconv.Atoi(port); err != nil || o.Port < 0 || o.Port > 65535 {
		return nil, fmt.Errorf("listen address %q: expected a port from 0 to 65535", c.Listen)
	}
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	o.Host = host
	return o, nil
}

// InProcessConn opens one connection to the server without a socket. It makes
// Server a nats.InProcessConnProvider.
func (s *Server) InProcessConn() (net.Conn, error) { return s.nats.InProcessConn() }

// Connect returns an in-process connection. Options given here come last and
// win. For a node's own connection use bus.Connect with this server as its
// provider.
func (s *Server) Connect(options ...nats.Option) (*nats.Conn, error) {
	all := append([]nats.Option{nats.InProcessServer(s), nats.MaxReconnects(-1)}, options...)
	return nats.Connect("", all...)
}

// URL is where clients in other processes connect, or "" if the server listens
// nowhere.
func (s *Server) URL() string {
	if s.nats.Addr() == nil {
		return ""
	}
	return s.nats.ClientURL()
}

// Close stops the server, waits until it is gone and removes a temporary
// directory. Further calls do nothing.
func (s *Server) Close() {
	if s.nats != nil {
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
	}
	if s.lock != nil {
		_ = s.lock.Close()
	}
	if s.temp != "" {
		_ = os.RemoveAll(s.temp)
	}
}

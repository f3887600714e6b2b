// Package natstest starts real nats-servers inside the test process: one, or a
// cluster of three, with JetStream in the test's temporary directory, and a TCP
// proxy that makes the way to them slow, silent or broken. Whatever it starts is
// stopped when the test ends. It imports no product package, so every package's
// tests can use it.
package natstest

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/test/ports"
)

// startTimeout bounds how long a server may take until clients can use it, and
// a cluster until JetStream has a leader. It is generous because tests share
// their machine.
const startTimeout = 30 * time.Second

// Configure changes a server's options before it starts, for example to bound
// its payload or to name a JetStream domain. Ports, names, routes and the store
// directory are set already and must stay.
type Configure func(*server.Options)

// Instance is one server, or a cluster of them. Its methods may be called from
// the test's goroutine only.
type Instance struct {
	// URL is what clients connect to: all servers, separated by commas. It stays
	// the same over restarts.
	URL string

	t       testing.TB
	options []*server.Options
	servers []*server.Server // nil where stopped
}

// Server starts one server with JetStream and returns when it takes clients.
func Server(t testing.TB, configure ...Configure) *Instance {
	t.Helper()
	return start(t, 1, configure)
}

// Cluster starts n servers with JetStream that know each other, and returns when
// their JetStream has a leader and all of them follow it.
func Cluster(t testing.TB, n int, configure ...Configure) *Instance {
	t.Helper()
	return start(t, n, configure)
}

// Connect connects to all servers of the instance; the connection reconnects for
// ever and is closed when the test ends. Options given here come last and win.
func Connect(t testing.TB, i *Instance, options ...nats.Option) *nats.Conn {
	t.Helper()
	return ConnectURL(t, i.URL, options...)
}

// ConnectURL is Connect to any URL, a proxy's for example.
func ConnectURL(t testing.TB, url string, options ...nats.Option) *nats.Conn {
	t.Helper()
	options = append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond)}, options...)
	nc, err := nats.Connect(url, options...)
	if err != nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func start(t testing.TB, n int, configure []Configure) *Instance {
	t.Helper()
	dir := t.TempDir()
	// A port that was free a moment ago may be taken by another process before
	// the server listens on it; then the whole instance tries others.
	var err error
	for attempt := range 5 {
		i := newInstance(t, n, filepath.Join(dir, strconv.Itoa(attempt)), configure)
		if err = i.startAll(); err == nil {
			t.Cleanup(i.stopAll)
			return i
		}
		i.stopAll()
	}
	t.Fatalf("start %d nats-server(s): %v", n, err)
	return nil
}

func newInstance(t testing.TB, n int, dir string, configure []Configure) *Instance {
	i := &Instance{t: t, servers: make([]*server.Server, n)}
	first, err := ports.Take(2 * n)
	if err != nil {
		t.Fatal(err)
	}
	var urls []string
	var routes []*url.URL
	for k := range n {
		urls = append(urls, "nats://"+ports.At(first+k))
		routes = append(routes, &url.URL{Scheme: "nats", Host: ports.At(first + n + k)})
	}
	i.URL = strings.Join(urls, ",")
	for k := range n {
		o := &server.Options{
			ServerName: fmt.Sprintf("s%d", k),
			Host:       "127.0.0.1",
			Port:       first + k,
			JetStream:  true,
			StoreDir:   filepath.Join(dir, fmt.Sprintf("s%d", k)),
			NoLog:      true,
			NoSigs:     true,
			// Generous, so that a busy machine does not look like a slow client.
			WriteDeadline:      20 * time.Second,
			MaxControlLine:     4096,
			JetStreamMaxMemory: 1 << 30,
			JetStreamMaxStore:  8 << 30,
		}
		if n > 1 {
			o.Cluster = server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: first + n + k}
			o.Routes = routes
		}
		for _, change := range configure {
			change(o)
		}
		i.options = append(i.options, o)
	}
	return i
}

func (i *Instance) startAll() error {
	for k := range i.servers {
		if err := i.launch(k); err != nil {
			return err
		}
	}
	return i.ready()
}

func (i *Instance) launch(k int) error {
	s, err := server.NewServer(i.options[k].Clone())
	if err != nil {
		return err
	}
	i.servers[k] = s
	s.Start()
	if !s.ReadyForConnections(startTimeout) {
		return fmt.Errorf("server %d is not ready for connections", k)
	}
	return nil
}

// ready waits until the JetStream of every running server is usable.
func (i *Instance) ready() error {
	deadline := time.Now().Add(startTimeout)
	for !i.settled() {
		if time.Now().After(deadline) {
			return fmt.Errorf("JetStream has no leader")
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

func (i *Instance) settled() bool {
	leaders, running := 0, 0
	for _, s := range i.servers {
		if s == nil {
			continue
		}
		running++
		if len(i.servers) == 1 {
			return s.JetStreamEnabled()
		}
		if s.JetStreamIsLeader() {
			leaders++
		}
		if !s.JetStreamIsCurrent() {
			return false
		}
	}
	return leaders == 1 || 2*running <= len(i.servers)
}

func (i *Instance) stopAll() {
	for k := range i.servers {
		i.Stop(k)
	}
}

// Len returns the number of servers, running or not.
func (i *Instance) Len() int { return len(i.servers) }

// ServerURL returns the URL of server k alone.
func (i *Instance) ServerURL(k int) string { return strings.Split(i.URL, ",")[k] }

// NATS returns server k itself, for in-process connections and for counting its
// messages; nil while it is stopped.
func (i *Instance) NATS(k int) *server.Server { return i.servers[k] }

// StoreDir returns the directory in which server k keeps its streams. Tests that
// copy it, or put a copy in its place, stop the server first.
func (i *Instance) StoreDir(k int) string { return i.options[k].StoreDir }

// Stop shuts server k down and returns when it is gone. Stopping a stopped
// server does nothing.
func (i *Instance) Stop(k int) {
	if s := i.servers[k]; s != nil {
		i.servers[k] = nil
		s.Shutdown()
		s.WaitForShutdown()
	}
}

// Start starts server k again with its ports and its store directory, and waits
// until it takes clients. It does not wait for JetStream: see WaitReady.
func (i *Instance) Start(k int) {
	i.t.Helper()
	if i.servers[k] != nil {
		return
	}
	if err := i.launch(k); err != nil {
		i.t.Fatalf("start server %d again: %v", k, err)
	}
}

// WaitReady waits until JetStream is usable, as far as enough servers run.
func (i *Instance) WaitReady() {
	i.t.Helper()
	if err := i.ready(); err != nil {
		i.t.Fatal(err)
	}
}

// Restart stops server k, starts it again and waits until JetStream is usable.
func (i *Instance) Restart(k int) {
	i.t.Helper()
	i.Stop(k)
	i.Start(k)
	i.WaitReady()
}

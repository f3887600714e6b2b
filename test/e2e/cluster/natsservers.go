package cluster

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// NATSServer is a nats-server process with JetStream. Its address and its folder
// stay the same however often it is killed and started again.
type NATSServer struct {
	*Process        // the one that runs, or ran last
	URL      string // for clients, of this server alone
	Store    string // folder of its streams

	tb      testing.TB
	name    string
	config  string // path
	monitor string // URL of its monitoring
}

// StartNATSServers starts a cluster of n nats-server processes, or a single one,
// and returns when all take clients; a cluster may still be electing leaders.
// Clients are not told of the other servers, so that a proxy before one cannot
// be bypassed.
func StartNATSServers(tb testing.TB, n int) []*NATSServer {
	tb.Helper()
	dir := tb.TempDir()
	var routes []string
	for range n {
		routes = append(routes, FreeAddress(tb))
	}
	servers := make([]*NATSServer, n)
	for i := range servers {
		address, monitor := FreeAddress(tb), FreeAddress(tb)
		s := &NATSServer{URL: "nats://" + address, tb: tb, name: fmt.Sprintf("nats-server-%d", i), monitor: "http://" + monitor}
		s.config, s.Store = filepath.Join(dir, s.name+".conf"), filepath.Join(dir, s.name)
		text := fmt.Sprintf("server_name: s%d\nlisten: %q\nhttp: %q\njetstream { store_dir: %q, max_mem: 256M, max_file: 8G }\n",
			i, address, monitor, s.Store)
		if n > 1 {
			text += fmt.Sprintf("cluster { name: c, listen: %q, no_advertise: true, routes: [\"nats://%s\"] }\n",
				routes[i], strings.Join(routes, `", "nats://`))
		}
		if err := os.WriteFile(s.config, []byte(text), 0o644); err != nil {
			tb.Fatal(err)
		}
		s.Start()
		servers[i] = s
	}
	for _, s := range servers {
		s.WaitTaking()
	}
	return servers
}

// Start starts the server, for the first time or again, without waiting for it.
func (s *NATSServer) Start() {
	s.tb.Helper()
	s.Process = Run(s.tb, s.name, Binary(s.tb, natsServer), "-c", s.config)
}

// WaitTaking waits until the server takes clients.
func (s *NATSServer) WaitTaking() {
	s.tb.Helper()
	s.WaitLine(func(line string) bool { return strings.Contains(line, "Server is ready") })
}

// WaitHealthy waits until the server says that it has caught up with its cluster,
// which is when an upgrade may go on to the next one.
func (s *NATSServer) WaitHealthy() {
	s.tb.Helper()
	deadline := time.Now().Add(startPatience)
	for !s.healthy() {
		if time.Now().After(deadline) {
			s.tb.Fatalf("%s is not healthy:\n%s", s.name, s.Output())
		}
		time.Sleep(20 * time.Millisecond) // there is no event to wait for
	}
}

func (s *NATSServer) healthy() bool {
	response, err := http.Get(s.monitor + "/healthz")
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// Pause freezes the process, as SIGSTOP does: its connections stay open and say
// nothing. It is resumed when the test ends, if not before.
func (s *NATSServer) Pause() {
	s.tb.Helper()
	if err := s.signal(syscall.SIGSTOP); err != nil {
		s.tb.Errorf("pause %s: %v", s.name, err)
	}
	frozen := s.Process
	s.tb.Cleanup(func() { _ = frozen.signal(syscall.SIGCONT) }) // it may be gone
}

// Resume undoes Pause.
func (s *NATSServer) Resume() {
	s.tb.Helper()
	if err := s.signal(syscall.SIGCONT); err != nil {
		s.tb.Errorf("resume %s: %v", s.name, err)
	}
}

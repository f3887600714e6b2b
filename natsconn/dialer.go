package natsconn

import (
	"net"
	"strings"
	"sync"
	"time"
)

// DialTimeout bounds how long a server may take to accept a connection.
const DialTimeout = 2 * time.Second

// Dialer makes the TCP connections of one nats.Conn, one after the other. It closes
// the one before: nats.go forgets a connection whose greeting failed without closing
// it, so an address that accepts and resets would cost a file descriptor a try. The
// zero value is ready.
type Dialer struct {
	mu   sync.Mutex
	last net.Conn
}

// Dial makes a Dialer a nats.CustomDialer.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	d.Close()
	c, err := net.DialTimeout(network, address, DialTimeout)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = c
	return c, nil
}

// Close closes the connection that was made last.
func (d *Dialer) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last != nil {
		_ = d.last.Close()
		d.last = nil
	}
}

// At names servers without their users and passwords, as " at host:port"; empty for
// a server in this process.
func At(urls string) string {
	if urls == "" {
		return ""
	}
	servers := strings.Split(urls, ",")
	for i, server := range servers {
		if _, address, ok := strings.Cut(server, "://"); ok {
			server = address
		}
		servers[i] = server[strings.LastIndex(server, "@")+1:]
	}
	return " at " + strings.Join(servers, ",")
}

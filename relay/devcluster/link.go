package devcluster

import (
	"errors"
	"net"
	"sync"

	"github.com/nats-io/nats.go"
)

// link is a node's way to an embedded NATS server, which can be cut: connections
// then fail and do not come back until it is healed.
type link struct {
	server nats.InProcessConnProvider

	mu    sync.Mutex
	isCut bool
	conns map[*linkConn]struct{}
}

func newLink(server nats.InProcessConnProvider) *link {
	return &link{server: server, conns: map[*linkConn]struct{}{}}
}

var errCut = errors.New("the link is cut")

// InProcessConn connects to the server unless the link is cut.
func (l *link) InProcessConn() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isCut {
		return nil, errCut
	}
	c, err := l.server.InProcessConn()
	if err != nil {
		return nil, err
	}
	conn := &linkConn{Conn: c, link: l}
	l.conns[conn] = struct{}{}
	return conn, nil
}

func (l *link) cut() {
	l.mu.Lock()
	l.isCut = true
	conns := l.conns
	l.conns = map[*linkConn]struct{}{}
	l.mu.Unlock()
	for c := range conns {
		_ = c.Conn.Close()
	}
}

func (l *link) heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = false
}

type linkConn struct {
	net.Conn
	link *link
}

func (c *linkConn) Close() error {
	c.link.mu.Lock()
	delete(c.link.conns, c)
	c.link.mu.Unlock()
	return c.Conn.Close()
}

package natstest

import (
	"net"
	"sync"
	"time"
)

// link is one connection through a proxy.
type link struct {
	p      *Proxy
	client *net.TCPConn

	mu     sync.Mutex
	target *net.TCPConn // nil until connected
	over   bool
	done   chan struct{} // closed by reset
}

// chunk is what one read brought, with the time it did; nil bytes end a stream.
type chunk struct {
	bytes   []byte
	arrived time.Time
}

func (l *link) run() {
	defer l.p.running.Done()
	defer l.forget()
	// A cut holds the way to the target already at the handshake.
	if !l.p.wait(toTarget, time.Now(), l.done) {
		return
	}
	c, err := net.DialTimeout("tcp", l.p.target, 5*time.Second)
	if err != nil {
		l.reset()
		return
	}
	if !l.connected(c.(*net.TCPConn)) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.copy(toTarget, l.target, l.client) })
	both.Go(func() { l.copy(toClient, l.client, l.target) })
	both.Wait()
}

func (l *link) connected(c *net.TCPConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		c.Close()
		return false
	}
	l.target = c
	return true
}

// copy passes bytes on in order, each as late as the proxy wants. Reading goes on
// while bytes wait, so a closed client is noticed and what it sent is kept.
func (l *link) copy(direction int, to, from *net.TCPConn) {
	var (
		mu     sync.Mutex
		queue  []chunk
		filled = make(chan struct{}, 1)
		reader sync.WaitGroup
	)
	push := func(c chunk) {
		mu.Lock()
		queue = append(queue, c)
		mu.Unlock()
		select {
		case filled <- struct{}{}:
		default:
		}
	}
	reader.Go(func() {
		for {
			buffer := make([]byte, 32<<10)
			n, err := from.Read(buffer)
			if n > 0 {
				push(chunk{buffer[:n], time.Now()})
			}
			if err != nil {
				push(chunk{nil, time.Now()})
				return
			}
		}
	})
	defer reader.Wait()
	for {
		mu.Lock()
		ready := queue
		queue = nil
		mu.Unlock()
		for _, c := range ready {
			if !l.p.wait(direction, c.arrived, l.done) {
				return
			}
			if c.bytes == nil {
				l.end(to)
				return
			}
			if _, err := to.Write(c.bytes); err != nil {
				l.reset()
				return
			}
			l.p.passed(direction, len(c.bytes))
		}
		select {
		case <-filled:
		case <-l.done:
			return
		}
	}
}

// end passes the end of a stream on; the peer then ends its own direction.
func (l *link) end(to *net.TCPConn) {
	_ = to.CloseWrite()
}

// reset closes both ends at once, losing what is under way.
func (l *link) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.over = true
	close(l.done)
	for _, c := range []*net.TCPConn{l.client, l.target} {
		if c != nil {
			_ = c.SetLinger(0)
			c.Close()
		}
	}
}

// forget ends the link in an orderly way if no reset has.
func (l *link) forget() {
	l.mu.Lock()
	if !l.over {
		l.over = true
		l.client.Close()
		if l.target != nil {
			l.target.Close()
		}
	}
	l.mu.Unlock()
	l.p.mu.Lock()
	delete(l.p.links, l)
	l.p.mu.Unlock()
}

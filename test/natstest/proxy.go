package natstest

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/ports"
)

// Proxy is a TCP link to one target whose faults a test chooses. Faults that
// follow each other replace each other, and Heal ends them all; the delay is
// independent of them. Its methods may be called concurrently.
type Proxy struct {
	// Addr is the host and port to connect to; it never changes.
	Addr string
	// URL is Addr as a NATS URL.
	URL string

	target string

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at every change of what is below
	listener net.Listener  // nil while refusing
	delay    time.Duration
	held     [2]bool // by direction: bytes wait in the proxy
	replies  int     // bytes to clients after which those that follow are held; 0 if none are
	links    map[*link]struct{}
	closed   bool
	running  sync.WaitGroup
}

// The two directions of a link.
const (
	toTarget = iota
	toClient
)

// NewProxy starts a proxy to the target, a host and port or a NATS URL of one
// server. It is stopped when the test ends.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p := &Proxy{
		target:  strings.TrimPrefix(target, "nats://"),
		changed: make(chan struct{}),
		links:   make(map[*link]struct{}),
	}
	port, err := ports.Take(1)
	if err != nil {
		t.Fatal(err)
	}
	p.Addr = ports.At(port)
	p.URL = "nats://" + p.Addr
	if err := p.listen(); err != nil {
		t.Fatalf("start proxy: %v", err)
	}
	t.Cleanup(p.close)
	return p
}

// SetDelay makes every byte take d longer in each direction: a request and its
// answer take 2d more. Bytes keep their order; bandwidth is not limited.
func (p *Proxy) SetDelay(d time.Duration) {
	p.change(func() { p.delay = d })
}

// Cut makes the link a black hole, as a firewall does that drops packets: the
// connections stay open and nothing arrives. As with real packet loss what was
// sent meanwhile arrives when Heal is called, even from a client that has closed
// its end since: TCP sends again what was not acknowledged.
func (p *Proxy) Cut() { p.hold(true, true) }

// CutReplies is Cut for the direction from the target to the client only:
// requests arrive, their answers do not.
func (p *Proxy) CutReplies() { p.hold(false, true) }

// CutRepliesAfter is CutReplies once n more bytes of replies have passed, and what was
// read with the last of them: what a client does with the first part of an answer can
// be seen while it does not have the rest.
func (p *Proxy) CutRepliesAfter(n int) {
	p.ensureListening()
	p.change(func() { p.held, p.replies = [2]bool{}, n })
}

// passed counts what went on in a direction.
func (p *Proxy) passed(direction, n int) {
	if direction != toClient {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.replies == 0 {
		return
	}
	if p.replies = max(0, p.replies-n); p.replies == 0 {
		p.held[toClient] = true // whoever waits already is woken by the next change
	}
}

func (p *Proxy) hold(target, client bool) {
	p.ensureListening()
	p.change(func() { p.held, p.replies = [2]bool{toTarget: target, toClient: client}, 0 })
}

// Refuse resets the connections, losing what is under way, and refuses new ones.
func (p *Proxy) Refuse() {
	p.change(func() {
		if p.listener != nil {
			p.listener.Close()
			p.listener = nil
		}
		p.held, p.replies = [2]bool{}, 0
	})
	p.Reset()
}

// Say has every client hear words that its server did not say, such as an error. No
// message may be under way to it.
func (p *Proxy) Say(words string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		_, _ = l.client.Write([]byte(words)) // one that is closed hears nothing
	}
}

// Reset resets the connections that are open, losing what is under way; new ones
// are taken.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

// Heal ends Cut, CutReplies, CutRepliesAfter and Refuse. The delay stays.
func (p *Proxy) Heal() {
	p.ensureListening()
	p.change(func() { p.held, p.replies = [2]bool{}, 0 })
}

// ensureListening listens again after Refuse. The port lies outside the range of
// outgoing connections, so it is still free but for a moment's remains.
func (p *Proxy) ensureListening() {
	for range 100 {
		p.mu.Lock()
		done := p.listener != nil || p.closed
		p.mu.Unlock()
		if done || p.listen() == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	panic("proxy cannot listen on " + p.Addr + " again")
}

// Connections returns the number of open connections.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

func (p *Proxy) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) listen() error {
	l, err := net.Listen("tcp", p.Addr)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.listener = l
	p.running.Add(1)
	p.mu.Unlock()
	go p.accept(l)
	return nil
}

func (p *Proxy) accept(l net.Listener) {
	defer p.running.Done()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		if p.closed || p.listener != l {
			p.mu.Unlock()
			c.Close()
			continue
		}
		p.running.Add(1)
		k := &link{p: p, client: c.(*net.TCPConn), done: make(chan struct{})}
		p.links[k] = struct{}{}
		p.mu.Unlock()
		go k.run()
	}
}

func (p *Proxy) close() {
	p.change(func() {
		p.closed = true
		if p.listener != nil {
			p.listener.Close()
			p.listener = nil
		}
	})
	p.Reset()
	p.running.Wait()
}

// wait returns when bytes that arrived at a given moment may go on in a
// direction; false when the link was reset meanwhile.
func (p *Proxy) wait(direction int, arrived time.Time, done <-chan struct{}) bool {
	for {
		p.mu.Lock()
		held, delay, changed := p.held[direction], p.delay, p.changed
		p.mu.Unlock()
		rest := time.Until(arrived.Add(delay))
		if !held && rest <= 0 {
			return true
		}
		var due <-chan time.Time
		if !held {
			due = time.After(rest)
		}
		select {
		case <-due:
		case <-changed:
		case <-done:
			return false
		}
	}
}

package relay

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/apps"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/relay/ystore"
)

// regionFront is the address of a region: it leads to one of its nodes.
type regionFront struct {
	listener net.Listener
	mu       sync.Mutex
	to       string // "": nowhere
	conns    map[net.Conn]struct{}
	dialled  int
	running  sync.WaitGroup
}

func newFront(t testing.TB) *regionFront {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &regionFront{listener: l, conns: map[net.Conn]struct{}{}}
	f.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.running.Go(func() { f.forward(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		f.cut()
		f.running.Wait()
	})
	return f
}

func (f *regionFront) forward(c net.Conn) {
	f.mu.Lock()
	to := f.to
	f.dialled++
	f.mu.Unlock()
	node, err := net.Dial("tcp", to)
	if err != nil {
		_ = c.Close()
		return
	}
	f.mu.Lock()
	f.conns[c], f.conns[node] = struct{}{}, struct{}{}
	f.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{c, node}, {node, c}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_, _ = c.Close(), node.Close()
		})
	}
	both.Wait()
	f.mu.Lock()
	delete(f.conns, c)
	delete(f.conns, node)
	f.mu.Unlock()
}

func (f *regionFront) lead(to string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.to = to
}

// cut ends all connections, as a node that dies does.
func (f *regionFront) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		_ = c.Close()
	}
}

func (f *regionFront) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dialled
}

// regions are regions of a world whose URLs lead to their nodes.
type regions struct {
	*world
	fronts map[docid.Region]*regionFront
}

func newRegions(t testing.TB) *regions {
	r := &regions{world: newWorld(t), fronts: map[docid.Region]*regionFront{}}
	r.pins = func(c *kvpin.Config) { c.URL = "ws://" + r.front(c.Region).listener.Addr().String() }
	return r
}

func (r *regions) front(region docid.Region) *regionFront {
	if r.fronts[region] == nil {
		r.fronts[region] = newFront(r.t)
	}
	return r.fronts[region]
}

// node starts a node, to which its region's URL leads from then on.
func (r *regions) node(region docid.Region, id docid.NodeID, configure ...func(*Config)) *testNode {
	r.t.Helper()
	n := r.world.node(region, id, configure...)
	r.front(region).lead(n.addr)
	return n
}

const (
	eu = docid.Region("eu-central-1")
	us = docid.Region("us-east-1")
)

func carrying(c *Config) { c.Elsewhere = apps.Carry }

// carriedClient connects a client of y-websocket that begins as one does.
func carriedClient(t testing.TB, n *testNode, target, token string) *websocket.Conn {
	t.Helper()
	c, _, err := dial(t, n.addr, "/"+target, token, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	if err := c.Write(t.Context(), websocket.MessageBinary, wire.Encode(wire.Step1, []byte{0}).Content()); err != nil {
		t.Fatal(err)
	}
	return c
}

// plain is a client of y-websocket's wire, which answers as one does.
type plain struct {
	t       *testing.T
	conn    *websocket.Conn
	store   *ystore.Store
	step1   int
	answers map[string]int
}

func (p *plain) send(message []byte) {
	p.t.Helper()
	if err := p.conn.Write(p.t.Context(), websocket.MessageBinary, message); err != nil {
		p.t.Fatal(err)
	}
}

func (p *plain) ask(question string) {
	p.send(append([]byte{102}, wire.AppendBytes(nil, []byte(question))...))
}

func (p *plain) edit(client, clock uint64) {
	p.t.Helper()
	u := typedBy(client, clock)
	if _, err := p.store.Apply(u); err != nil {
		p.t.Fatal(err)
	}
	p.send(wire.Encode(wire.Update, u).Content())
}

func (p *plain) until(what string, holds func() bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	if p.answers == nil {
		p.answers = map[string]int{}
	}
	for !holds() {
		_, frame, err := p.conn.Read(ctx)
		if err != nil {
			p.t.Fatalf("%s: %v; %d SyncStep1, answers %v", what, err, p.step1, p.answers)
		}
		m, err := wire.Decode(frame)
		if err != nil {
			p.t.Fatal(err)
		}
		switch m.Kind {
		case wire.Step1:
			p.step1++
			theirs, err := ystore.ReadProgress(m.Payload)
			if err != nil {
				p.t.Fatal(err)
			}
			p.send(wire.Encode(wire.Step2, p.store.Rest(theirs, 0)).Content())
		case wire.Step2, wire.Update:
			if _, err := p.store.Apply(m.Payload); err != nil {
				p.t.Fatal(err)
			}
		case wire.SyncStatus:
			p.answers[string(m.Payload)]++
		}
	}
}

// forgetful is a verifier to which tokens expire at once.
type forgetful struct {
	Verifier
	mu      sync.Mutex
	expired map[string]bool
}

func (f *forgetful) forget(token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expired = map[string]bool{token: true}
}

func (f *forgetful) VerifyFor(ctx context.Context, token string, by authn.Caller) (*authn.Grant, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.expired[token] {
		return nil, &authn.InvalidError{Reason: authn.Expired}
	}
	return f.Verifier.VerifyFor(ctx, token, by)
}

// written is an update of a text at the end of the root text "text".
func written(client, clock uint64, text []byte) []byte {
	u := typedBy(client, clock)
	u = wire.AppendBytes(u[:len(u)-3], text)
	return append(u, 0)
}

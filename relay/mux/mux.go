// Package mux is several documents on one connection, by Hocuspocus' wire: each behind
// an address, with a token, rights and an end of its own. What goes wrong with one of
// them is kept from the others.
package mux

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/session"
	"github.com/wsnode/wsnode/relay/wire"
)

// Bounds of one connection.
const (
	maxHeldBytes  = 1 << 20 // of messages for documents that it is not in yet
	maxHeldFrames = 256
	maxPending    = 100  // documents that it is not in yet
	maxDocuments  = 1000 // all
	maxEntering   = 100  // documents that it is being let into, those that it has left meanwhile among them
	headSlack     = 32   // bytes of a message besides its payload and address

	unserved   = 25 * time.Second // with a connection all of whose documents cannot be served now
	unwelcomed = time.Minute      // for a connection to get into a document, its first
)

// Host is the node, as the documents of a connection see it.
type Host interface {
	// Admit takes a client into a document. Before the client is sent anything else, it
	// calls Granted. The context ends with the connection.
	Admit(ctx context.Context, r Request) (Seat, error)
	// Confirm judges another token of a client that is in the document. ErrRights: it is
	// good, and gives other rights, by which the client is let in again.
	Confirm(ctx context.Context, r Request, s Seat) error
	// Answer says what a client is told of an error.
	Answer(err error) (code int, reason string)
	// Draining reports whether the node takes no clients any more.
	Draining() bool
	// Dropped is told of a message that goes nowhere.
	Dropped(name string, kind wire.Kind)
	// Outside counts a connection without a document, until inside is called. false: there
	// are too many.
	Outside() (inside func(), ok bool)
}

// ErrRights is returned by Host.Confirm for a token that gives other rights than the
// client has.
var ErrRights = errors.New("the token gives other rights")

// Request is a client's wish to be let into a document.
type Request struct {
	Name, Token string
	Channel     *session.Channel
	Granted     func(readOnly bool)
}

// Seat is a client in a document.
type Seat interface {
	Stream() session.Stream
	ReadOnly() bool
	// Share is its app's, in what all connections share; nil: it has none.
	Share() *conn.Share
	// Leave gives it back, and may take a while.
	Leave(how conn.Closed)
}

// Mux is the documents of one connection. It is the connection's Handler.
//
// Lock order: a document's taking, Room.mu, mu, and those of streams.
type Mux struct {
	conn  *conn.Conn
	host  Host
	guard conn.Guard
	spawn func(func()) // runs a goroutine that the owner waits for
	since time.Time

	ctx    context.Context // ends with the connection
	cancel context.CancelFunc

	dropped atomic.Int64 // messages for documents that it is not in

	mu         sync.Mutex
	ended      *conn.Closed // nil: it has not
	documents  map[string]*document
	pending    int    // of the documents
	entering   int    // goroutines that began with a token
	inside     func() // ends that it is counted as without a document; nil: it is not counted
	heldBytes  int
	heldFrames int
	welcomed   bool   // it has been in a document
	address    string // of the latest document
}

// New makes the documents of a connection, none yet. spawn runs a goroutine that whoever
// calls it waits for.
func New(c *conn.Conn, host Host, guard conn.Guard, spawn func(func())) *Mux {
	x := &Mux{conn: c, host: host, guard: guard, spawn: spawn, since: time.Now(), documents: map[string]*document{}}
	x.ctx, x.cancel = context.WithCancel(context.Background())
	return x
}

// End is the end of the connection: everything is given back.
func (x *Mux) End(how conn.Closed) {
	x.cancel()
	x.mu.Lock()
	x.ended = &how
	var seats []Seat
	for _, d := range x.documents {
		if d.seat != nil {
			seats = append(seats, d.seat)
		}
	}
	clear(x.documents)
	x.count()
	x.mu.Unlock()
	for _, s := range seats {
		s.Leave(how)
	}
}

// count has the connection counted while it has no document. Nobody else counts it then, and
// for providers without a document there may be a next. Callers hold mu.
func (x *Mux) count() {
	switch outside := len(x.documents) == 0 && x.ended == nil; {
	case outside && x.inside == nil:
		inside, ok := x.host.Outside()
		if x.inside = inside; !ok {
			x.spawn(func() { x.giveUp(closecode.TryAgain, closecode.ReasonTryAgain) })
		}
	case !outside && x.inside != nil:
		x.inside()
		x.inside = nil
	}
}

// Message is for conn.Handler.
func (x *Mux) Message(message []byte) (pause time.Duration) {
	address, m, err := wire.DecodeHocuspocus(message)
	if err != nil {
		x.conn.Reject(closecode.Malformed, "Malformed frame", err, false)
		return x.guard.Received(len(message))
	}
	if m.Kind == wire.Ping || m.Kind == wire.Pong {
		return x.guard.Received(len(message))
	}
	x.mu.Lock()
	d := x.documents[string(address)]
	switch {
	case m.Kind == wire.Token:
		x.authenticate(d, string(address), string(m.Payload), m.Versioned)
	case d == nil:
		x.mu.Unlock()
		x.dropped.Add(1)
		x.host.Dropped(wire.AddressedTo(string(address)), m.Kind)
	case m.Kind == wire.Leave:
		x.leave(d, conn.Closed{Code: 1000, Reason: "left the document"})
	case d.open:
		s := d.seat.Stream()
		d.taking.Lock() // which is free once a document is open, but for a moment
		x.mu.Unlock()
		defer d.taking.Unlock()
		return s.Take(m, len(message))
	default:
		x.hold(d, m)
	}
	return x.guard.Received(len(message))
}

// Limit is for conn.Handler.
func (x *Mux) Limit(head []byte) int {
	address, kind, _, err := wire.HocuspocusHead(head)
	if err != nil {
		return maxHeldBytes
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if d := x.documents[string(address)]; d != nil && d.open {
		return d.seat.Stream().LimitOf(kind) + len(address) + headSlack
	}
	return maxHeldBytes
}

// ShareOf is for conn.Sharer.
func (x *Mux) ShareOf(head []byte) *conn.Share {
	address, _, _, err := wire.HocuspocusHead(head)
	if err != nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if d := x.documents[string(address)]; d != nil && d.open {
		return d.seat.Share()
	}
	return nil
}

// Drained is for conn.Handler: the documents are asked in turn, without a lock.
func (x *Mux) Drained() (more bool) {
	x.mu.Lock()
	streams := make([]session.Stream, 0, len(x.documents))
	for _, d := range x.documents {
		if d.seat != nil {
			streams = append(streams, d.seat.Stream())
		}
	}
	x.mu.Unlock()
	for _, s := range streams {
		if s.Drained() {
			more = true
		}
	}
	return more
}

// KeepAlive is for conn.Handler. An empty awareness message of any document will do.
func (x *Mux) KeepAlive() {
	x.mu.Lock()
	address := x.address
	lost := !x.welcomed && x.pending == 0 && time.Since(x.since) > unwelcomed
	x.mu.Unlock()
	if lost {
		x.conn.Close(closecode.Silent, "No document within a minute")
		return
	}
	x.write(address, wire.Awareness, []byte{0})
}

// write sends a message that is no session's.
func (x *Mux) write(address string, kind wire.Kind, payload []byte) {
	x.conn.Sent()
	x.conn.Write(wire.NewHocuspocus(address).Encode(kind, payload).Bytes())
}

// giveUp ends the connection because the node cannot serve it now. Version 3 of the
// provider piles attempts up against a server that closes before it sent anything.
func (x *Mux) giveUp(code int, reason string) {
	if _, out, _, _ := x.conn.Traffic(); out == 0 {
		x.KeepAlive()
	}
	x.conn.Close(code, reason)
}

// hold keeps a message for a document that the client is not in yet. One that it is not in
// for the moment asks for all that it missed when it is back. It is called with mu, and
// unlocks it.
func (x *Mux) hold(d *document, m wire.Received) {
	if d.resumes && !d.joins {
		d.channel.Missed(m)
		x.mu.Unlock()
		return
	}
	x.heldBytes += len(m.Payload)
	x.heldFrames++
	full := x.heldBytes > maxHeldBytes || x.heldFrames > maxHeldFrames
	if !full {
		d.held = append(d.held, wire.Received{Kind: m.Kind, Payload: bytes.Clone(m.Payload)})
	}
	x.mu.Unlock()
	if full {
		x.giveUp(closecode.TryAgain, closecode.ReasonTryAgain)
	}
}

// release takes what is held for a document. Callers hold mu.
func (x *Mux) release(d *document) (held []wire.Received) {
	held, d.held = d.held, nil
	for _, m := range held {
		x.heldBytes -= len(m.Payload)
	}
	x.heldFrames -= len(held)
	return held
}

// stuck reports whether the connection serves nothing, and has not for a while.
func (x *Mux) stuck() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, d := range x.documents {
		if d.open || time.Since(d.since) < unserved {
			return false
		}
	}
	return len(x.documents) > 0
}

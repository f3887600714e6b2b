// Package bus carries bytes between the pods of a region on NATS core subjects.
// It knows nothing of documents. A node has one connection, made by Connect, and
// one Bus on it; the history publishes on the same connection, so one publish
// both fans out and is captured.
package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/docid"
)

// Errors that Publish and its relatives return. In each case nothing was
// published.
var (
	// ErrDisconnected: there is no connection to NATS. Nothing is kept for later:
	// after a reconnect every room has to exchange its state with the others
	// anyway, see Config.Disturbed.
	ErrDisconnected = errors.New("no connection to NATS")
	// ErrBacklog: NATS takes bytes more slowly than they are published, and as
	// many wait as may. Try again after a Flush.
	ErrBacklog = errors.New("too many bytes wait for NATS")
	// ErrTooLarge: the message exceeds MaxPayload.
	ErrTooLarge = errors.New("message exceeds the payload limit of NATS")
	// ErrClosed: the bus or its connection was closed.
	ErrClosed = errors.New("bus is closed")
	// ErrNobody: nobody subscribes to the subject of a request.
	ErrNobody = errors.New("nobody answers")
)

// Handler takes the messages of a subscription.
type Handler interface {
	// Receive is called for one message at a time and in the order of arrival,
	// from one of a few goroutines that all subscriptions share: it must not
	// block. data belongs to the receiver, which may keep it, but must not change
	// it. The strings may be kept too.
	Receive(subject, reply string, data []byte)
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(subject, reply string, data []byte)

// Receive calls f.
func (f HandlerFunc) Receive(subject, reply string, data []byte) { f(subject, reply, data) }

// Config says how a bus behaves. The zero value is useful.
type Config struct {
	// Node names this pod's own subject: a NATS token, unique in the region.
	// Empty: a random one.
	Node docid.NodeID
	// Disturbed is called after messages may have been lost: the connection was
	// made anew, or messages came faster than the handlers took them. Every room
	// must then repair. It is called from a goroutine of its own, never twice at
	// once; what happens during a call leads to one more. It is not called after
	// Close. Nil disables it.
	Disturbed func()
	// Log takes reconnects and drops. Nil: slog.Default.
	Log *slog.Logger
	// Lanes is the number of goroutines that call handlers. 0: GOMAXPROCS, at
	// most 4.
	Lanes int
	// LaneDepth is how many messages may wait in a lane before further ones are
	// dropped and reported by Disturbed. 0: 65,536, which is 0.5 MiB per lane
	// when empty. In bytes about 128 MiB may wait on a connection made by Connect;
	// beyond it the connection is not read.
	LaneDepth int
	// MaxBacklog is how many bytes may wait for NATS before Publish refuses with
	// ErrBacklog: as many as the largest burst, which is a whole document for a pod
	// that lacks it. It needs a connection made by Connect. 0: 256 MiB.
	MaxBacklog int
}

// Bus publishes and subscribes. Each subscription has its messages in the order of their
// arrival, one at a time. Its subscriptions outlive the connection: they move to the one
// that takes its place, and whenever messages may have been lost Config.Disturbed is
// called. On a connection of Connect nobody who publishes waits for the network.
//
// Its methods may be called concurrently.
type Bus struct {
	// Static after New.
	link   *link // nil if the connection was not made by Connect
	log    *slog.Logger
	node   docid.NodeID
	notice func() // Config.Disturbed
	limit  int    // Config.MaxBacklog
	lanes  []*lane
	seed   maphash.Seed
	inbox  *inbox

	nc     atomic.Pointer[nats.Conn]
	fault  atomic.Pointer[error] // why nc was ended for good, until it is opened anew
	up     atomic.Bool           // without a link: false from a disconnect to the reconnect
	closed atomic.Bool
	// nats.go knows it too, but keeps its lock while it dials.
	maxPayload atomic.Int64
	cluster    atomic.Pointer[string]
	dropped    atomic.Uint64
	cuts       atomic.Uint64

	disturbed chan struct{} // holds one notice
	renewal   chan struct{} // holds one request
	ended     chan struct{} // holds one notice: nc was ended for good
	stop      chan struct{}
	running   sync.WaitGroup

	moving sync.Mutex         // held while the bus moves to another connection
	moved  []func(*nats.Conn) // told of it; guarded by moving
}

// New makes a bus on a connection, which should come from Connect: one made
// without nats.NoEcho brings every room its own messages, and may block Publish.
// The bus adds its handlers to those of the connection.
func New(nc *nats.Conn, config Config) (*Bus, error) {
	if config.Node == "" {
		config.Node = docid.NodeID(rand.Text())
	}
	if config.Log == nil {
		config.Log = slog.Default()
	}
	if config.Lanes <= 0 {
		config.Lanes = min(runtime.GOMAXPROCS(0), 4)
	}
	if config.LaneDepth <= 0 {
		config.LaneDepth = 1 << 16
	}
	if config.MaxBacklog <= 0 {
		config.MaxBacklog = 256 << 20
	}
	b := &Bus{
		link:      linkOf(nc),
		log:       config.Log,
		node:      config.Node,
		notice:    config.Disturbed,
		limit:     config.MaxBacklog,
		seed:      maphash.MakeSeed(),
		disturbed: make(chan struct{}, 1),
		renewal:   make(chan struct{}, 1),
		ended:     make(chan struct{}, 1),
		stop:      make(chan struct{}),
	}
	b.nc.Store(nc)
	b.watch(nc)
	for range config.Lanes {
		l := newLane(config.LaneDepth)
		b.lanes = append(b.lanes, l)
		b.running.Go(func() { l.run(b.stop) })
	}
	b.running.Go(b.report)
	b.running.Go(b.renew)
	if b.link != nil {
		await := b.awaitHandlers
		b.link.awaitHandlers.Store(&await)
	}
	var err error
	if b.inbox, err = newInbox(b); err != nil {
		b.Close()
		return nil, fmt.Errorf("subscribe to the inbox: %w", err)
	}
	b.running.Go(b.keep)
	return b, nil
}

// Conn returns the connection of the bus: the one that it was made on, or the one
// that took its place. Whoever made the bus closes it, after the bus.
func (b *Bus) Conn() *nats.Conn { return b.nc.Load() }

// PodSubject is this pod's own subject, "wsn.p.<node>". Nothing is subscribed to
// it by the bus.
func (b *Bus) PodSubject() string { return PodSubject(b.node) }

// PodSubject is the own subject of the pod of that name.
func PodSubject(node docid.NodeID) string { return "wsn.p." + string(node) }

// MaxPayload is the largest message that NATS takes, in bytes. It may change
// with a reconnect.
func (b *Bus) MaxPayload() int { return int(b.maxPayload.Load()) }

// Cluster names the NATS cluster that the connection leads to, or led to last; a
// server without a cluster stands for itself.
func (b *Bus) Cluster() string { return *b.cluster.Load() }

// Connected reports whether there is a connection now.
func (b *Bus) Connected() bool { return b.available() == nil }

// Stats is what a bus has been through.
type Stats struct {
	Subscriptions int    // held now
	Waiting       int    // messages that wait for their handlers now
	Backlog       int    // bytes that wait for NATS to take them now
	Dropped       uint64 // episodes of messages dropped because handlers were slow
	Reconnects    uint64
}

// Stats returns the state for metrics.
func (b *Bus) Stats() Stats {
	s := Stats{Dropped: b.dropped.Load(), Reconnects: b.cuts.Load()}
	for _, l := range b.lanes {
		subscriptions, waiting := l.load()
		s.Subscriptions += subscriptions
		s.Waiting += waiting
	}
	if b.link != nil {
		s.Backlog = b.link.backlog()
	}
	return s
}

// available says why a publish cannot go out now, without taking the
// connection's lock: nats.go holds it while it dials.
func (b *Bus) available() error {
	up := b.up.Load()
	if b.link != nil {
		up = b.link.up()
	}
	switch {
	case b.closed.Load():
		return ErrClosed
	case !up:
		return ErrDisconnected
	}
	return nil
}

// Publish sends data to all other pods that subscribe to the subject. It copies
// data and never waits for the network.
func (b *Bus) Publish(subject string, data []byte) error {
	return b.PublishRequest(subject, "", data)
}

// PublishRequest is Publish with a subject for answers; empty is none.
func (b *Bus) PublishRequest(subject, reply string, data []byte) error {
	if err := b.available(); err != nil {
		return err
	}
	if b.link != nil && b.link.backlog()+len(data) > b.limit {
		return ErrBacklog
	}
	var err error
	if nc := b.nc.Load(); reply == "" {
		err = nc.Publish(subject, data)
	} else {
		err = nc.PublishRequest(subject, reply, data)
	}
	if err == nil {
		return nil
	}
	return b.publishError(err)
}

func (b *Bus) publishError(err error) error {
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return ErrTooLarge
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		return ErrDisconnected
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		if b.link != nil && !b.closed.Load() {
			return ErrDisconnected // another one takes its place
		}
		return ErrClosed
	}
	return err
}

// Flush waits until the server has everything that was published before. That
// says nothing about the other servers of a cluster.
func (b *Bus) Flush(ctx context.Context) error {
	if err := b.available(); err != nil {
		return err
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
	}
	return b.nc.Load().FlushWithContext(ctx)
}

// Close ends the bus: subscriptions end, no handler is called once Close has
// returned, pending requests fail. The connection stays open; it is closed by
// whoever made it. Close must not be called from a handler.
func (b *Bus) Close() {
	if b.closed.Swap(true) {
		return
	}
	if b.inbox != nil {
		b.inbox.close()
	}
	for _, l := range b.lanes {
		l.close()
	}
	close(b.stop)
	b.running.Wait()
}

package bus

import (
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// watch puts the bus's handlers in front of those that a connection has.
func (b *Bus) watch(nc *nats.Conn) {
	// Last: what happens before it is seen by it, and what happens after it is
	// seen by the handlers.
	defer func() {
		b.confirm()
		if nc.IsClosed() {
			b.end()
		}
	}()
	disconnected := nc.DisconnectErrHandler()
	nc.SetDisconnectErrHandler(func(nc *nats.Conn, err error) {
		b.up.Store(false)
		if !b.closed.Load() {
			b.log.Warn("lost the connection to NATS", "error", err)
		}
		if disconnected != nil {
			disconnected(nc, err)
		}
	})
	reconnected := nc.ReconnectHandler()
	nc.SetReconnectHandler(func(nc *nats.Conn) {
		b.confirm()
		b.cuts.Add(1)
		if !b.closed.Load() {
			b.log.Info("connected to NATS again", "server", nc.ConnectedServerName())
			b.disturb()
		}
		if reconnected != nil {
			reconnected(nc)
		}
	})
	closed := nc.ClosedHandler()
	nc.SetClosedHandler(func(nc *nats.Conn) {
		b.end()
		if closed != nil {
			closed(nc)
		}
	})
	failed := nc.ErrorHandler()
	nc.SetErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
		switch {
		case b.closed.Load():
		case errors.Is(err, nats.ErrSlowConsumer):
			if b.dropped.Add(1) == 1 || sub == nil {
				b.log.Warn("messages came faster than they were handled, some were dropped")
			}
			b.disturb()
		default:
			b.log.Warn("NATS reports an error", "error", err)
		}
		if failed != nil {
			failed(nc, sub, err)
		}
	})
}

// ClusterOf names the NATS cluster that a connection leads to; a server without a
// cluster stands for itself. It is empty without a connection.
func ClusterOf(nc *nats.Conn) string {
	if cluster := nc.ConnectedClusterName(); cluster != "" {
		return cluster
	}
	if server := nc.ConnectedServerName(); server != "" {
		return "of the server " + server
	}
	return ""
}

// confirm looks whether the connection can be used.
func (b *Bus) confirm() {
	nc := b.nc.Load()
	b.maxPayload.Store(nc.MaxPayload())
	cluster := ClusterOf(nc)
	if cluster != "" || b.cluster.Load() == nil {
		b.cluster.Store(&cluster)
	}
	if b.link != nil {
		b.link.confirm(nc)
		return
	}
	b.up.Store(nc.IsConnected())
}

// end leaves a notice that the connection was ended for good, be it by its owner.
func (b *Bus) end() {
	select {
	case b.ended <- struct{}{}:
	default:
	}
}

// disturb leaves a notice; one is enough however often it is left.
func (b *Bus) disturb() {
	select {
	case b.disturbed <- struct{}{}:
	default:
	}
}

// report calls Config.Disturbed for the notices. nats.go reports only the first
// of the drops in a row, so a repair is worth its while only when the lanes have
// room again.
func (b *Bus) report() {
	for {
		select {
		case <-b.stop:
			return
		case <-b.disturbed:
		}
		if !b.await(calmTime, func(l *lane) bool { return len(l.messages) <= cap(l.messages)/2 }) {
			return
		}
		select {
		case <-b.disturbed: // left while waiting: the same disturbance
		default:
		}
		if b.notice != nil {
			b.notice()
		}
	}
}

// Waiting for the handlers does not go on for ever, since one may hang.
const (
	calmTime     = 5 * time.Second
	handlersTime = 2 * time.Second
)

// awaitHandlers lets the reader of the connection wait until next to nothing waits for
// the handlers. NATS then waits too, and gives the connection up if it takes too
// long: a bounded loss, and a reported one.
func (b *Bus) awaitHandlers() {
	b.await(handlersTime, func(l *lane) bool { return len(l.messages) <= 64 })
}

// await waits until every lane is well. It returns false when the bus is closed.
func (b *Bus) await(most time.Duration, well func(*lane) bool) bool {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(most); ; {
		if !slices.ContainsFunc(b.lanes, func(l *lane) bool { return !well(l) }) || time.Now().After(end) {
			return true
		}
		select {
		case <-b.stop:
			return false
		case <-tick.C:
		}
	}
}

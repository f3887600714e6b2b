package bus

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// watch puts the bus's handlers in front of those that the connection has.
func (b *Bus) watch() {
	// Last: what happens before it is seen by it, and what happens after it is
	// seen by the handlers.
	defer b.confirm()
	disconnected := b.nc.DisconnectErrHandler()
	b.nc.SetDisconnectErrHandler(func(nc *nats.Conn, err error) {
		b.up.Store(false)
		if !b.closed.Load() {
			b.log.Warn("lost the connection to NATS", "error", err)
		}
		if disconnected != nil {
			disconnected(nc, err)
		}
	})
	reconnected := b.nc.ReconnectHandler()
	b.nc.SetReconnectHandler(func(nc *nats.Conn) {
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
	failed := b.nc.ErrorHandler()
	b.nc.SetErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
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

// confirm looks whether the connection can be used.
func (b *Bus) confirm() {
	b.maxPayload.Store(b.nc.MaxPayload())
	if b.link != nil {
		b.link.confirm(b.nc)
		return
	}
	b.up.Store(b.nc.IsConnected())
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
		if !b.calm() {
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

// calm waits until every lane is at most half full, but not for ever, since a
// handler may hang. It returns false when the bus is closed.
func (b *Bus) calm() bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		full := false
		for _, l := range b.lanes {
			full = full || len(l.messages) > cap(l.messages)/2
		}
		if !full {
			return true
		}
		select {
		case <-b.stop:
			return false
		case <-tick.C:
		}
	}
	return true
}

package bus

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/natsconn"
)

// OnMove has f called with each connection that takes the place of one that nats.go
// ended for good: whoever has subscriptions of their own must make them again. The
// calls come one after the other, after the bus itself has moved and before Disturbed.
func (b *Bus) OnMove(f func(*nats.Conn)) {
	b.moving.Lock()
	defer b.moving.Unlock()
	b.moved = append(b.moved, f)
}

// Ended returns an error that wraps natsconn.ErrEnded from the end of the connection
// for good until another one has taken its place. A server that is away is no end.
func (b *Bus) Ended() error {
	if err := b.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// keep reminds of a connection that there is not, and replaces one that ended.
func (b *Bus) keep() {
	reminder := time.NewTicker(natsconn.RemindEvery)
	defer reminder.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-reminder.C:
			if nc := b.nc.Load(); !nc.IsConnected() {
				b.log.Warn("no connection to NATS, trying on", "error", natsconn.Reason(nc))
			}
		case <-b.ended:
			if nc := b.nc.Load(); nc.IsClosed() && b.link != nil {
				b.reopen(nc)
			}
		}
	}
}

// reopen puts another connection in the place of one that ended. It tries until there
// is one or the bus is closed.
func (b *Bus) reopen(old *nats.Conn) {
	reason := natsconn.Reason(old)
	fault := fmt.Errorf("%w: %w", natsconn.ErrEnded, reason)
	b.fault.Store(&fault)
	b.log.Error("the connection to NATS was ended for good, opening it anew", "error", reason)
	for said := (time.Time{}); ; {
		select {
		case <-b.stop:
			return
		case <-time.After(natsconn.ReopenWait()):
		}
		nc, err := b.link.open()
		if err == nil {
			if err = b.move(nc); err == nil {
				return
			}
			nc.Close()
		}
		if time.Since(said) >= natsconn.RemindEvery {
			said = time.Now()
			b.log.Error("the connection to NATS cannot be opened anew yet", "error", err)
		}
	}
}

// move goes over to another connection with everything that the bus is subscribed to.
func (b *Bus) move(nc *nats.Conn) error {
	b.moving.Lock()
	defer b.moving.Unlock()
	b.nc.Store(nc)
	if err := b.inbox.move(nc); err != nil {
		return err
	}
	for _, l := range b.lanes {
		if err := l.move(nc); err != nil {
			return err
		}
	}
	for _, f := range b.moved {
		f(nc)
	}
	b.watch(nc) // last: who moved has put handlers of their own behind the bus's
	b.fault.Store(nil)
	b.cuts.Add(1)
	b.log.Info("connected to NATS again", "server", nc.ConnectedServerName())
	b.disturb()
	return nil
}

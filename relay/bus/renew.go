package bus

import "time"

// renewEvery is the least time between two new connections that Renew asks for.
const renewEvery = time.Minute

// Renew makes the connection to NATS anew, at most once a minute, and with it all
// subscriptions. It is for a node that hears others and does not get what is sent
// to it: a cluster whose servers restart may know a subscription on some of them
// only. Disturbed follows, as after any reconnect. Renew does not wait.
func (b *Bus) Renew() {
	select {
	case b.renewal <- struct{}{}:
	default:
	}
}

// renew works the requests off.
func (b *Bus) renew() {
	var last time.Time
	for {
		select {
		case <-b.stop:
			return
		case <-b.renewal:
		}
		if time.Since(last) < renewEvery || b.available() != nil {
			continue
		}
		last = time.Now()
		b.log.Warn("messages of other nodes do not arrive, connecting to NATS anew")
		// It only fails on a connection that was closed for good.
		_ = b.nc.Load().ForceReconnect()
	}
}

// Package natsconn makes connections to NATS that do not end before their owner
// says so. nats.go reconnects after most faults, but ends a connection for good when
// a server refuses its user twice, and at any error of a server that it does not
// know. A node must outlive both: its operator mends NATS, not the nodes.
package natsconn

import (
	"cmp"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// Endless are the options without which nats.go gives a connection up. Nothing is
// kept for later while there is no connection: what lands late does harm.
func Endless() []nats.Option {
	return []nats.Option{
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectBufSize(-1),
	}
}

// ErrEnded is wrapped with the reason why nats.go ended a connection for good.
var ErrEnded = errors.New("connection to NATS was ended for good and is opened anew")

// RemindEvery is how often somebody who has no connection says so.
const RemindEvery = 30 * time.Second

// Config says how to reach a cluster.
type Config struct {
	// URL is what Servers reads; empty with an in-process server.
	URL string
	// Options of the connection. What is said in Endless comes after them.
	Options []nats.Option
	// Connected is called after each connect, from a goroutine of the connection.
	// Nil disables it.
	Connected func()
	// Failed is called with errors that belong to no request. Nil disables it.
	Failed func(error)
	// What tells in logs which connection it is, such as "registry".
	What string
	// Log takes what an operator should know. Nil discards it.
	Log *slog.Logger
}

// Conn is a connection to a cluster until Close. Its methods may be called
// concurrently.
type Conn struct {
	config Config
	log    *slog.Logger

	current atomic.Pointer[incarnation]
	fault   atomic.Pointer[error] // why the connection ended, until there is one again

	ended   chan struct{} // holds one notice
	stop    chan struct{}
	closing sync.Once
	running sync.WaitGroup
}

// incarnation is one nats.Conn.
type incarnation struct {
	nc     *nats.Conn
	dialer *Dialer
	before uint64 // connections that earlier incarnations have had
}

// Open begins to connect and does not wait for it. An error says that the options
// cannot be used.
func Open(config Config) (*Conn, error) {
	c := &Conn{
		config: config,
		log:    config.Log,
		ended:  make(chan struct{}, 1),
		stop:   make(chan struct{}),
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	first, err := c.connect(0)
	if err != nil {
		return nil, err
	}
	c.current.Store(first)
	c.running.Go(c.watch)
	return c, nil
}

func (c *Conn) connect(before uint64) (*incarnation, error) {
	i := &incarnation{dialer: &Dialer{}, before: before}
	connected := func(*nats.Conn) {
		c.fault.Store(nil)
		if c.config.Connected != nil {
			c.config.Connected()
		}
	}
	options := append(append([]nats.Option{}, c.config.Options...), Endless()...)
	options = append(options,
		nats.RetryOnFailedConnect(true),
		nats.SetCustomDialer(i.dialer),
		nats.Timeout(DialTimeout),
		nats.ConnectHandler(connected),
		nats.ReconnectHandler(connected),
		nats.ClosedHandler(func(*nats.Conn) {
			select {
			case c.ended <- struct{}{}:
			default:
			}
		}),
		// The default writes to standard error.
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if c.config.Failed != nil {
				c.config.Failed(err)
			}
		}),
	)
	var err error
	if c.config.URL == "" {
		i.nc, err = nats.Connect("", options...)
	} else {
		i.nc, err = Connect(c.config.URL, options...)
	}
	if err != nil {
		i.dialer.Close()
		return nil, err
	}
	return i, nil
}

// NATS returns the connection as it is now. It may have ended; the next call then
// returns another one, which has none of its subscriptions.
func (c *Conn) NATS() *nats.Conn { return c.current.Load().nc }

// Incarnation counts the connections that there have been. What was sent in one
// incarnation reaches the server in its order.
func (c *Conn) Incarnation() uint64 {
	i := c.current.Load()
	return i.before + i.nc.Stats().Reconnects
}

// Ended returns an error that wraps ErrEnded from the unexpected end of the
// connection until there is one again. That nats.go connects again is no end.
func (c *Conn) Ended() error {
	if err := c.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// Close ends the connection.
func (c *Conn) Close() {
	c.closing.Do(func() { close(c.stop) })
	c.running.Wait()
	i := c.current.Load()
	i.nc.Close()
	i.dialer.Close()
}

// watch reminds of a connection that there is not, and opens one that ended anew.
func (c *Conn) watch() {
	reminder := time.NewTicker(RemindEvery)
	defer reminder.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-reminder.C:
			if nc := c.NATS(); !nc.IsConnected() {
				c.log.Warn("no connection to NATS, trying on", "connection", c.config.What, "error", Reason(nc))
			}
		case <-c.ended:
			if i := c.current.Load(); i.nc.IsClosed() {
				c.reopen(i)
			}
		}
	}
}

// Reason is the last error of a connection that is not usable.
func Reason(nc *nats.Conn) error { return cmp.Or(nc.LastError(), nats.ErrNoServers) }

// reopen replaces an incarnation that ended. It tries until it has another one or
// the connection is closed.
func (c *Conn) reopen(old *incarnation) {
	err := &endedError{Reason(old.nc)}
	fault := error(err)
	c.fault.Store(&fault)
	c.log.Error("a connection to NATS was ended for good, opening it anew", "connection", c.config.What, "error", err.reason)
	old.dialer.Close()
	before := old.before + old.nc.Stats().Reconnects + 1
	for {
		select {
		case <-c.stop:
			return
		case <-time.After(ReopenWait()):
		}
		next, err := c.connect(before)
		if err == nil {
			c.current.Store(next)
			return
		}
		c.log.Error("a connection to NATS cannot be opened anew yet", "connection", c.config.What, "error", err)
	}
}

// ReopenWait is how long to wait before a connection that ended is opened anew: a
// server may end the next one just so, and nodes must not come in step.
func ReopenWait() time.Duration { return 500*time.Millisecond + rand.N(500*time.Millisecond) }

type endedError struct{ reason error }

func (e *endedError) Error() string   { return ErrEnded.Error() + ": " + e.reason.Error() }
func (e *endedError) Unwrap() []error { return []error{ErrEnded, e.reason} }

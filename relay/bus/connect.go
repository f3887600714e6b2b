package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/internal/pause"
	"github.com/wsnode/wsnode/natsconn"
)

// ConnectConfig says how to reach a region's NATS. Exactly one of URL and
// InProcess is set.
type ConnectConfig struct {
	// URL is one or more server URLs, separated by commas, or the file that holds
	// them: see natsconn.Servers.
	URL string
	// InProcess is an embedded server, such as a natsd.Server.
	InProcess nats.InProcessConnProvider
	// Name tells operators whose connection it is.
	Name string
	// Credentials is the path of a NATS credentials file. Empty: none.
	Credentials string
	// TLS is for servers that demand it. Nil: what the URL's scheme says.
	TLS *tls.Config
	// Log takes failed attempts. Nil: slog.Default.
	Log *slog.Logger
	// Options come last and win.
	Options []nats.Option
}

// How a node's connection behaves.
const (
	// A silent connection is given up after the third unanswered ping, so at
	// most 6 s: sooner than clients, who wait 30 s, and cursors, which live 15 s
	// without their node.
	pingInterval = 2 * time.Second
	maxPingsOut  = 2
	// Reconnects go through the servers of the cluster at once, then wait. The
	// jitter keeps the pods of a region from coming back in step.
	reconnectWait   = 250 * time.Millisecond
	reconnectJitter = 500 * time.Millisecond
)

// Connect connects to NATS for a Bus and whatever else a node does in its
// region. It tries until it succeeds or ctx ends, so that pods may start before
// their NATS. The connection
//   - does not bring back its own messages (nats.NoEcho),
//   - reconnects for ever; a Bus on it opens another one if nats.go ends it,
//   - keeps nothing that is published while it is down: publishing fails at once
//     instead. After a reconnect the rooms have to compare their state with the
//     other pods anyway, and what JetStream has not acknowledged is published
//     again by its owner; a buffer would only send old news late, and a purge or
//     a registry write that lands late does harm.
func Connect(ctx context.Context, config ConnectConfig) (*nats.Conn, error) {
	if (config.URL == "") == (config.InProcess == nil) {
		return nil, errors.New("connect to NATS: expected either a URL or an in-process server")
	}
	log := config.Log
	if log == nil {
		log = slog.Default()
	}
	options := append(natsconn.Endless(),
		nats.Name(config.Name),
		nats.NoEcho(),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPingsOut),
		nats.Timeout(natsconn.DialTimeout),
		// nats.go's own handler prints to stderr; the bus logs.
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	)
	if config.Credentials != "" {
		options = append(options, nats.UserCredentials(config.Credentials))
	}
	if config.TLS != nil {
		options = append(options, nats.Secure(config.TLS))
	}
	l := &link{server: config.InProcess}
	options = append(options, l.option())
	options = append(options, config.Options...)
	l.open = func() (*nats.Conn, error) {
		if config.InProcess != nil {
			return nats.Connect("", options...)
		}
		nc, err := natsconn.Connect(config.URL, options...)
		if err != nil {
			return nil, fmt.Errorf("connect to NATS%s: %w", natsconn.At(config.URL), err)
		}
		return nc, nil
	}
	for said := (time.Time{}); ; {
		nc, err := l.open()
		if err == nil {
			return nc, nil
		}
		if time.Since(said) >= natsconn.RemindEvery {
			said = time.Now()
			log.Warn("NATS is not reachable yet, trying on", "error", err)
		}
		if !pause.For(ctx, reconnectWait) {
			return nil, err
		}
	}
}

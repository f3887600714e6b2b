package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/admin"
)

// logger writes structured logs to standard error.
func logger(w interface{ Write([]byte) (int, error) }, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, wrongFlag("log-level", "%q: expected debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(admin.NewRepeats(slog.NewTextHandler(w, opts), relay.SessionEnded)), nil
	case "json":
		return slog.New(admin.NewRepeats(slog.NewJSONHandler(w, opts), relay.SessionEnded)), nil
	}
	return nil, wrongFlag("log-format", "%q: expected text or json", format)
}

// checkGrace checks the grace period, which the registry's expiry keeps.
func checkGrace(d time.Duration) error {
	if d < time.Second || d%time.Second != 0 {
		return wrongFlag("grace", "%s: expected whole seconds, at least 1s", d)
	}
	return nil
}

// listen takes connections at an address. They need no keepalive of TCP, which would take
// four system calls for each: WebSockets have pings, and requests are bounded in time.
func listen(flag, address string) (net.Listener, error) {
	c := net.ListenConfig{KeepAlive: -1}
	l, err := c.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	return l, nil
}

package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// denials remembers what NATS denied last. It tells the connection and leaves the
// request without an answer.
type denials struct {
	mu   sync.Mutex
	last string // such as: Publish to "wsn.c.change.drain.eu-1"
}

// note takes an error of a connection.
func (d *denials) note(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, d.last, _ = strings.Cut(err.Error(), "Permissions Violation for ")
}

// explain adds to an error that somebody does not answer that nobody was asked.
func (d *denials) explain(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == "" || exitCode(err) != exitUnavailable {
		return err
	}
	user := "READER"
	if strings.Contains(d.last, `"wsn.c.change.`) || strings.Contains(d.last, `"$KV.`) {
		user = "OPERATOR"
	}
	return fmt.Errorf("%w\nNATS denied it (%s): that takes the rights of %s in deploy/nats/permissions.conf", err, d.last, user)
}

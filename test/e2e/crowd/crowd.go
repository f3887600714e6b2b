// Package crowd is clients that type while a test does something to the servers.
package crowd

import (
	"context"
	"testing"
	"time"

	"github.com/wsnode/wsnode/clients/load"
)

// patience bounds what must happen on a busy machine.
const patience = 2 * time.Minute

// Crowd is good clients that type. Its methods fail the test that started it.
type Crowd struct {
	t    *testing.T
	name string
	over chan struct{}
	done chan struct{} // closed when result and err are set

	result load.Result
	err    error
}

// Start lets clients type, and returns when all are connected.
func Start(t *testing.T, name string, target load.Target, o load.EndureOptions) *Crowd {
	t.Helper()
	c := &Crowd{t: t, name: name, over: make(chan struct{}), done: make(chan struct{})}
	ready := make(chan struct{})
	o.Until, o.Settle, o.Ready = c.over, patience, func() { close(ready) }
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		<-c.done
	})
	go func() {
		defer close(c.done)
		r := &load.Runner{Target: target}
		if c.err = r.Open(); c.err != nil {
			return
		}
		defer r.Close()
		c.result, c.err = r.Endure(ctx, name, o)
	}()
	select {
	case <-ready:
	case <-c.done:
		t.Fatalf("%s: %v", name, c.err)
	}
	return c
}

// Finish ends the typing, and fails the test unless everybody has every edit and
// nothing else.
func (c *Crowd) Finish() load.Result {
	c.t.Helper()
	close(c.over)
	<-c.done
	if c.err != nil {
		c.t.Fatalf("%s: %v", c.name, c.err)
	}
	for _, v := range c.result.Values {
		c.t.Logf("%s: %s %.4g %s", c.name, v.Name, v.Value, v.Unit)
	}
	if c.result.Faults.Any() {
		c.t.Errorf("%s: %v", c.name, c.result.Faults)
	}
	return c.result
}

// Value is a figure of a crowd's result in milliseconds, as a duration; 0 if nothing
// was measured.
func Value(r load.Result, name string) time.Duration {
	v, _ := r.Value(name)
	return time.Duration(v * float64(time.Millisecond))
}

// Wait lets the clients type for a while.
func (c *Crowd) Wait(d time.Duration) {
	c.t.Helper()
	select {
	case <-time.After(d):
	case <-c.done:
		c.t.Fatalf("%s ended early: %v", c.name, c.err)
	}
}

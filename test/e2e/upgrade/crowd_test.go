package upgrade

import (
	"context"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/load"
)

// patience bounds what must happen on a busy machine.
const patience = 2 * time.Minute

// crowd is clients that type while the nodes are replaced.
type crowd struct {
	over, done chan struct{}
	result     load.Result
	err        error
}

// startCrowd lets clients type, and returns when all are connected.
func startCrowd(t *testing.T, target load.Target, o load.EndureOptions) *crowd {
	t.Helper()
	c := &crowd{over: make(chan struct{}), done: make(chan struct{})}
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
		if c.err = r.Open(); c.err == nil {
			defer r.Close()
			c.result, c.err = r.Endure(ctx, "typing clients", o)
		}
	}()
	select {
	case <-ready:
	case <-c.done:
		t.Fatalf("typing clients: %v", c.err)
	}
	return c
}

// finish ends the typing, and fails the test unless everybody has every edit and nothing
// else.
func (c *crowd) finish(t *testing.T) {
	t.Helper()
	close(c.over)
	<-c.done
	switch {
	case c.err != nil:
		t.Fatalf("typing clients: %v", c.err)
	case c.result.Faults.Any():
		t.Errorf("typing clients: %v", c.result.Faults)
	}
}

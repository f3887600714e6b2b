package load

import (
	"context"
	"fmt"
	"time"
)

// IdleOptions say how many connections do nothing.
type IdleOptions struct {
	Connections int
	PerDoc      int           // connections to each document
	Settle      time.Duration // between the last connect and reading the memory
}

// Idle opens connections that only sync, and asks what each cost: CPU time to connect,
// and memory while it is open. The server should be fresh, else memory that it kept from
// before hides some of it.
func (r *Runner) Idle(ctx context.Context, name string, o IdleOptions) (Result, error) {
	result := Result{Scenario: name, Target: r.Target.Name}
	if len(r.Target.PIDs) == 0 {
		return result, fmt.Errorf("%s: the server's process ids are needed", name)
	}
	fail := func(err error) (Result, error) { return result, fmt.Errorf("%s: %w", name, err) }
	// A few connections first: what the server builds once is not theirs.
	first := r.newCrowd(name, 20, 1)
	if err := first.connect(ctx, 4); err != nil {
		return fail(err)
	}
	first.hangUp()
	c := r.newCrowd(name, o.Connections/o.PerDoc, o.PerDoc)
	defer c.hangUp()
	if err := r.tokens.prepare(ctx, len(c.clients)+len(c.docs)); err != nil { // as connect does, whose time is measured
		return fail(err)
	}
	r.pause(ctx, 2*time.Second)
	before, err := resident(r.Target.PIDs)
	if err != nil {
		return fail(err)
	}
	m, err := r.startMeter()
	if err != nil {
		return fail(err)
	}
	began := r.loop.now()
	if err := c.connect(ctx, 32); err != nil {
		return fail(err)
	}
	took := time.Duration(r.loop.now() - began)
	r.pause(ctx, 100*time.Millisecond)
	connecting, err := m.used()
	if err != nil {
		return fail(err)
	}
	n := float64(len(c.clients))
	r.progress("%s: %s connected in %.1f s", name, format(n), took.Seconds())
	if m, err = r.startMeter(); err != nil {
		return fail(err)
	}
	r.pause(ctx, o.Settle)
	idling, err := m.used()
	if err != nil {
		return fail(err)
	}
	after, err := resident(r.Target.PIDs)
	if err != nil {
		return fail(err)
	}
	result.add("connections", "", n)
	result.add("RSS per connection", "KiB", float64(after-before)/1024/n)
	result.add("CPU per connect", "ms", connecting.Seconds()*1000/n)
	result.add("connects", "/s", n/took.Seconds())
	result.add("CPU while idle", "%", 100*idling.Seconds()/o.Settle.Seconds())
	result.Faults = c.board.faults(0)
	result.Faults.Disconnected = c.countDropped()
	return result, ctx.Err()
}

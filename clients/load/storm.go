package load

import (
	"context"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// StormOptions say how many clients come back at once.
type StormOptions struct {
	Docs, Clients int // of each document
	Typed         int // characters that each client has typed before
	Rounds        int
	SameTokens    bool // clients come back with the tokens they have, as y-websocket does, not with new ones
}

// Storm breaks all connections at once and lets every client come back at once, with what
// it knows and its awareness, until all are synced.
func (r *Runner) Storm(ctx context.Context, name string, o StormOptions) (Result, error) {
	result := Result{Scenario: name, Target: r.Target.Name}
	c := r.newCrowd(name, o.Docs, o.Clients)
	defer c.hangUp()
	fail := func(err error) (Result, error) { return result, fmt.Errorf("%s: %w", name, err) }
	for _, doc := range c.docs {
		for i := range doc.writers {
			doc.prefill(i, o.Typed)
		}
	}
	for _, one := range c.clients {
		one.state = one.doc.update()
		one.stateVector = one.doc.stateVector()
		one.awareness = one.doc.appendState(nil, one.index, 0)
	}
	if err := c.connect(ctx, 32); err != nil {
		return fail(err)
	}
	r.pause(ctx, 2*time.Second)
	all, each := newHistogram(), newHistogram()
	var cpu time.Duration
	for round := range o.Rounds {
		if !o.SameTokens {
			for _, one := range c.clients {
				one.token = ""
			}
			if err := r.tokens.prepare(ctx, len(c.clients)); err != nil {
				return fail(err)
			}
		}
		m, err := r.startMeter()
		if err != nil {
			return fail(err)
		}
		took, err := c.comeBack(ctx, each)
		if err != nil {
			return fail(err)
		}
		all.RecordValue(took / 1000)
		r.progress("%s: round %d, all synced after %.2f s", name, round+1, float64(took)/1e9)
		r.pause(ctx, 2*time.Second)
		used, err := m.used()
		if err != nil {
			return fail(err)
		}
		cpu += used
	}
	result.add("all synced", "ms", float64(all.ValueAtQuantile(50))/1000)
	result.add("half synced", "ms", float64(each.ValueAtQuantile(50))/1000)
	if len(r.Target.PIDs) > 0 {
		result.add("CPU per client", "ms", cpu.Seconds()*1000/float64(o.Rounds*len(c.clients)))
	}
	result.Faults = c.board.faults(0)
	return result, c.verify(ctx, &result.Faults)
}

// comeBack drops every connection and dials it again; it returns the nanoseconds until the last
// client was synced.
func (c *crowd) comeBack(ctx context.Context, each *hdrhistogram.Histogram) (int64, error) {
	began := c.runner.loop.now()
	c.hangUp()
	c.board.synced = 0
	for i, one := range c.clients {
		one.dial()
		if i%50 == 49 {
			c.runner.loop.poll(0) // one goroutine does it all: let those under way go on
		}
	}
	err := c.runner.wait(ctx, time.Minute, "reconnect", func() bool { return c.board.synced >= len(c.clients) || c.countDropped() > 0 })
	if err == nil {
		err = c.dropped()
	}
	var last int64
	for _, one := range c.clients {
		each.RecordValue(max(one.synced-began, 1000) / 1000)
		last = max(last, one.synced)
	}
	return last - began, err
}

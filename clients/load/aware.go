package load

import (
	"context"
	"fmt"
	"time"
)

// AwarenessOptions say how many cursors move how fast.
type AwarenessOptions struct {
	Docs, Clients    int
	Rate             int // states sent per second over all documents
	Warmup, Duration time.Duration
}

// Awareness moves cursors at a steady rate. A state that overtakes another delivers both.
func (r *Runner) Awareness(ctx context.Context, name string, o AwarenessOptions) (Result, error) {
	result := Result{Scenario: name, Target: r.Target.Name}
	fail := func(err error) (Result, error) { return result, fmt.Errorf("%s: %w", name, err) }
	c := r.newCrowd(name, o.Docs, o.Clients)
	defer c.hangUp()
	if err := c.connect(ctx, 50); err != nil {
		return fail(err)
	}
	for _, one := range c.clients {
		one.changeState()
	}
	r.pause(ctx, time.Second)
	b := c.board
	start := r.loop.now()
	measureAt, endAt := start+int64(o.Warmup), start+int64(o.Warmup+o.Duration)
	var m meter
	for i := 0; ; {
		now := r.loop.now()
		if now >= endAt || ctx.Err() != nil {
			break
		}
		if b.from == 0 && now >= measureAt {
			var err error
			if m, err = r.startMeter(); err != nil {
				return fail(err)
			}
			b.from = now
			r.progress("%s: measuring for %v", name, o.Duration)
		}
		due := start + int64(i)*int64(time.Second)/int64(o.Rate)
		if now >= due {
			c.clients[i%o.Docs*o.Clients+r.random.IntN(o.Clients)].changeState()
			i++
			continue
		}
		r.loop.poll(min(due, endAt))
	}
	b.until = r.loop.now()
	cpu, err := m.used()
	if err != nil {
		return fail(err)
	}
	unseen := func() (n int64) {
		for _, one := range c.clients {
			n += one.unseen()
		}
		return n
	}
	_ = r.wait(ctx, 5*time.Second, "drain", func() bool { return unseen() == 0 })
	result.add("deliveries", "/s", float64(b.measured)/(float64(b.until-b.from)/1e9))
	if len(r.Target.PIDs) > 0 {
		result.add("CPU per 1,000 deliveries", "ms", cpu.Seconds()*1e6/float64(max(b.measured, 1)))
	}
	result.Values = append(result.Values, latency("latency", b.same)...)
	result.Values = append(result.Values, latency("latency across nodes", b.across)...)
	result.Faults = b.faults(unseen())
	result.Faults.Disconnected = c.countDropped()
	return result, ctx.Err()
}

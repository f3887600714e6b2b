package load

import (
	"context"
	"fmt"
	"time"
)

// FanoutOptions say how many people type how fast.
type FanoutOptions struct {
	Docs     int           // documents
	Clients  int           // of each document
	Rate     int           // deliveries per second over all documents: edits times the receivers of each
	Warmup   time.Duration // typing before the clock runs; servers compile and grow in it
	Duration time.Duration // measured
}

// Fanout types at a steady rate and looks for every edit at every receiver.
func (r *Runner) Fanout(ctx context.Context, name string, o FanoutOptions) (Result, error) {
	result := Result{Scenario: name, Target: r.Target.Name}
	run, err := r.fanout(ctx, name, o, time.Hour)
	if err != nil {
		return result, fmt.Errorf("%s: %w", name, err)
	}
	perThousand := func(cpu time.Duration) float64 {
		return cpu.Seconds() * 1e6 / float64(max(run.board.measured, 1))
	}
	result.add("deliveries", "/s", run.rate)
	if len(r.Target.PIDs) > 0 {
		result.add("CPU per 1,000 deliveries", "ms", perThousand(run.cpu))
		result.add("CPU", "%", 100*run.cpu.Seconds()/o.Duration.Seconds())
		result.add("RSS", "MiB", float64(run.rss)/(1<<20))
	}
	result.Values = append(result.Values, latency("latency", run.board.same)...)
	result.Values = append(result.Values, latency("latency across nodes", run.board.across)...)
	result.add("deliveries per frame", "", run.perFrame)
	result.add("generator late", "ms", float64(run.late)/1e6)
	result.Faults = run.faults
	return result, nil
}

// A typing is what one round of typing came to.
type typing struct {
	board    *scoreboard
	rate     float64 // deliveries per second reached
	cpu      time.Duration
	rss      int64
	perFrame float64
	late     int64 // the most nanoseconds that the generator was behind its plan
	faults   Faults
	gaveUp   bool // the backlog outgrew what was asked
}

// fanout connects, types, waits for the rest and verifies. It stops typing early when more than
// patience's worth of deliveries is outstanding.
func (r *Runner) fanout(ctx context.Context, name string, o FanoutOptions, patience time.Duration) (*typing, error) {
	c := r.newCrowd(name, o.Docs, o.Clients)
	defer c.hangUp()
	if err := c.connect(ctx, 50); err != nil {
		return nil, err
	}
	t := &typing{board: c.board}
	if err := t.round(ctx, c, o, patience); err != nil {
		return nil, err
	}
	if err := c.dropped(); err != nil {
		t.faults = c.board.faults(c.missing())
		t.faults.Disconnected = c.countDropped()
		t.faults.Notes = append(t.faults.Notes, err.Error())
		return t, nil
	}
	t.faults = c.board.faults(c.missing())
	if t.gaveUp {
		return t, nil
	}
	return t, c.verify(ctx, &t.faults)
}

// measured notes what the round came to, which ends now. frames are those before m began.
func (t *typing) measured(r *Runner, b *scoreboard, m *meter, frames int64) error {
	now := r.loop.now()
	b.until = now
	err := error(nil)
	if b.from > 0 && now > b.from {
		t.rate = float64(b.measured) / (float64(now-b.from) / 1e9)
		t.perFrame = float64(b.measured) / float64(max(b.frames-frames, 1))
		if t.cpu, err = m.used(); err != nil {
			return err
		}
	}
	if len(r.Target.PIDs) > 0 {
		if t.rss, err = resident(r.Target.PIDs); err != nil {
			return err
		}
	}
	return nil
}

// round types at the rate and waits for what is under way.
func (t *typing) round(ctx context.Context, c *crowd, o FanoutOptions, patience time.Duration) error {
	r, b := c.runner, c.board
	interval := float64(time.Second) * float64(o.Clients-1) / float64(o.Rate)
	start := r.loop.now()
	measureAt, endAt := start+int64(o.Warmup), start+int64(o.Warmup+o.Duration)
	report := start + int64(time.Second)
	var reported int64
	var m meter
	var frames int64
	err := error(nil)
	for i := 0; ; {
		now := r.loop.now()
		if now >= endAt || ctx.Err() != nil {
			break
		}
		if b.from == 0 && now >= measureAt {
			if m, err = r.startMeter(); err != nil {
				return err
			}
			b.from, frames = now, b.frames
		}
		due := start + int64(float64(i)*interval)
		if late := now - due; late >= 0 {
			if b.from > 0 {
				t.late = max(t.late, late)
			}
			// Documents take turns; who types in them is drawn.
			c.clients[i%o.Docs*o.Clients+r.random.IntN(o.Clients)].edit()
			// What is behind plan is sent in between reads, so that neither starves the other.
			if i++; i%8 != 0 {
				continue
			}
			due = now
		}
		r.loop.poll(min(due, endAt))
		if now >= report {
			outstanding := b.sent*int64(o.Clients-1) - b.delivered
			r.progress("%s %2.0f s: %s deliveries/s, %s outstanding, p50 %.2f ms, p99 %.2f ms", c.docs[0].name, float64(now-start)/1e9,
				format(float64(b.delivered-reported)), format(float64(max(outstanding, 0))),
				float64(b.same.ValueAtQuantile(50))/1000, float64(b.same.ValueAtQuantile(99))/1000)
			reported, report = b.delivered, report+int64(time.Second)
			if float64(outstanding) > float64(o.Rate)*patience.Seconds() {
				t.gaveUp = true
				break
			}
			if c.countDropped() > 0 {
				break
			}
		}
	}
	if err := t.measured(r, b, &m, frames); err != nil {
		return err
	}
	// Deliveries under way are not lost; those that take this long are.
	limit := r.drainLimit
	if limit == 0 {
		limit = 10 * time.Second
	}
	_ = r.wait(ctx, limit, "drain", func() bool { return c.missing() <= 0 || c.countDropped() > 0 })
	return ctx.Err()
}

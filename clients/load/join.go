package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// JoinOptions say what is joined and how often.
type JoinOptions struct {
	Edits   int           // single-character edits of the preloaded document
	Deletes float64       // the share of them that deletes
	Writers int           // Yjs clients that made them
	Joins   int           // of each kind, one after the other
	Spaced  int           // as many again with a pause around each; 0: none
	Pause   time.Duration // of those
}

// Join preloads a document edit by edit and joins it: cold (no state, and an edit has
// just made the server's cached encoding invalid), cached (no state, no edit since the
// last join) and warm (with all of the document). The joins come one after the other;
// the spaced ones find a server that has gone to sleep in between.
func (r *Runner) Join(ctx context.Context, name string, o JoinOptions) ([]Result, error) {
	fail := func(err error) ([]Result, error) { return nil, fmt.Errorf("%s: %w", name, err) }
	j := joiner{Runner: r, preload: r.newPreload(o)}
	if err := r.tokens.prepare(ctx, 3*(o.Joins+o.Spaced+2*joinWarmup)+2); err != nil {
		return fail(err)
	}
	j.author = r.newClient(newScoreboard(), j.doc, -1, 0)
	defer j.author.hangUp()
	if err := j.upload(ctx, j.author); err != nil {
		return fail(err)
	}
	watcher := r.newClient(newScoreboard(), j.doc, -1, 0)
	defer watcher.hangUp()
	watcher.follow = func([]byte) { j.seen++ }
	watcher.dial()
	if err := r.synced(ctx, watcher); err != nil {
		return fail(err)
	}
	var results []Result
	for _, spaced := range []bool{false, true} {
		for _, kind := range []string{"cold", "cached", "warm"} {
			j.kind, j.gap, j.joins = kind, 0, o.Joins
			if spaced {
				j.kind, j.gap, j.joins = kind+", spaced", o.Pause, o.Spaced
			}
			if j.joins == 0 {
				continue
			}
			j.cold, j.warm = kind == "cold", kind == "warm"
			result, err := j.measure(ctx, name)
			if err != nil {
				return fail(err)
			}
			results = append(results, result)
		}
	}
	return results, nil
}

// joinWarmup is the number of joins before those that are measured: servers warm up, too.
const joinWarmup = 5

// A joiner joins one document over and over.
type joiner struct {
	*Runner
	*preload
	author *client
	seen   int // updates that came to a client which is there all the time

	kind       string
	cold, warm bool
	joins      int
	gap        time.Duration // after each edit and each join

	whole, answer *hdrhistogram.Histogram // latency in µs: since the dial, since the SyncStep1
	size          int                     // of the last answer, in bytes
	last          []byte                  // the last answer
}

// measure joins, and says what a join took. Of the server's CPU time it takes off what the
// edits use without joins between them, and what the server uses while nothing is asked of it.
func (j *joiner) measure(ctx context.Context, name string) (Result, error) {
	result := Result{Scenario: name + ", " + j.kind, Target: j.Target.Name}
	j.whole, j.answer = newHistogram(), newHistogram()
	join := func() error {
		if err := j.edit(ctx); err != nil {
			return err
		}
		return j.join(ctx)
	}
	if _, err := j.repeat(joinWarmup, 0, join); err != nil {
		return result, err
	}
	j.whole.Reset()
	j.answer.Reset()
	idle, err := j.idleCPU(ctx, 2*time.Second)
	if err != nil {
		return result, err
	}
	edits, err := j.repeat(j.joins, idle, func() error { return j.edit(ctx) })
	if err != nil {
		return result, err
	}
	all, err := j.repeat(j.joins, idle, join)
	if err != nil {
		return result, err
	}
	result.Values = append(result.Values, latency("from dial to synced", j.whole)...)
	result.Values = append(result.Values, latency("from SyncStep1 to synced", j.answer)...)
	if len(j.Target.PIDs) > 0 {
		result.add("CPU per join", "ms", (all-edits).Seconds()*1000/float64(j.joins))
	}
	result.add("SyncStep2", "bytes", float64(j.size))
	if !j.warm {
		if err := j.compare(j.last); err != nil {
			result.Faults.TextsDiffer++
			result.Faults.Notes = append(result.Faults.Notes, err.Error())
		}
	}
	return result, ctx.Err()
}

// repeat does a thing n times, and returns the CPU time that the server used for it: what
// it used beyond the share of a core that it uses anyway.
func (j *joiner) repeat(n int, idle float64, do func() error) (time.Duration, error) {
	m, err := j.startMeter()
	if err != nil {
		return 0, err
	}
	began := j.loop.now()
	for range n {
		if err := do(); err != nil {
			return 0, err
		}
	}
	used, err := m.used()
	return used - time.Duration(idle*float64(j.loop.now()-began)), err
}

// idleCPU is the share of a core that the server uses while nothing is asked of it.
func (j *joiner) idleCPU(ctx context.Context, d time.Duration) (float64, error) {
	if len(j.Target.PIDs) == 0 {
		return 0, nil
	}
	m, err := j.startMeter()
	if err != nil {
		return 0, err
	}
	began := j.loop.now()
	j.pause(ctx, d)
	used, err := m.used()
	return float64(used) / float64(j.loop.now()-began), err
}

// edit makes the server's encoding invalid before a cold join; it returns when somebody
// else has seen the edit.
func (j *joiner) edit(ctx context.Context) error {
	if !j.cold {
		return nil
	}
	before := j.seen
	j.append(j.author)
	err := j.wait(ctx, 30*time.Second, "edit", func() bool { return j.seen > before || j.author.err != nil })
	j.pause(ctx, j.gap)
	return errors.Join(err, j.author.err)
}

// join joins once.
func (j *joiner) join(ctx context.Context) error {
	c := j.newClient(newScoreboard(), j.doc, -1, 0)
	defer func() {
		c.hangUp()
		j.pause(ctx, j.gap)
	}()
	c.keep = func(update []byte) { j.last = append(j.last[:0], update...) }
	if j.warm {
		c.stateVector = j.stateVector()
	}
	var opened int64
	c.dial()
	ready := c.ws.opened
	c.ws.opened = func(now int64) { opened = now; ready(now) }
	if err := j.synced(ctx, c); err != nil {
		return err
	}
	j.size = c.answered
	j.whole.RecordValue(max(c.synced-c.dialed, 1000) / 1000)
	j.answer.RecordValue(max(c.synced-opened, 1000) / 1000)
	return nil
}

// synced waits until a client that dialled has what the server had.
func (r *Runner) synced(ctx context.Context, c *client) error {
	err := r.wait(ctx, 30*time.Second, "join", func() bool { return c.synced > 0 || c.err != nil })
	return errors.Join(err, c.err)
}

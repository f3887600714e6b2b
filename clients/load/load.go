// Package load is a load generator for servers that speak y-websocket or Hocuspocus.
//
// It is made to be cheaper than what it measures: one goroutine drives all
// connections over epoll, updates are built and read without a Yjs document, and
// WebSocket frames carry a zero mask. Its results are checked: every edit is a
// character with a known client id and clock, and is looked for at every receiver,
// whether it comes alone or merged with others; at the end the text is fetched anew
// from every node and compared with the one that the edits make.
//
// A Runner runs scenarios (fan-out, saturation, idle, join, storm, awareness)
// against one Target and returns a Result for each.
package load

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// A Runner runs scenarios against one target, one after the other. It is not for
// concurrent use: its loop is one goroutine, which is what keeps it cheap.
type Runner struct {
	// Target is the server under load.
	Target Target
	// Progress receives a line per second while a scenario runs; nil: none.
	Progress io.Writer
	// Seed makes document names, client ids and positions; 0: a random one.
	Seed uint64

	loop   *loop
	random *rand.Rand
	tokens tokens
	serial int // numbers the documents of this runner

	drainLimit time.Duration // how long deliveries under way may take after the typing; 0: ten seconds
}

// Open prepares the runner's event loop. Close gives it back.
func (r *Runner) Open() error {
	seed := r.Seed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	r.random = rand.New(rand.NewPCG(seed, 9))
	r.tokens = tokens{target: &r.Target}
	if err := r.Target.resolve(); err != nil {
		return err
	}
	var err error
	r.loop, err = newLoop()
	return err
}

// Close ends every connection of the runner.
func (r *Runner) Close() { r.loop.close() }

// newDocument names a document that nobody used before.
func (r *Runner) newDocument(kind string, writers int) *document {
	r.serial++
	name := fmt.Sprintf("bench-%s-%d-%08x", kind, r.serial, r.random.Uint32())
	// Yjs client ids are 32 bits; the low ones number the writers of a document.
	base := uint64(r.random.Uint32N(1<<30)+1<<29) &^ 0xffff
	return newDocument(name, base, writers)
}

// progress prints one line about the scenario under way.
func (r *Runner) progress(format string, args ...any) {
	if r.Progress != nil {
		fmt.Fprintf(r.Progress, "  "+format+"\n", args...)
	}
}

// wait runs the loop until done says so. It fails when limit passes or ctx ends.
func (r *Runner) wait(ctx context.Context, limit time.Duration, what string, done func() bool) error {
	end := r.loop.now() + int64(limit)
	for !done() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.loop.now() > end {
			return fmt.Errorf("%s: not done after %v", what, limit)
		}
		r.loop.poll(min(end, r.loop.now()+int64(20*time.Millisecond)))
	}
	return nil
}

// pause runs the loop for a while.
func (r *Runner) pause(ctx context.Context, d time.Duration) {
	end := r.loop.now() + int64(d)
	for r.loop.now() < end && ctx.Err() == nil {
		r.loop.poll(min(end, r.loop.now()+int64(50*time.Millisecond)))
	}
}

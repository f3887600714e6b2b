package load

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A crowd is the clients of a scenario, their documents and what they have seen.
type crowd struct {
	runner  *Runner
	board   *scoreboard
	docs    []*document
	clients []*client // clients of a document stand together, writer 0 first
}

// newCrowd makes clients for documents, each a writer of its document, spread over the nodes in turn.
func (r *Runner) newCrowd(kind string, docs, clients int) *crowd {
	c := &crowd{runner: r, board: newScoreboard()}
	for range docs {
		doc := r.newDocument(kind, clients)
		c.docs = append(c.docs, doc)
		for i := range clients {
			c.clients = append(c.clients, r.newClient(c.board, doc, i, i))
		}
	}
	return c
}

// connect brings all clients in, a few at a time, until each is synced.
func (c *crowd) connect(ctx context.Context, atOnce int) error {
	if err := c.runner.tokens.prepare(ctx, len(c.clients)+len(c.docs)); err != nil {
		return err
	}
	c.board.synced = 0
	next := 0
	what := fmt.Sprintf("connect %d clients", len(c.clients))
	err := c.runner.wait(ctx, time.Minute+time.Duration(len(c.clients))*10*time.Millisecond, what, func() bool {
		for next < len(c.clients) && next-c.board.synced < atOnce {
			c.clients[next].dial()
			next++
		}
		return c.board.synced >= len(c.clients) || c.dropped() != nil
	})
	if err == nil {
		err = c.dropped()
	}
	return err
}

// dropped is why the first client that the server dropped ended; nil if all live.
func (c *crowd) dropped() error {
	for i, one := range c.clients {
		if one.err != nil {
			return fmt.Errorf("client %d of %s: %w", i%len(c.docs[0].writers), one.doc.name, one.err)
		}
	}
	return nil
}

func (c *crowd) countDropped() (n int) {
	for _, one := range c.clients {
		if one.err != nil {
			n++
		}
	}
	return n
}

func (c *crowd) hangUp() {
	for _, one := range c.clients {
		one.hangUp()
	}
}

func (c *crowd) missing() (n int64) {
	for _, one := range c.clients {
		n += one.missing()
	}
	return n
}

// verify fetches every document anew from every node and compares its text with what
// was typed. What a node has been told of only just now may come a little later.
func (c *crowd) verify(ctx context.Context, f *Faults) error {
	for _, doc := range c.docs {
		want, err := doc.text()
		if err != nil {
			return err
		}
		for node := range c.runner.Target.nodes {
			got, err := c.runner.fetch(ctx, doc, node, want)
			if err != nil {
				return fmt.Errorf("fetch %s: %w", doc.name, err)
			}
			if got != want {
				f.TextsDiffer++
				f.Notes = append(f.Notes, fmt.Sprintf("%s on node %d: %d characters, %d typed", doc.name, node, len(got), len(want)))
			}
		}
	}
	return nil
}

// fetchLimit is how long a client that joins may take until it has the whole text.
const fetchLimit = 5 * time.Second

// fetch is the text of a document as a client that joins a node now gets it, as soon as
// it is the wanted one.
func (r *Runner) fetch(ctx context.Context, doc *document, node int, want string) (string, error) {
	if err := r.tokens.prepare(ctx, 1); err != nil {
		return "", err
	}
	var t Text
	var failed error
	c := r.newClient(newScoreboard(), doc, -1, node)
	c.follow = func(update []byte) { failed = errors.Join(failed, t.Apply(update)) }
	c.dial()
	defer c.hangUp()
	err := r.wait(ctx, 30*time.Second, "join", func() bool { return c.synced > 0 || c.err != nil })
	limit := fetchLimit
	if r.drainLimit > 0 {
		limit = min(limit, r.drainLimit)
	}
	if err == nil { // if it never is, it differs, which is what there is to tell
		_ = r.wait(ctx, limit, "whole", func() bool { return c.err != nil || t.String() == want })
	}
	for _, e := range []error{err, c.err, failed} {
		if e != nil {
			return "", e
		}
	}
	return t.String(), t.Check()
}

// A meter reads the CPU time of a target at two moments.
type meter struct {
	pids  []int
	began int64
}

func (r *Runner) startMeter() (m meter, err error) {
	m.pids = r.Target.PIDs
	m.began, err = cpuTimeOrZero(m.pids)
	return m, err
}

// used is the CPU time since the meter was started.
func (m meter) used() (time.Duration, error) {
	now, err := cpuTimeOrZero(m.pids)
	return time.Duration(now - m.began), err
}

func cpuTimeOrZero(pids []int) (int64, error) {
	if len(pids) == 0 {
		return 0, nil
	}
	return cpuTime(pids)
}

package kvpin

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/kvpin/kv"
)

// requests are a node's requests to one registry. Everything that decides goes through
// them, because only all of them together tell whether the registry answers, how much
// at once it can answer, which writes can no longer land, and whether its revisions
// have gone back.
type requests struct {
	cfg     *Config // static
	store   kv.Store
	silence func() // called when the registry falls silent; must not block

	fence   fence
	answers answers
	pace    *pace
	highest atomic.Uint64 // revision seen, see sawHighest

	reads, writes atomic.Uint64
}

// get reads a key from the leader, unless the registry is silent.
func (r *requests) get(ctx context.Context, key string) (kv.Entry, error) {
	if err := r.answers.silent(); err != nil {
		return kv.Entry{}, fmt.Errorf("read %s: %w", key, err)
	}
	return r.read(ctx, key)
}

// put writes a key, unless the registry is silent.
func (r *requests) put(ctx context.Context, key string, value []byte, expect uint64, ttl time.Duration) (uint64, error) {
	if err := r.answers.silent(); err != nil {
		return 0, fmt.Errorf("write %s: %w", key, err)
	}
	return r.write(ctx, key, value, expect, ttl)
}

// read reads a key from the leader within the configured timeout.
func (r *requests) read(ctx context.Context, key string) (kv.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	start := time.Now()
	e, err := r.store.Get(ctx, key)
	r.reads.Add(1)
	r.answered("read", start, err)
	if err != nil {
		return e, fmt.Errorf("read %s: %w", key, err)
	}
	return e, nil
}

// leastWrite is the least time that a write must have for its answer.
const leastWrite = 50 * time.Millisecond

// write writes a key. A context that is canceled meanwhile does not interrupt it,
// since that would only leave an unknown outcome; its deadline holds.
func (r *requests) write(ctx context.Context, key string, value []byte, expect uint64, ttl time.Duration) (uint64, error) {
	timeout := r.cfg.Timeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	if ctx.Err() != nil || timeout < leastWrite {
		return 0, fmt.Errorf("write %s: %w: no time left", key, ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	start, passage := time.Now(), r.fence.enter(r.store.Incarnation())
	revision, err := r.store.Put(ctx, key, value, expect, ttl)
	r.writes.Add(1)
	r.answered("write", start, err)
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", key, err)
	}
	r.fence.passed(passage, r.store.Incarnation())
	r.sawHighest(revision)
	return revision, nil
}

// answered keeps the books about a request. The first that gets no answer has the
// lease keeper ask again at once, whose success ends the silence.
func (r *requests) answered(op string, start time.Time, err error) {
	r.observe(op, start, err)
	if errors.Is(err, context.DeadlineExceeded) && time.Since(start) < r.cfg.Timeout*3/4 {
		return // its caller had little time
	}
	r.pace.answered(start, err)
	if r.answers.heard(start, err) {
		r.silence()
	}
}

// sawHighest keeps the highest revision that this node's writes were given.
// Revisions of a bucket only grow, so one that is lower than an earlier one comes
// from a bucket that was deleted, or restored from a copy.
func (r *requests) sawHighest(revision uint64) {
	for {
		highest := r.highest.Load()
		if revision <= highest || r.highest.CompareAndSwap(highest, revision) {
			return
		}
	}
}

func (r *requests) observe(op string, start time.Time, err error) {
	r.cfg.Observe(op, time.Since(start), err)
}

// remove deletes a key. Like write, it is not interrupted by a context that is canceled.
// That it gets no answer says nothing about the registry: permissions of earlier versions
// may forbid it, which looks the same.
func (r *requests) remove(ctx context.Context, key string, expect uint64) error {
	return r.aside(ctx, "delete "+key, func(ctx context.Context) error { return r.store.Delete(ctx, key, expect) })
}

// leave writes a key as remove deletes one.
func (r *requests) leave(ctx context.Context, key string, value []byte, expect uint64, ttl time.Duration) error {
	return r.aside(ctx, "write "+key, func(ctx context.Context) error {
		_, err := r.store.Put(ctx, key, value, expect, ttl)
		return err
	})
}

func (r *requests) aside(ctx context.Context, what string, write func(context.Context) error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w: no time left", what, ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Timeout)
	defer cancel()
	start := time.Now()
	err := write(ctx)
	r.writes.Add(1)
	r.observe("write", start, err)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

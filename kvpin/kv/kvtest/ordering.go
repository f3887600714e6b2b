package kvtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wsnode/wsnode/kvpin/kv"
)

var ordering = []Case{
	{"a read after an acknowledged write shows it", readsShowWrites},
	{"a request without an answer says so", silenceIsTold},
	{"a write without an answer lands before a later one is acknowledged, or never", laterWritesSettle},
	{"a write that lands late lands at its revision only", lateWritesExpect},
}

func readsShowWrites(ctx context.Context, h *Harness) error {
	const key = "reads.a"
	var revision uint64
	for i := range 50 {
		writer, reader := h.Store, h.Other
		if i%2 == 1 {
			writer, reader = reader, writer
		}
		next, err := put(ctx, writer, key, fmt.Sprint(i), revision, 0)
		if err != nil {
			return err
		}
		revision = next
		for _, s := range []kv.Store{reader, writer} {
			if e, err := get(ctx, s, key); err != nil || e.Revision != revision || string(e.Value) != fmt.Sprint(i) {
				return fmt.Errorf("after a write at %d a read shows %+v, %v", revision, e, err)
			}
		}
	}
	return nil
}

// unanswered makes a write that gets no answer.
func unanswered(ctx context.Context, s kv.Store, key string, expect uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := s.Put(ctx, key, []byte("late"), expect, 0); !errors.Is(err, kv.ErrUnsettled) {
		return fmt.Errorf("a write without an answer: %v, expected %v", err, kv.ErrUnsettled)
	}
	return nil
}

func silenceIsTold(ctx context.Context, h *Harness) error {
	if h.Stall == nil {
		return nil
	}
	defer h.Stall()()
	within, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := h.Store.Get(within, "silence.a"); !errors.Is(err, kv.ErrUnavailable) || errors.Is(err, kv.ErrUnsettled) {
		return fmt.Errorf("a read without an answer: %v, expected %v", err, kv.ErrUnavailable)
	}
	return unanswered(ctx, h.Store, "silence.a", 0)
}

// settled waits until a write has been acknowledged that was sent after the stall, and
// reports whether it went over the connection that was stalled.
func settled(ctx context.Context, s kv.Store, key string, incarnation uint64) (same bool, err error) {
	for deadline := time.Now().Add(patience); ; {
		e, err := get(ctx, s, key)
		if err == nil {
			_, err = put(ctx, s, key, "fence", e.Revision, 0)
		}
		switch {
		case err == nil:
			return s.Incarnation() == incarnation, nil
		case time.Now().After(deadline):
			return false, err
		}
	}
}

// What a registry concludes about its own writes rests on this: see kv.Store.
func laterWritesSettle(ctx context.Context, h *Harness) error {
	if h.Stall == nil {
		return nil
	}
	for i := range 3 {
		key := fmt.Sprintf("settles.%d", i)
		first, err := put(ctx, h.Other, key, "first", 0, 0)
		if err != nil {
			return err
		}
		incarnation, resume := h.Store.Incarnation(), h.Stall()
		err = unanswered(ctx, h.Store, key, first)
		resume()
		if err != nil {
			return err
		}
		same, err := settled(ctx, h.Store, "settles.fence", incarnation)
		if err != nil {
			return err
		}
		if !same {
			continue // the connection was lost: nothing was promised
		}
		before, err := get(ctx, h.Other, key)
		if err != nil {
			return err
		}
		time.Sleep(2 * time.Second) // for what comes late
		if after, err := get(ctx, h.Other, key); err != nil || after.Revision != before.Revision {
			return fmt.Errorf("a write landed after a later one was acknowledged: %+v, then %+v, %v", before, after, err)
		}
	}
	return nil
}

func lateWritesExpect(ctx context.Context, h *Harness) error {
	if h.Stall == nil {
		return nil
	}
	const key = "expects.a"
	first, err := put(ctx, h.Other, key, "first", 0, 0)
	if err != nil {
		return err
	}
	incarnation, resume := h.Store.Incarnation(), h.Stall()
	err = unanswered(ctx, h.Store, key, first)
	var second uint64
	if err == nil {
		second, err = put(ctx, h.Other, key, "second", first, 0)
	}
	resume()
	if err != nil {
		return err
	}
	if _, err := settled(ctx, h.Store, "expects.fence", incarnation); err != nil {
		return err
	}
	if e, err := get(ctx, h.Other, key); err != nil || e.Revision != second {
		return fmt.Errorf("the write at %d that was given up landed on %d: %+v, %v", first, second, e, err)
	}
	return nil
}

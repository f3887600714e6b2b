package kvtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wsnode/wsnode/kvpin/kv"
)

var writing = []Case{
	{"a key is written only at the expected revision", writesAtTheRevision},
	{"a deletion leaves a marker that the next write expects", deletionsLeaveMarkers},
	{"one of many writers wins", oneWriterWins},
	{"the store tells the time of the bucket", tellsTheTime},
}

func writesAtTheRevision(ctx context.Context, h *Harness) error {
	const key = "writes.a"
	if e, err := get(ctx, h.Store, key); err != nil || e.Present || e.Revision != 0 {
		return fmt.Errorf("a missing key: %+v, %v", e, err)
	}
	if err := refused(ctx, h.Store, key, 7); err != nil {
		return err
	}
	first, err := put(ctx, h.Store, key, "1", 0, 0)
	if err != nil {
		return err
	}
	for _, wrong := range []uint64{0, first + 1} {
		if err := refused(ctx, h.Store, key, wrong); err != nil {
			return err
		}
	}
	second, err := put(ctx, h.Store, key, "2", first, 0)
	if err != nil {
		return err
	}
	if err := refused(ctx, h.Store, key, first); err != nil {
		return err
	}
	e, err := get(ctx, h.Store, key)
	if err != nil || !e.Present || string(e.Value) != "2" || e.Revision != second || second <= first || e.Written.IsZero() {
		return fmt.Errorf("after two writes, the last at %d: %+v, %v", second, e, err)
	}
	return nil
}

func deletionsLeaveMarkers(ctx context.Context, h *Harness) error {
	const key = "deletes.a"
	first, err := put(ctx, h.Store, key, "1", 0, 0)
	if err != nil {
		return err
	}
	if err := h.Store.Delete(ctx, key, first+1); !errors.Is(err, kv.ErrConflict) {
		return fmt.Errorf("delete at another revision: %v, expected a conflict", err)
	}
	if err := h.Store.Delete(ctx, key, first); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	e, err := get(ctx, h.Store, key)
	if err != nil || e.Present || e.Revision <= first {
		return fmt.Errorf("after the deletion: %+v, %v", e, err)
	}
	if err := refused(ctx, h.Store, key, 0); err != nil {
		return err
	}
	_, err = put(ctx, h.Store, key, "2", e.Revision, 0)
	return err
}

// Of replicas all may refuse: then nothing was written.
func oneWriterWins(ctx context.Context, h *Harness) error {
	const key = "races.a"
	var revision uint64
	for round := range 20 {
		wins, err := race(ctx, h, key, round, revision)
		if err != nil || len(wins) > 1 {
			return fmt.Errorf("round %d has the winners %v, %v", round, wins, err)
		}
		for _, next := range wins {
			revision = next
		}
		if e, err := get(ctx, h.Store, key); err != nil || e.Revision != revision {
			return fmt.Errorf("after round %d, with the winners %v, the key is %+v, %v", round, wins, e, err)
		}
	}
	if revision == 0 {
		return errors.New("nobody won in any round")
	}
	return nil
}

// race has writers of both stores write at once, and returns the revisions of those
// that won.
func race(ctx context.Context, h *Harness, key string, round int, expect uint64) (wins []uint64, failed error) {
	var writers sync.WaitGroup
	var mu sync.Mutex
	for i := range 16 {
		s := h.Store
		if i%2 == 1 {
			s = h.Other
		}
		writers.Go(func() {
			within, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			next, err := s.Put(within, key, fmt.Append(nil, round), expect, 0)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				wins = append(wins, next)
			case !errors.Is(err, kv.ErrConflict):
				failed = err
			}
		})
	}
	writers.Wait()
	return wins, failed
}

func tellsTheTime(ctx context.Context, h *Harness) error {
	if _, err := put(ctx, h.Store, "time.a", "", 0, 0); err != nil {
		return err
	}
	e, err := get(ctx, h.Store, "time.a")
	if err != nil {
		return err
	}
	now, err := h.Store.Now(ctx)
	if err != nil || now.Before(e.Written) || now.Sub(e.Written) > time.Minute {
		return fmt.Errorf("the time is %s, %v; %s was written just now", now, err, e.Written)
	}
	return nil
}

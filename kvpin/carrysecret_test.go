package kvpin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestNodesOfAllRegionsSignWithOneSecret(t *testing.T) {
	worlds(t, func(w *world) {
		ctx := context.Background()
		a, b := w.node("eu-central-1", "a"), w.node("us-east-1", "b")
		if _, err := a.CarrySecretOf(ctx, testLicense, "none"); !errors.Is(err, ErrNotFound) {
			w.t.Errorf("one that nobody made: %v", err)
		}
		var wait sync.WaitGroup
		made := make([]Secret, 2)
		for i, n := range []*testNode{a, b} {
			wait.Go(func() {
				var err error
				if made[i], err = n.CarrySecret(ctx, testLicense); err != nil {
					w.t.Error(err)
				}
			})
		}
		wait.Wait()
		if made[0].ID != made[1].ID || !bytes.Equal(made[0].Key, made[1].Key) || len(made[0].Key) < secretBytes {
			w.t.Fatalf("two nodes sign with %q and %q", made[0].ID, made[1].ID)
		}
		if _, err := b.Keys(testLicense).Update(ctx, carrySecretKey, []byte("mine"), 0, 0); err == nil {
			w.t.Error("others may write where the secret is")
		}
		// The next node that signs replaces an old one, which is still accepted.
		requests := b.buckets[testLicense].requests
		e, err := requests.get(ctx, carrySecretKey)
		if err != nil {
			w.t.Fatal(err)
		}
		old := &secrets{Current: made[0]}
		old.Current.Made = time.Now().Add(-secretRenewAge - time.Hour)
		value, err := json.Marshal(old)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err = requests.put(ctx, carrySecretKey, value, e.Revision, 0); err != nil {
			w.t.Fatal(err)
		}
		later := w.node("us-east-1", "c")
		next, err := later.CarrySecret(ctx, testLicense)
		if err != nil || next.ID == made[0].ID {
			w.t.Fatalf("an old secret is followed by %q, %v", next.ID, err)
		}
		for _, id := range []string{made[0].ID, next.ID} {
			if s, err := later.CarrySecretOf(ctx, testLicense, id); err != nil || s.ID != id {
				w.t.Errorf("%q is not believed: %v", id, err)
			}
		}
		// Whoever makes ids up, and however many at once, costs the registry next to nothing.
		fresh := w.node("us-east-1", "d")
		before := fresh.buckets[testLicense].requests.reads.Load()
		var forging sync.WaitGroup
		for i := range 100 {
			forging.Go(func() {
				if _, err := fresh.CarrySecretOf(ctx, testLicense, fmt.Sprint(i)); !errors.Is(err, ErrNotFound) {
					w.t.Errorf("an id that was made up: %v", err)
				}
			})
		}
		forging.Wait()
		if reads := fresh.buckets[testLicense].requests.reads.Load() - before; reads > 10 {
			w.t.Errorf("100 ids that were made up cost %d reads", reads)
		}
	})
}

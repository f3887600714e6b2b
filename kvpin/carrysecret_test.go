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

	"github.com/wsnode/wsnode/kvpin/kv/kvtest"
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
		// The next node that signs replaces an old one, which is signed with for a while yet.
		b.makeOld()
		later := w.node("us-east-1", "c")
		if signs, err := later.CarrySecret(ctx, testLicense); err != nil || signs.ID != made[0].ID {
			w.t.Fatalf("beside a secret that nobody has read: %q, %v", signs.ID, err)
		}
		next := b.secrets().Current
		if next.ID == made[0].ID {
			w.t.Fatal("an old secret is not replaced")
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

// secrets are what the registry has.
func (n *testNode) secrets() *secrets {
	n.t.Helper()
	s, _, err := n.buckets[testLicense].carrySecrets.read(context.Background())
	if err != nil || s == nil {
		n.t.Fatalf("the registry's secrets: %v, %v", s, err)
	}
	return s
}

// makeOld has the registry's secret be due for another.
func (n *testNode) makeOld() {
	n.t.Helper()
	requests := n.buckets[testLicense].requests
	e, err := requests.get(context.Background(), carrySecretKey)
	if err != nil {
		n.t.Fatal(err)
	}
	old := decodeSecrets(e)
	old.Current.Made = time.Now().Add(-secretRenewAge - time.Hour)
	value, err := json.Marshal(old)
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err = requests.put(context.Background(), carrySecretKey, value, e.Revision, 0); err != nil {
		n.t.Fatal(err)
	}
}

func (n *testNode) mustSign() Secret {
	n.t.Helper()
	s, err := n.CarrySecret(context.Background(), testLicense)
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

// Made-up ids have a node look for secrets, and not look again for a moment. A client of
// another region is believed all the same when the secret there has just become another.
func TestWhenTheSecretIsReplacedNoMarkIsDisbelieved(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		ctx := context.Background()
		home, away := w.node("eu-central-1", "a"), w.node("us-east-1", "b")
		first := away.mustSign()
		home.makeOld()
		time.Sleep(secretLife)
		believed := func(s Secret) {
			w.t.Helper()
			if _, err := home.CarrySecretOf(ctx, testLicense, "made up"); !errors.Is(err, ErrNotFound) {
				w.t.Fatalf("an id that was made up: %v", err)
			}
			if found, err := home.CarrySecretOf(ctx, testLicense, s.ID); err != nil || !bytes.Equal(found.Key, s.Key) {
				w.t.Fatalf("%q is not believed: %v", s.ID, err)
			}
		}
		believed(first)
		signs := away.mustSign() // and replaces it
		if away.secrets().Current.ID == first.ID {
			w.t.Fatal("an old secret is not replaced")
		}
		believed(signs)
		for range 3 * secretNew / time.Minute {
			time.Sleep(time.Minute)
			believed(away.mustSign())
		}
		if signs := away.mustSign(); signs.ID == first.ID {
			w.t.Error("the new secret is never signed with")
		}
	})
}

// While the registry is away, a stranger who marks handshakes costs one request's timeout for
// all, and then nobody waits for a while; whoever signs with what is known does not either.
func TestMarksThatAreMadeUpHoldNobodyWhileTheRegistryIsAway(t *testing.T) {
	inVirtualTime(t, func(w *world) {
		ctx := context.Background()
		home, away := w.node("eu-central-1", "a"), w.node("us-east-1", "b")
		signed := away.mustSign()
		if _, err := home.CarrySecretOf(ctx, testLicense, signed.ID); err != nil {
			w.t.Fatal(err)
		}
		time.Sleep(secretLife)
		reads := 0 // guarded by the link
		home.link.SetFault(func(write bool, key string) kvtest.Fault {
			if write || key != carrySecretKey {
				return kvtest.Fault{}
			}
			reads++
			return kvtest.Fault{Outcome: kvtest.Lost}
		})
		ask := func(id string) (time.Duration, error) {
			began := time.Now()
			_, err := home.CarrySecretOf(ctx, testLicense, id)
			return time.Since(began), err
		}
		var strangers sync.WaitGroup
		for i := range 100 {
			strangers.Go(func() {
				if took, err := ask(fmt.Sprint(i)); err == nil || took > home.cfg.Timeout {
					w.t.Errorf("an id that was made up: %v after %s", err, took)
				}
			})
		}
		strangers.Wait()
		for until := time.Now().Add(secretRetry); time.Now().Before(until); time.Sleep(secretRetry / 10) {
			if took, err := ask("made up"); err == nil || took > 0 {
				w.t.Fatalf("an id that was made up, later: %v after %s", err, took)
			}
			if took, err := ask(signed.ID); err != nil || took > 0 {
				w.t.Fatalf("who signs with what is known: %v after %s", err, took)
			}
			began := time.Now()
			if _, err := home.CarrySecret(ctx, testLicense); err != nil && !errors.Is(err, ErrUnavailable) || time.Since(began) > 0 {
				w.t.Fatalf("to sign: %v after %s", err, time.Since(began))
			}
		}
		if reads != 1 {
			w.t.Errorf("%d reads", reads)
		}
		home.link.SetFault(nil)
		time.Sleep(secretRetry)
		if _, err := ask("made up"); !errors.Is(err, ErrNotFound) {
			w.t.Errorf("once the registry is back: %v", err)
		}
	})
}

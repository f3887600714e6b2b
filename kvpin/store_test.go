package kvpin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/test/natstest"
)

const testLicense = docid.LicenseRegion("aws-eu-west-1")

// stores runs a test against the fake in virtual time, one server, a cluster of
// three, and a server behind a slow link.
func stores(t *testing.T, test func(t *testing.T, s store)) {
	t.Parallel()
	t.Run("fake", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeBucket()
			defer f.stop()
			test(t, f.link())
		})
	})
	t.Run("one server", func(t *testing.T) {
		t.Parallel()
		test(t, realStore(t, natstest.Server(t).URL, 1))
	})
	t.Run("three servers", func(t *testing.T) {
		t.Parallel()
		test(t, realStore(t, natstest.Cluster(t, 3).URL, 3))
	})
	t.Run("slow link", func(t *testing.T) {
		t.Parallel()
		proxy := natstest.NewProxy(t, natstest.Server(t).URL)
		proxy.SetDelay(20 * time.Millisecond) // 40 ms there and back
		test(t, realStore(t, proxy.URL, 1))
	})
}

func realStore(t *testing.T, url string, replicas int) *natsStore {
	t.Helper()
	source := Source{URL: url, Replicas: replicas, Create: true}
	s := connectedStore(t, source)
	// Who asks for a bucket right after its creation may ask a server that has not
	// heard of it; a node asks again.
	eventually(t, 10*time.Second, "the bucket is there", func() bool {
		_, err := s.ensure(t.Context(), source)
		if err != nil && !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
	// A replicated bucket elects its leader first.
	for deadline := time.Now().Add(10 * time.Second); ; {
		_, err := s.Put(t.Context(), "ready", nil, 0, time.Second)
		if err == nil {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// connectedStore is connected, but its bucket may be missing.
func connectedStore(t *testing.T, source Source) *natsStore {
	t.Helper()
	l, err := connect(source, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.conn.Close)
	if err := l.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return newNATSStore(l, testLicense, "")
}

func put(t *testing.T, s store, key, value string, expect uint64, ttl time.Duration) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	revision, err := s.Put(ctx, key, []byte(value), expect, ttl)
	if err != nil {
		t.Fatalf("put %s at %d: %v", key, expect, err)
	}
	return revision
}

// get reads a key, again and again for a while: what is asked of a cluster that is
// about to elect a leader is never answered.
func get(t testing.TB, s store, key string) entry {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		e, err := s.Get(ctx, key)
		cancel()
		if err == nil {
			return e
		}
		if !errors.Is(err, ErrUnavailable) || time.Now().After(deadline) {
			t.Fatalf("get %s: %v", key, err)
		}
	}
}

func refused(t *testing.T, s store, key string, expect uint64) {
	t.Helper()
	if _, err := s.Put(t.Context(), key, nil, expect, 0); !errors.Is(err, ErrConflict) {
		t.Fatalf("put %s at %d: %v, expected a conflict", key, expect, err)
	}
}

func TestStoreWritesOnlyAtTheExpectedRevision(t *testing.T) {
	stores(t, func(t *testing.T, s store) {
		if e := get(t, s, "a"); e.Present || e.Revision != 0 {
			t.Fatalf("a missing key: %+v", e)
		}
		refused(t, s, "a", 7)
		first := put(t, s, "a", "1", 0, 0)
		refused(t, s, "a", 0)
		refused(t, s, "a", first+1)
		second := put(t, s, "a", "2", first, 0)
		refused(t, s, "a", first)
		if e := get(t, s, "a"); !e.Present || string(e.Value) != "2" || e.Revision != second || e.Written.IsZero() {
			t.Fatalf("after two writes: %+v", e)
		}
		if err := s.Delete(t.Context(), "a", first); !errors.Is(err, ErrConflict) {
			t.Fatalf("delete at an old revision: %v", err)
		}
		if err := s.Delete(t.Context(), "a", second); err != nil {
			t.Fatal(err)
		}
		e := get(t, s, "a")
		if e.Present || e.Revision <= second {
			t.Fatalf("after the deletion: %+v", e)
		}
		refused(t, s, "a", 0)
		put(t, s, "a", "3", e.Revision, 0)
	})
}

func TestStoreExpiresKeysNotEarlyAndNotMuchLate(t *testing.T) {
	stores(t, func(t *testing.T, s store) {
		renewed := putTwice(t, s, "b", time.Second, time.Hour)
		kept := putTwice(t, s, "c", time.Second, 0)
		start := time.Now()
		revision := put(t, s, "a", "1", 0, 2*time.Second)
		written := time.Now()
		for time.Since(start) < 1900*time.Millisecond {
			if e := get(t, s, "a"); !e.Present && time.Since(start) < 2*time.Second {
				t.Fatalf("gone after %s", time.Since(start))
			}
			time.Sleep(50 * time.Millisecond)
		}
		for get(t, s, "a").Present {
			// A second late at most, and some for a machine that does something else.
			if time.Since(written) > 10*time.Second {
				t.Fatal("still there after 10 s")
			}
			time.Sleep(20 * time.Millisecond)
		}
		if e := get(t, s, "a"); e.Revision > revision {
			refused(t, s, "a", 0)
			put(t, s, "a", "2", e.Revision, 0)
		} else {
			t.Fatalf("an expired key leaves no trace: %+v", e)
		}
		if e := get(t, s, "b"); e.Revision != renewed {
			t.Fatalf("the second TTL counts: %+v", e)
		}
		if e := get(t, s, "c"); e.Revision != kept {
			t.Fatalf("a write without a TTL keeps the key: %+v", e)
		}
	})
}

// putTwice writes a key with one TTL and at once with another. On a busy machine the
// first may run out before the second write: then it writes again.
func putTwice(t *testing.T, s store, key string, first, second time.Duration) uint64 {
	t.Helper()
	for {
		revision := put(t, s, key, "1", get(t, s, key).Revision, first)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		revision, err := s.Put(ctx, key, []byte("2"), revision, second)
		cancel()
		switch {
		case err == nil:
			return revision
		case !errors.Is(err, ErrConflict):
			t.Fatalf("put %s again: %v", key, err)
		}
	}
}

func TestStoreLetsOneOfManyWritersWin(t *testing.T) {
	stores(t, func(t *testing.T, s store) {
		var revision uint64
		for round := range 50 {
			wins := make(chan uint64, 16)
			var writers sync.WaitGroup
			for range cap(wins) {
				writers.Go(func() {
					next, err := s.Put(t.Context(), "a", fmt.Appendf(nil, "%d", round), revision, 0)
					if err == nil {
						wins <- next
					} else if !errors.Is(err, ErrConflict) {
						t.Error(err)
					}
				})
			}
			writers.Wait()
			if len(wins) != 1 {
				t.Fatalf("round %d has %d winners", round, len(wins))
			}
			revision = <-wins
		}
	})
}

func TestStoreWatchReportsLevelsAndExpiries(t *testing.T) {
	stores(t, func(t *testing.T, s store) {
		ctx, cancel := context.WithCancel(t.Context())
		old := put(t, s, "w.old", "1", 0, 0)
		put(t, s, "x.other", "1", 0, 0)
		changes := make(chan change, 100)
		var watching sync.WaitGroup
		watching.Go(func() { s.Watch(ctx, []string{"w.>"}, func(c change) { changes <- c }) })
		defer watching.Wait()
		defer cancel()
		next := func() change {
			select {
			case c := <-changes:
				return c
			case <-time.After(time.Minute):
				t.Fatal("no change within 10 s")
				return change{}
			}
		}
		first, then := next(), next()
		if first.Synced { // from a replica that was behind
			first, then = then, first
		}
		if first.Key != "w.old" || !first.Present || first.Revision != old || string(first.Value) != "1" || !then.Synced {
			t.Fatalf("the first values: %+v, %+v", first, then)
		}
		put(t, s, "x.other", "2", get(t, s, "x.other").Revision, 0)
		put(t, s, "w.new", "2", 0, time.Second)
		if c := next(); c.Key != "w.new" || !c.Present || string(c.Value) != "2" {
			t.Fatalf("a new key: %+v", c)
		}
		if c := next(); c.Key != "w.new" || c.Present {
			t.Fatalf("its expiry: %+v", c)
		}
		if err := s.Delete(t.Context(), "w.old", old); err != nil {
			t.Fatal(err)
		}
		if c := next(); c.Key != "w.old" || c.Present {
			t.Fatalf("a deletion: %+v", c)
		}
	})
}

func TestStoreScansWhatTheFilterMatches(t *testing.T) {
	stores(t, func(t *testing.T, s store) {
		for i := range 100 {
			put(t, s, fmt.Sprintf("s.%d.x", i), "1", 0, 0)
		}
		put(t, s, "t.1", "1", 0, 0)
		n := 0
		eventually(t, time.Minute, "100 keys scanned", func() bool { // a replica may be behind
			n = 0
			if err := s.Scan(t.Context(), "s.>", func(entry) error { n++; return nil }); err != nil {
				t.Fatal(err)
			}
			return n == 100
		})
		if err := s.Scan(t.Context(), "u.>", func(entry) error { n++; return nil }); err != nil || n != 100 {
			t.Fatalf("scanned nothing: %d, %v", n, err)
		}
		enough := errors.New("enough")
		if err := s.Scan(t.Context(), "s.*.x", func(entry) error { return enough }); !errors.Is(err, enough) {
			t.Fatalf("ended by its caller: %v", err)
		}
	})
}

func TestStoreWithoutAnAnswerSaysSo(t *testing.T) {
	cutOff := func(t *testing.T, s store) {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err := s.Get(ctx, "a"); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnsettled) {
			t.Fatalf("read: %v", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err := s.Put(ctx, "a", nil, 0, 0); !errors.Is(err, ErrUnsettled) {
			t.Fatalf("write: %v", err)
		}
	}
	t.Run("fake", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeBucket()
			defer f.stop()
			s := f.link()
			s.sever()
			cutOff(t, s)
		})
	})
	t.Run("one server", func(t *testing.T) {
		proxy := natstest.NewProxy(t, natstest.Server(t).URL)
		s := realStore(t, proxy.URL, 1)
		proxy.Cut()
		cutOff(t, s)
		proxy.Refuse()
		for s.link.conn.NATS().IsConnected() {
			time.Sleep(10 * time.Millisecond)
		}
		if _, err := s.Put(t.Context(), "a", nil, 0, 0); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnsettled) || !strings.Contains(err.Error(), "not connected: ") {
			t.Fatalf("a write that was never sent: %v", err)
		}
	})
}

func TestBucketThatTheServerWillNotCreateSaysWhy(t *testing.T) {
	t.Parallel()
	source := Source{URL: natstest.Server(t).URL, Replicas: 3, Create: true}
	if _, err := connectedStore(t, source).ensure(t.Context(), source); err == nil || !strings.Contains(err.Error(), "replicas > 1") {
		t.Fatalf("three replicas on one server: %v", err)
	}
}

func TestDeniedRequestNamesThePermissionThatIsMissing(t *testing.T) {
	t.Parallel()
	nats := natstest.Server(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "reader", Password: "r", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{"$KV.>", "$JS.API.STREAM.MSG.GET.>", "$JS.API.STREAM.CREATE.>"}},
		}}}
	})
	source := Source{URL: strings.Replace(nats.URL, "nats://", "nats://reader:r@", 1), Create: true}
	s := connectedStore(t, source)
	for subject, ask := range map[string]func(context.Context) error{
		"$KV.wsnode-aws-eu-west-1.a": func(ctx context.Context) error {
			_, err := s.Put(ctx, "a", nil, 0, 0)
			if !errors.Is(err, ErrUnsettled) {
				t.Fatalf("a write that was denied: %v", err)
			}
			return err
		},
		"$JS.API.STREAM.MSG.GET.": func(ctx context.Context) error { _, err := s.Get(ctx, "a"); return err },
		"$JS.API.STREAM.CREATE.":  func(ctx context.Context) error { _, err := s.ensure(ctx, source); return err },
	} {
		eventually(t, time.Minute, "the error names "+subject, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			err := ask(ctx)
			return errors.Is(err, context.DeadlineExceeded) && strings.Contains(err.Error(), `Publish to "`+subject)
		})
	}
}

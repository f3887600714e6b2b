package kv

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/test/natstest"
	"github.com/wsnode/wsnode/test/wait"
)

// watching is a watch of a filter, until the test ends.
func watching(t *testing.T, s Store, filter string) (next func() Change) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	changes := make(chan Change, 100)
	var running sync.WaitGroup
	running.Go(func() { s.Watch(ctx, []string{filter}, func(c Change) { changes <- c }) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return func() Change {
		t.Helper()
		select {
		case c := <-changes:
			return c
		case <-time.After(time.Minute):
			t.Fatal("no change within a minute")
			return Change{}
		}
	}
}

// A consumer delivers to whatever subject its creator names, so nobody who uses a
// registry may need the right to create one.
func TestRegistriesAreUsedWithoutConsumers(t *testing.T) {
	t.Parallel()
	i := natstest.Server(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "root", Password: "r"},
			{Username: "node", Password: "n", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Deny: []string{"$JS.API.CONSUMER.>"}},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.node.>"}}, // and no hints
			}},
		}
	})
	as := func(user string) string { return strings.Replace(i.URL, "nats://", "nats://"+user+"@", 1) }
	js, err := jetstream.New(natstest.ConnectURL(t, as("root:r")))
	if err != nil {
		t.Fatal(err)
	}
	root := realStore(t, as("root:r"), 1)
	put(t, root, "w.old", "1", 0, 0)
	source := Source{URL: as("node:n"), Options: []nats.Option{nats.CustomInboxPrefix("_INBOX.node")}}
	s := connectedStore(t, source)
	next := watching(t, s, "w.>")
	if first, then := next(), next(); first.Key != "w.old" || !then.Synced {
		t.Fatalf("the first values: %+v, %+v", first, then)
	}
	revision := put(t, s, "w.new", "2", 0, 0)
	if c := next(); c.Key != "w.new" || c.Revision != revision || string(c.Value) != "2" {
		t.Fatalf("a new key: %+v", c)
	}
	keys := 0
	if err := s.Scan(t.Context(), "w.>", func(Entry) error { keys++; return nil }); err != nil || keys != 2 {
		t.Errorf("scanned %d keys, %v", keys, err)
	}
	stream, err := js.Stream(t.Context(), s.stream)
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Consumers; n != 0 {
		t.Errorf("%d consumers", n)
	}
}

func TestAWatchOutlivesTheBucketThatItBeganWith(t *testing.T) {
	t.Parallel()
	i := natstest.Server(t)
	s := realStore(t, i.URL, 1)
	js, err := jetstream.New(natstest.Connect(t, i))
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "w.gone", "1", 0, 0)
	put(t, s, "w.kept", "1", 0, 0)
	next := watching(t, s, "w.>")
	for range 3 {
		next()
	}
	if err := js.DeleteStream(t.Context(), s.stream); err != nil {
		t.Fatal(err)
	}
	again := realStore(t, i.URL, 1)
	put(t, again, "w.kept", "2", 0, 0)
	seen := map[string]Change{}
	for seen["w.kept"].Revision == 0 || seen["w.gone"].Key == "" {
		c := next()
		seen[c.Key] = c
	}
	if c := seen["w.gone"]; c.Present {
		t.Errorf("what the new bucket lacks: %+v", c)
	}
	if c := seen["w.kept"]; !c.Present || string(c.Value) != "2" {
		t.Errorf("what it has: %+v", c)
	}
}

// More than a page holds.
func TestScansGoOnBehindAPage(t *testing.T) {
	t.Parallel()
	s := realStore(t, natstest.Server(t).URL, 1)
	const keys = 2*pageKeys + 1
	nc := s.Conn()
	for k := range keys {
		if err := nc.Publish(s.base+"p."+strconv.Itoa(k), nil); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	wait.Until(t, "all keys", func() bool {
		clear(seen)
		if err := s.Scan(t.Context(), "p.>", func(e Entry) error { seen[e.Key] = true; return nil }); err != nil {
			t.Fatal(err)
		}
		return len(seen) == keys
	})
}

package durability

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/test/natstest"
)

const license = "aws-eu-west-1"

// anyone verifies every token as one of the same app.
type anyone struct{}

func (anyone) Verify(context.Context, string) (*authn.Grant, error) {
	return &authn.Grant{Tenant: "acme", App: "notes", License: license, Expires: time.Now().Add(time.Hour)}, nil
}

// pod is a node that runs in the test's process, so that what it holds can be
// counted.
type pod struct {
	*relay.Node
	url     string
	history *history.History
	close   func()
}

// startPod starts a node on a region's NATS; configure may change its settings.
func startPod(t *testing.T, i *natstest.Instance, name string, configure func(*relay.Config)) *pod {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	p := &pod{}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	nc, err := bus.Connect(ctx, bus.ConnectConfig{URL: i.URL, Name: name, Log: log})
	check(err)
	b, err := bus.New(nc, bus.Config{Node: name, Log: log, Disturbed: func() {
		if p.Node != nil {
			p.Disturbed()
		}
	}})
	check(err)
	p.history, err = history.Open(ctx, nc, history.Config{Publisher: b, Log: log})
	check(err)
	c := relay.Config{Region: "eu-central-1", Node: docid.NodeID(name), Verifier: anyone{}, Log: log, Bus: b, History: p.history, Grace: time.Second}
	if configure != nil {
		configure(&c)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	p.url = "ws://" + l.Addr().String()
	c.Registry, err = kvpin.Open(ctx, kvpin.Config{
		Region: c.Region, Node: c.Node, URL: p.url, Grace: c.Grace, Log: log,
		Registries: map[docid.LicenseRegion]kvpin.Source{license: {URL: i.URL, Create: true}},
	})
	check(err)
	p.Node, err = relay.Open(c)
	check(err)
	server := relay.NewServer(p.Node, relay.ServerConfig{Log: log})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l, nil) }()
	closed := false
	p.close = func() {
		if closed {
			return
		}
		closed = true
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, err := range []error{server.Close(ctx), <-served, p.Node.Close(ctx), c.Registry.Close(ctx)} {
			if err != nil {
				t.Errorf("close %s: %v", name, err)
			}
		}
		p.history.Close()
		b.Close()
		nc.Close()
	}
	t.Cleanup(p.close)
	return p
}

// keys counts the keys in all registry buckets. A key that has expired leaves a
// marker for a minute, which only a soak has the time to see going.
func keys(t *testing.T, nc *nats.Conn) (n uint64) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	streams := js.ListStreams(t.Context())
	for s := range streams.Info() {
		bucket, isBucket := strings.CutPrefix(s.Config.Name, "KV_")
		switch {
		case !isBucket:
		case soak():
			n += s.State.NumSubjects
		default:
			kv, err := js.KeyValue(t.Context(), bucket)
			if err != nil {
				t.Fatal(err)
			}
			list, err := kv.ListKeys(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for range list.Keys() {
				n++
			}
		}
	}
	if err := streams.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// subjects counts the documents that the history holds, and the messages of the
// largest.
func subjects(t *testing.T, h *history.History) (n int, most uint64) {
	t.Helper()
	for s, err := range h.Subjects(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
		most = max(most, s.Messages)
	}
	return n, most
}

// waitFor looks every now and then until done says so: what it is for offers no
// event.
func waitFor(t *testing.T, within time.Duration, done func() (ok bool, state string)) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		ok, state := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %s", within, state)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func documentName(i int) string { return fmt.Sprintf("doc-%d", i) }

package durability

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
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

// soak says that there is time for the large sizes.
func soak() bool { return os.Getenv("WSNODE_SOAK") != "" }

const license = "aws-eu-west-1"

// anyone verifies every token as one of the same app.
type anyone struct{}

func (anyone) VerifyFor(context.Context, string, authn.Caller) (*authn.Grant, error) {
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
	return startOptions(t, i, name, func(o *relay.Options) {
		if configure != nil {
			configure(&o.Config)
		}
	})
}

func startOptions(t *testing.T, i *natstest.Instance, name string, configure func(*relay.Options)) *pod {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	p := &pod{url: "ws://" + l.Addr().String()}
	o := relay.Options{
		Config:    relay.Config{Region: "eu-central-1", Node: docid.NodeID(name), Verifier: anyone{}, Log: log, Grace: time.Second},
		PublicURL: p.url, Listener: l, NATS: bus.ConnectConfig{URL: i.URL},
		Registries: map[docid.LicenseRegion]kvpin.Source{license: {URL: i.URL, Create: true}},
	}
	configure(&o)
	p.Node, err = relay.Start(ctx, o)
	check(err)
	closed := false
	p.close = func() {
		if closed {
			return
		}
		closed = true
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := p.Node.Close(ctx); err != nil {
			t.Errorf("close %s: %v", name, err)
		}
	}
	t.Cleanup(p.close)
	p.history, err = history.Open(ctx, natstest.Connect(t, i), history.Config{Log: log})
	check(err)
	t.Cleanup(p.history.Close)
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

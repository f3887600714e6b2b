package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/test/natstest"
)

// asWsctl has the test binary be wsctl, so that its memory can be told from that of
// the servers in the test.
const asWsctl = "WSCTL_TEST_BE_WSCTL"

func TestMain(m *testing.M) {
	if os.Getenv(asWsctl) != "" {
		code := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
		fmt.Fprintln(os.Stderr, peakMemory())
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

// peakMemory is the most that this process had resident, in KiB; 0 where the kernel
// does not tell.
func peakMemory() (kib int64) {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			_, _ = fmt.Sscan(rest, &kib)
		}
	}
	return kib
}

// many rows are several MB on their way to wsctl.
const many = 30_000

// crowd is a node with many sessions, which are made when somebody looks at them.
type crowd struct {
	control.Node // nil: nothing else is asked
	name         docid.NodeID
}

func (c crowd) Info() control.Info {
	return control.Info{Node: docid.NodeID(c.name), Region: "eu-central-1"}
}

func (crowd) Stores(context.Context, bool) []control.StoreState { return nil }

func (c crowd) Sessions(_ *control.Filter, after uint64, limit int) (p control.Page[control.Session]) {
	for p.Next = after; len(p.Rows) < limit && p.Next < many/2; {
		p.Next++
		p.Rows = append(p.Rows, control.Session{
			ID: p.Next, Document: control.Document{License: "aws-eu-west-1", Tenant: "acme", App: "notes", Name: fmt.Sprintf("document-%d", p.Next)},
			Remote: "192.0.2.1:1234", UserAgent: strings.Repeat("Mozilla/5.0 ", 10), Since: time.Now(),
		})
	}
	p.More = p.Next < many/2
	return p
}

// fillRegistry pins documents the way nodes do.
func fillRegistry(t *testing.T, i *natstest.Instance, license docid.LicenseRegion, pins int) {
	t.Helper()
	registry, err := kvpin.Open(t.Context(), kvpin.Config{
		Region: "eu-central-1", Node: "n1", URL: "wss://eu.example",
		Registries: map[docid.LicenseRegion]kvpin.Source{license: {URL: i.URL, Create: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = registry.Close(ctx)
	})
	lease, _, _ := registry.Lease(license)
	value, err := json.Marshal(map[string]any{
		"region": "eu-central-1", "epoch": "E1", "since": time.Now(), "holders": []kvpin.Holder{{Node: "n1", Lease: lease}},
	})
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(natstest.Connect(t, i), jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		t.Fatal(err)
	}
	for n := range pins {
		doc := docid.Document{License: license, Tenant: "acme", App: "notes", Name: fmt.Sprintf("document-%d", n)}
		if _, err := js.PublishAsync("$KV.wsnode-"+string(license)+"."+doc.PinKey(), value, jetstream.WithStallWait(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		t.Fatal("the pins were not stored")
	}
}

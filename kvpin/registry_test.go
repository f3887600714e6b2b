package kvpin_test

import (
	"context"
	"errors"
	"flag"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/test/natstest"
)

// TestMain lets more tests run at once than there are cores: they mostly wait for
// leases and keys to run out.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

const license = docid.LicenseRegion("aws-eu-west-1")

func document(name string) docid.Document {
	return docid.Document{License: license, Tenant: "acme", App: "notes", Name: name}
}

// open opens a registry of a node and closes it with the test.
func open(t *testing.T, url string, region docid.Region, node docid.NodeID, change ...func(*kvpin.Config)) *kvpin.Registry {
	t.Helper()
	cfg := kvpin.Config{
		Region: region, Node: node, URL: "wss://" + string(region) + ".example",
		Registries: map[docid.LicenseRegion]kvpin.Source{license: {URL: url, Create: true}},
	}
	for _, c := range change {
		c(&cfg)
	}
	r, err := kvpin.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = r.Close(ctx)
	})
	return r
}

func TestSecondRegionIsRedirectedToThePin(t *testing.T) {
	server := natstest.Server(t)
	here := open(t, server.URL, "eu-central-1", "a")
	there := open(t, server.URL, "us-east-1", "b")
	doc := document("x")
	ctx := t.Context()

	if _, state, err := there.Lookup(ctx, doc); err != nil || state != kvpin.Free {
		t.Fatalf("before the claim: %v, %v", state, err)
	}
	h, err := here.Hold(ctx, doc)
	if err != nil {
		t.Fatal(err)
	}
	var pinned *kvpin.PinnedError
	if _, err := there.Hold(ctx, doc); !errors.As(err, &pinned) || pinned.Pin.Region != "eu-central-1" {
		t.Fatalf("hold in the other region: %v", err)
	}
	pin, state, err := there.Lookup(ctx, doc)
	if err != nil || state != kvpin.Live || pin.Epoch != h.Pin().Epoch {
		t.Fatalf("while it is held: %v, %v, %v", pin, state, err)
	}
	if url, err := there.RegionURL(ctx, pin.Region); err != nil || url != "wss://eu-central-1.example" {
		t.Fatalf("URL of the region: %q, %v", url, err)
	}
	if last, err := h.Release(ctx, time.Now()); err != nil || !last {
		t.Fatalf("release: %v, %v", last, err)
	}
	if _, state, err := there.Lookup(ctx, doc); err != nil || state != kvpin.Grace {
		t.Fatalf("after the release: %v, %v", state, err)
	}
}

func TestRegistriesOnOneURLShareAConnection(t *testing.T) {
	server := natstest.Server(t)
	open(t, server.URL, "eu-central-1", "a", func(c *kvpin.Config) {
		for _, l := range []docid.LicenseRegion{"aws-us-east-1", "aws-us-west-2"} {
			c.Registries[l] = kvpin.Source{URL: server.URL, Create: true}
		}
	})
	if n := server.NATS(0).NumClients(); n != 1 {
		t.Fatalf("%d connections for three registries", n)
	}
}

func TestRegistryRunsOverAnInProcessConnection(t *testing.T) {
	server := natstest.Server(t)
	r := open(t, "", "eu-central-1", "a", func(c *kvpin.Config) {
		c.Registries[license] = kvpin.Source{Options: []nats.Option{nats.InProcessServer(server.NATS(0))}, Create: true}
	})
	if _, err := r.Hold(t.Context(), document("x")); err != nil {
		t.Fatal(err)
	}
}

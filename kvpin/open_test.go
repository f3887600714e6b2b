package kvpin_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestMissingBucketIsOnlyCreatedWhenAsked(t *testing.T) {
	t.Parallel()
	nats := natstest.Server(t)
	cfg := kvpin.Config{
		Region: "eu-central-1", Node: "a",
		Registries: map[docid.LicenseRegion]kvpin.Source{license: {URL: nats.URL}},
	}
	_, err := kvpin.Open(t.Context(), cfg)
	var bucket *kvpin.BucketError
	if !errors.As(err, &bucket) || !strings.Contains(err.Error(), "wsnode-aws-eu-west-1: it does not exist") {
		t.Fatalf("open without the bucket: %v", err)
	}
	open(t, nats.URL, "eu-central-1", "a")
	open(t, nats.URL, "us-east-1", "b", func(c *kvpin.Config) { c.Registries[license] = kvpin.Source{URL: nats.URL} })
}

func TestBucketThatCannotBeARegistryIsDescribedInWords(t *testing.T) {
	t.Parallel()
	nats := natstest.Server(t)
	js, err := jetstream.New(natstest.Connect(t, nats))
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{
		Bucket: "wsnode-aws-eu-west-1", History: 5, TTL: time.Hour, Storage: jetstream.MemoryStorage, MaxBytes: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = kvpin.Open(t.Context(), kvpin.Config{
		Region: "eu-central-1", Node: "a",
		Registries: map[docid.LicenseRegion]kvpin.Source{license: {URL: nats.URL, Create: true, Replicas: 3}},
	})
	if err == nil {
		t.Fatal("opened a bucket that cannot be a registry")
	}
	for _, words := range []string{"history of 5 values", "stored in memory", "TTLs of single keys", "no markers", "expire after 1h", "size is limited", "1 replicas, expected 3"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("the error does not say %q: %v", words, err)
		}
	}
}

func TestRegistryThatCannotBeReachedDoesNotStopTheNode(t *testing.T) {
	t.Parallel()
	nats := natstest.Server(t)
	proxy := natstest.NewProxy(t, nats.URL)
	proxy.Refuse()
	const away = docid.LicenseRegion("aws-us-east-1")
	r := open(t, nats.URL, "eu-central-1", "a", func(c *kvpin.Config) {
		c.StartTimeout = 3 * time.Second
		c.Registries[away] = kvpin.Source{URL: proxy.URL, Create: true}
	})
	doc := docid.Document{License: away, Tenant: "acme", App: "notes", Name: "x"}
	if _, err := r.Hold(t.Context(), doc); !errors.Is(err, kvpin.ErrUnavailable) {
		t.Fatalf("hold in the registry that is away: %v", err)
	}
	if _, err := r.Hold(t.Context(), document("x")); err != nil {
		t.Fatalf("hold in the other: %v", err)
	}
	doc.License = "aws-us-west-2"
	if _, _, err := r.Lookup(t.Context(), doc); !errors.Is(err, kvpin.ErrNotServed) || r.Serves(doc.License) {
		t.Fatalf("lookup in a license region that is not served: %v", err)
	}
	proxy.Heal()
	doc.License = away
	deadline := time.Now().Add(10 * time.Second)
	for {
		_, err := r.Hold(t.Context(), doc)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("hold after the registry came: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestCanceledOpenLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := kvpin.Open(ctx, kvpin.Config{
		Region: "eu-central-1", Node: "a",
		Registries: map[docid.LicenseRegion]kvpin.Source{license: {URL: "nats://127.0.0.1:1"}},
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("open: %v", err)
	}
}

func TestConfigurationIsCheckedInWords(t *testing.T) {
	t.Parallel()
	_, err := kvpin.Open(t.Context(), kvpin.Config{
		Region: "EU", Node: "a..b", Grace: 1500 * time.Millisecond, LeaseTTL: time.Second, RenewEvery: time.Second, Backstop: time.Second,
		Registries: map[docid.LicenseRegion]kvpin.Source{"x y": {Replicas: 7}},
	})
	if err == nil {
		t.Fatal("opened")
	}
	for _, words := range []string{"region \"EU\"", "node id \"a..b\"", "grace period 1.5s", "lease time 1s", "renewal every 1s", "backstop 1s", "license region \"x y\"", "7 replicas"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("the error does not say %q: %v", words, err)
		}
	}
}

func TestRegistryInAJetStreamDomain(t *testing.T) {
	t.Parallel()
	nats := natstest.Server(t, func(o *server.Options) { o.JetStreamDomain = "hub" })
	inDomain := func(c *kvpin.Config) {
		c.Registries[license] = kvpin.Source{URL: nats.URL, Create: true, Domain: "hub"}
	}
	a := open(t, nats.URL, "eu-central-1", "a", inDomain)
	b := open(t, nats.URL, "us-east-1", "b", inDomain)
	h, err := a.Hold(t.Context(), document("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, s, err := b.Lookup(t.Context(), document("x")); err != nil || s != kvpin.Live {
		t.Fatalf("lookup: %s, %v", s, err)
	}
	if last, err := h.Release(t.Context(), time.Now()); !last || err != nil {
		t.Fatalf("release: %v, %v", last, err)
	}
	if infos, err := b.Regions(t.Context()); err != nil || len(infos) != 2 {
		t.Fatalf("regions: %v, %v", infos, err)
	}
}

func TestURLOfARegionIsNeverOverwritten(t *testing.T) {
	t.Parallel()
	nats := natstest.Server(t)
	open(t, nats.URL, "eu-central-1", "a")
	evil := open(t, nats.URL, "eu-central-1", "b", func(c *kvpin.Config) { c.URL = "wss://evil.example" })
	if url, err := evil.RegionURL(t.Context(), "eu-central-1"); err != nil || url != "wss://eu-central-1.example" {
		t.Fatalf("URL of the region: %q, %v", url, err)
	}
	if _, err := evil.RegionURL(t.Context(), "nowhere"); !errors.Is(err, kvpin.ErrNotFound) {
		t.Fatalf("URL of an unknown region: %v", err)
	}
}

func TestInspectorLooksAtARegistryWithoutALease(t *testing.T) {
	t.Parallel()
	nats := natstest.Server(t)
	r := open(t, nats.URL, "eu-central-1", "a")
	other := open(t, nats.URL, "us-east-1", "b")
	sources := map[docid.LicenseRegion]kvpin.Source{license: {URL: nats.URL}}
	i, err := kvpin.OpenInspector(t.Context(), sources)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan kvpin.PinInfo, 100)
	done := make(chan error, 1)
	go func() {
		done <- i.WatchPins(ctx, license, kvpin.PinFilter{App: "notes"}, func(p kvpin.PinInfo) { seen <- p })
	}()
	defer func() { cancel(); <-done }()

	foreign := document("z")
	foreign.App = "other"
	h, err := r.Hold(ctx, document("x"))
	if err != nil {
		t.Fatal(err)
	}
	for _, hold := range []func() (*kvpin.Hold, error){
		func() (*kvpin.Hold, error) { return other.Hold(ctx, document("y")) },
		func() (*kvpin.Hold, error) { return r.Hold(ctx, foreign) },
	} {
		if _, err := hold(); err != nil {
			t.Fatal(err)
		}
	}
	if p := <-seen; p.Document != document("x") || p.State != kvpin.Live {
		t.Fatalf("watched first: %+v", p)
	}
	if p := <-seen; p.Document != document("y") {
		t.Fatalf("watched second: %+v", p)
	}
	list := func(f kvpin.PinFilter) (names []string) {
		for p, err := range i.Pins(ctx, license, f) {
			if err != nil {
				t.Fatal(err)
			}
			if p.State != kvpin.Live {
				t.Fatalf("%s is %s", p.Document, p.State)
			}
			names = append(names, p.Document.Name)
		}
		slices.Sort(names)
		return names
	}
	for _, c := range []struct {
		filter kvpin.PinFilter
		want   []string
	}{
		{kvpin.PinFilter{}, []string{"x", "y", "z"}},
		{kvpin.PinFilter{Tenant: "acme", App: "notes"}, []string{"x", "y"}},
		{kvpin.PinFilter{App: "other"}, []string{"z"}},
		{kvpin.PinFilter{Tenant: "nobody"}, nil},
		{kvpin.PinFilter{Region: "us-east-1"}, []string{"y"}},
	} {
		if got := list(c.filter); !slices.Equal(got, c.want) {
			t.Errorf("%+v lists %v, expected %v", c.filter, got, c.want)
		}
	}
	for range i.Pins(ctx, license, kvpin.PinFilter{}) {
		break // an early end is no failure
	}
	leases, err := i.Leases(ctx, license)
	if err != nil || len(leases) != 2 || leases[0].Node != "a" || leases[1].Region != "us-east-1" || leases[0].Renewed.IsZero() {
		t.Fatalf("leases: %+v, %v", leases, err)
	}
	if err := i.Unpin(ctx, document("x"), h.Pin().Revision+100); !errors.Is(err, kvpin.ErrConflict) {
		t.Fatalf("unpin at another revision: %v", err)
	}
	if err := i.Unpin(ctx, document("x"), h.Pin().Revision); err != nil {
		t.Fatal(err)
	}
	p := <-seen
	if p.Document == document("x") && p.State == kvpin.Free { // unless it is pinned again before the watch looks
		p = <-seen
	}
	if p.Document != document("x") || p.State != kvpin.Live || p.Pin.Epoch != h.Pin().Epoch {
		t.Fatalf("a live session pins it again: %+v", p)
	}
	if err := i.Unpin(ctx, document("never"), 1); !errors.Is(err, kvpin.ErrNotFound) {
		t.Fatalf("unpin what is not pinned: %v", err)
	}
	if p, err := i.Pin(ctx, document("y")); err != nil || p.State != kvpin.Live || p.Pin.Region != "us-east-1" {
		t.Fatalf("one pin: %+v, %v", p, err)
	}
}

func TestRegistryWhoseURLsAreLockedServesAllTheSame(t *testing.T) {
	t.Parallel()
	nats := natstest.Server(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "operator", Password: "o"},
			{Username: "node", Password: "n", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Allow: []string{">"}, Deny: []string{"$KV.*.region.>"}},
			}},
		}
	})
	url := func(user string) string { return strings.Replace(nats.URL, "nats://", "nats://"+user+"@", 1) }
	open(t, url("operator:o"), "eu-central-1", "first")
	r := open(t, url("node:n"), "us-east-1", "a")
	if _, err := r.Hold(t.Context(), document("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.RegionURL(t.Context(), "us-east-1"); !errors.Is(err, kvpin.ErrNotFound) {
		t.Fatalf("URL of the region that was not allowed to write it: %v", err)
	}
	if got, err := r.RegionURL(t.Context(), "eu-central-1"); err != nil || got != "wss://eu-central-1.example" {
		t.Fatalf("URL that is there: %q, %v", got, err)
	}
}

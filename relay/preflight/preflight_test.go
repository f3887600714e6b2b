package preflight

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/test/natstest"
)

const license = docid.LicenseRegion("aws-eu-west-1")

// What the rights are tried out by must not be stored, on a cluster neither.
func TestTryingOutRightsWritesNothing(t *testing.T) {
	for _, servers := range []int{1, 3} {
		i := natstest.Cluster(t, servers)
		nc := natstest.Connect(t, i)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if _, err := history.Create(ctx, nc, history.Config{Replicas: servers}); err != nil {
			t.Fatal(err)
		}
		source := kvpin.Source{URL: i.URL, Replicas: servers, Create: true}
		if _, err := kvpin.Create(ctx, license, source); err != nil {
			t.Fatal(err)
		}
		member := Member{Region: "eu-central-1", Node: "a", PublicURL: "wss://eu-central-1.example", Lease: 10 * time.Second}
		region := Region{URL: i.URL, Node: "a", Replicas: servers, Timeout: time.Minute}
		findings, _ := region.Check(ctx)
		findings = append(findings, Registry{License: license, Source: source, Node: &member, Timeout: time.Minute}.Check(ctx)...)
		for _, f := range findings {
			if f.Result != OK && f.Check != "latency" && !strings.HasPrefix(f.Check, "replica ") {
				t.Errorf("on %d servers: %+v", servers, f)
			}
		}
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{history.StreamName(0), kvpin.StreamName(license)} {
			stream, err := js.Stream(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			if state := stream.CachedInfo().State; state.LastSeq != 0 {
				t.Errorf("%s on %d servers: something was written: %+v", name, servers, state)
			}
		}
	}
}

// Nodes make what is missing, where they may; a check does not.
func TestWhatNodesCreateIsNotWrongAndNotCreated(t *testing.T) {
	i := natstest.Server(t)
	member := Member{Region: "eu-central-1", Node: "a", PublicURL: "wss://eu-central-1.example", Lease: 10 * time.Second}
	for range 2 {
		findings, cluster := Region{URL: i.URL, Node: "a", Replicas: 1, Timeout: time.Minute}.Check(t.Context())
		findings = append(findings, Registry{License: license, Source: kvpin.Source{URL: i.URL, Create: true}, Node: &member, Timeout: time.Minute}.Check(t.Context())...)
		there := 0
		for _, f := range findings {
			if f.Result != OK {
				t.Errorf("%+v", f)
			}
			if strings.Contains(f.Detail, "there is none yet") {
				there++
			}
		}
		if there != 2 || cluster == "" {
			t.Errorf("cluster %q, %+v", cluster, findings)
		}
	}
	if found := (Registry{License: license, Source: kvpin.Source{URL: i.URL}, Timeout: time.Minute}).Check(t.Context()); CountWrong(found) != 1 {
		t.Errorf("an operator, or a node that creates none, finds %+v", found)
	}
}

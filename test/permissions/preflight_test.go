package permissions

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/preflight"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
)

// candidate is a node that would run well beside node a.
func (s *shipped) candidate(jwks string, store storage.Store) preflight.Node {
	return preflight.Node{
		Member: preflight.Member{Region: "eu-central-1", Node: "b", PublicURL: "wss://eu-central-1.example", Lease: 10 * time.Second},
		NATS:   &preflight.Region{URL: s.url(pod), Options: s.options(pod), Domain: "history", Replicas: 1},
		Registries: map[docid.LicenseRegion]kvpin.Source{
			license: {URL: s.url(registryPod), Options: s.options(registryPod), Domain: "registry", Replicas: 1},
		},
		Keys:    authn.Config{JWKSURL: jwks, Timeout: time.Minute},
		Stores:  []preflight.Store{{License: license, Name: "memory", Open: func(context.Context) (storage.Store, error) { return store, nil }}},
		Machine: preflight.Machine{Files: 1 << 20, Cgroup: 2 << 30},
		Timeout: time.Minute,
	}
}

// runsOn has a lease, as a node of the region does.
func (s *shipped) runsOn(t *testing.T, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	about := kvpin.About{Cluster: bus.ClusterOf(s.connect(t, pod)), Protocol: oplog.Version}
	r, err := kvpin.Open(ctx, kvpin.Config{
		Region: "eu-central-1", Node: docid.NodeID(id), URL: "wss://eu-central-1.example", About: func() kvpin.About { return about },
		Registries: map[docid.LicenseRegion]kvpin.Source{license: {URL: s.url(registryPod), Domain: "registry", Options: s.options(registryPod)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(context.Background()) })
	for held := 0; held == 0 && ctx.Err() == nil; time.Sleep(time.Millisecond) {
		held, _ = r.Missing()
	}
}

// unconditional takes every write, whatever it expects.
type unconditional struct{ storage.Store }

func (u unconditional) Save(ctx context.Context, d docid.Document, _ storage.Version, m storage.Meta, body []byte) (storage.Version, error) {
	found, err := u.Stat(ctx, d)
	if err != nil && !errors.Is(err, storage.ErrAbsent) {
		return "", err
	}
	return u.Store.Save(ctx, d, found.Version, m, body)
}

// bad are the findings that are not ok. How long a busy machine takes to answer is
// nobody's fault here.
func bad(findings []preflight.Finding) (found []preflight.Finding) {
	for _, f := range findings {
		if f.Result != preflight.OK && f.Check != "latency" {
			found = append(found, f)
		}
	}
	return found
}

func TestTheCheckFindsByNameWhatIsWrongAndNothingElse(t *testing.T) {
	s := ship(t)
	s.setUp(t)
	s.runsOn(t, "a")
	other := s.another(t, "nats-us")
	for _, c := range []struct {
		at     *shipped
		stored bool
	}{{s, true}, {other, false}, {other, true}} {
		if _, err := history.Create(t.Context(), c.at.connect(t, setupHistory), history.Config{Domain: "history", Stored: c.stored}); err != nil {
			t.Fatal(err)
		}
	}
	keys := issuer.New(t)
	store := storagetest.NewMemory()
	if err := storage.Init(t.Context(), store, storage.Identity{ID: storage.NewStoreID(), License: license, KeyFormat: storage.KeyFormat}); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*preflight.Node)
		finds  []string // check: detail
	}{
		"nothing": {func(*preflight.Node) {}, nil},
		"a wrong password of the region's NATS": {
			func(n *preflight.Node) { n.NATS.URL = s.url("wsnode:wrong") }, []string{"NATS at: Authorization Violation"},
		},
		"a wrong password of the registry's": {func(n *preflight.Node) {
			source := n.Registries[license]
			source.URL = s.url("registry-eu-central-1:wrong")
			n.Registries[license] = source
		}, []string{"connection: Authorization Violation"}},
		"a history with fewer replicas than asked": {
			func(n *preflight.Node) { n.NATS.Replicas = 3 }, []string{"history replicas: wsnode-history-0 has 1 replica, and this node is told 3", "stored history replicas: wsnode-stored-0 has 1 replica"},
		},
		"a bucket with fewer replicas than asked": {func(n *preflight.Node) {
			source := n.Registries[license]
			source.Replicas = 3
			n.Registries[license] = source
		}, []string{"bucket: it has 1 replicas, expected 3", "replicas: has 1 replica"}},
		"a NATS of another cluster": {
			func(n *preflight.Node) { n.NATS.URL = other.url(pod) }, []string{"region eu-central-1: one uses the NATS cluster of the server nats-0, the other of the server nats-us"},
		},
		"unequal leases": {func(n *preflight.Node) { n.Lease = 20 * time.Second }, []string{"lease times: 10s of eu-central-1/a; 20s of this node"}},
		"keys that cannot be reached": {
			func(n *preflight.Node) { n.Keys.JWKSURL = "http://127.0.0.1:1/jwks.json" }, []string{"JWKS: connection refused"},
		},
		"a clock that is off by 10 s": {
			func(n *preflight.Node) { n.Now = func() time.Time { return time.Now().Add(10 * time.Second) } },
			[]string{"clock: that of the leader of wsnode-history-0 is -", "clock: the leader's is -", "clock of the issuer: the issuer's is -"},
		},
		"a store without conditional writes": {func(n *preflight.Node) {
			n.Stores[0].Open = func(context.Context) (storage.Store, error) { return unconditional{store}, nil }
		}, []string{"store: store does not obey conditional writes"}},
		"a store of another license region": {func(n *preflight.Node) { n.Stores[0].License = "aws-us-east-1" }, []string{"store: keeps the documents of aws-eu-west-1"}},
		"a store that is new": {func(n *preflight.Node) {
			n.Stores[0].Open = func(context.Context) (storage.Store, error) { return storagetest.NewMemory(), nil }
		}, []string{"store: has no marker, and the registry names no store yet"}},
		"1,024 files":         {func(n *preflight.Node) { n.Machine.Files = 1024 }, []string{"files: may open 1024 files"}},
		"more memory than is": {func(n *preflight.Node) { n.Machine.MemorySet = 4 << 30 }, []string{"memory: the kernel ends the process at 2.0 GiB"}},
		"another public URL":  {func(n *preflight.Node) { n.PublicURL = "wss://eu.example" }, []string{"region URL: wss://eu.example"}},
		"a region without a URL": {func(n *preflight.Node) {
			n.Region = "us-east-2"
			n.Registries[license] = kvpin.Source{URL: s.url(registryPod), Options: s.options(registryPod), Domain: "registry"}
		}, []string{`permissions: publish to $JS.registry.API.$KV.wsnode-aws-eu-west-1.lease.us-east-2.b`}},
		"a bucket that is missing": {func(n *preflight.Node) {
			n.Registries["aws-us-east-2"] = n.Registries[license]
		}, []string{"bucket: it does not exist"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := s.candidate(keys.JWKS, store)
			test.change(&n)
			found := bad(n.Check(t.Context()))
			for _, f := range found {
				if f.Mend == "" {
					t.Errorf("nobody says how to mend %+v", f)
				}
			}
			if len(found) != len(test.finds) {
				t.Fatalf("found %+v, expected %q", found, test.finds)
			}
			for i, expected := range test.finds {
				check, detail, _ := strings.Cut(expected, ": ")
				if !strings.HasPrefix(found[i].Check, check) || !strings.Contains(found[i].Detail, detail) {
					t.Errorf("found %+v, expected %s", found[i], expected)
				}
			}
		})
	}
}

// A set of permissions may name license regions one by one.
func TestTheCheckNamesALicenseRegionThatPermissionsLack(t *testing.T) {
	s := ship(t, func(o *server.Options) {
		for _, u := range o.Users {
			if u.Username != "registry-eu-central-1" {
				continue
			}
			for i, subject := range u.Permissions.Publish.Allow {
				u.Permissions.Publish.Allow[i] = strings.Replace(subject, "$KV.*.", "$KV.wsnode-aws-us-east-1.", 1)
			}
		}
	})
	s.setUp(t)
	n := s.candidate(issuer.New(t).JWKS, nil)
	n.Stores = nil
	n.Registries["aws-us-east-1"] = n.Registries[license]
	found := bad(n.Check(t.Context()))
	lacks := []string{"$KV.wsnode-aws-eu-west-1.pin.", "$KV.wsnode-aws-eu-west-1.limit.", "$KV.wsnode-aws-eu-west-1.lease.eu-central-1.b", "$KV.wsnode-aws-eu-west-1.sweep.eu-central-1"}
	if len(found) == 0 || found[0].License != license || found[0].Check != "permissions" || found[0].Result != preflight.Wrong {
		t.Fatalf("found %+v", found)
	}
	for _, subject := range lacks {
		if !strings.Contains(found[0].Detail, subject) {
			t.Errorf("%s does not name %s", found[0].Detail, subject)
		}
	}
	for _, f := range found[1:] { // the other one has no URL of the region
		if f.License != "aws-us-east-1" || f.Check != "region URL" {
			t.Errorf("found %+v too", f)
		}
	}
}

func TestServeCheckTellsWhatItFoundByExitCodeTableAndJSON(t *testing.T) {
	s := ship(t)
	s.setUp(t)
	keys := issuer.New(t)
	check := func(user string, more ...string) *cluster.Process {
		return cluster.RunWsnode(t, append([]string{"serve", "--check", "--region", "eu-central-1", "--public-url", "wss://eu-central-1.example",
			"--nats-url", s.url(user), "--nats-ca", s.ca, "--history-domain", "history",
			"--registry", string(license) + "=" + s.url(registryPod), "--registry-domain", "registry", "--jwks-url", keys.JWKS}, more...)...)
	}
	good := check(pod)
	if code, out := good.Wait(), good.Output(); code != 0 || !strings.Contains(out, "permissions") || strings.Contains(out, "wrong") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	wrong := check("wsnode:wrong", "-o", "json")
	code, out := wrong.Wait(), wrong.Output()
	var findings []preflight.Finding
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&findings); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if code != 6 || preflight.CountWrong(findings) != 1 || !strings.HasPrefix(findings[0].Check, "NATS at") {
		t.Errorf("exit code %d: %+v", code, findings)
	}
	if strings.Contains(out, "p2") || strings.Contains(out, ":wrong@") {
		t.Errorf("it shows a password: %s", out)
	}
}

package preflight

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/carry/mark"
	"github.com/wsnode/wsnode/relay/devcluster"
)

const (
	eu = docid.Region("eu-central-1")
	us = docid.Region("us-east-1")
)

// proxies is two regions, each behind a proxy that does to handshakes what it is told.
type proxies struct {
	devcluster.TestCluster
	t  *testing.T
	us atomic.Pointer[func(http.Header)]
}

func newProxies(t *testing.T) *proxies {
	p := &proxies{t: t}
	p.TestCluster = devcluster.ForTest(t, devcluster.Options{Regions: []docid.Region{eu, us}, Handler: func(n *devcluster.Node) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if does := p.us.Load(); does != nil && n.Region.Name == us {
				(*does)(r.Header)
			}
			n.ServeHTTP(w, r)
		})
	}})
	return p
}

// source is the registry, for an operator.
func (p *proxies) source() kvpin.Source {
	return kvpin.Source{Options: []nats.Option{nats.InProcessServer(p.Regions[0].NATS)}}
}

// does has the proxy of us do so from now on.
func (p *proxies) does(does func(http.Header)) { p.us.Store(&does) }

// carryOne has a client carried from us to eu.
func (p *proxies) carryOne() {
	p.t.Helper()
	_, token := p.Client(authn.Subject{Tenant: "acme", App: "notes"})
	for _, url := range []string{p.Regions[0].URL + "/todo", p.Regions[1].URL + "/todo?elsewhere=carry"} {
		c, _, err := websocket.Dial(p.t.Context(), url, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
		if err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(func() { _ = c.CloseNow() })
		if err := c.Write(p.t.Context(), websocket.MessageBinary, []byte{0, 0, 1, 0}); err != nil {
			p.t.Fatal(err)
		}
		if _, _, err := c.Read(p.t.Context()); err != nil {
			p.t.Fatalf("%s: %v", url, err)
		}
	}
}

// found is what a check says of the ways to regions, by region.
func (p *proxies) found(member *Member) map[docid.Region]Finding {
	p.t.Helper()
	found := map[docid.Region]Finding{}
	for _, f := range (Registry{License: license, Source: p.source(), Node: member, Timeout: time.Minute}).Check(p.t.Context()) {
		if region, ok := strings.CutPrefix(f.Check, "carry "); ok {
			found[docid.Region(region)] = f
		}
	}
	return found
}

func TestTheWayOfCarriedClientsIsLookedAt(t *testing.T) {
	p := newProxies(t)
	for region, f := range p.found(nil) {
		if f.Result != Unknown || !strings.Contains(f.Text(), "no secret yet") {
			t.Errorf("%s before anybody was carried: %+v", region, f)
		}
	}
	p.carryOne()
	if found := p.found(nil); len(found) != 2 || found[eu].Result != OK || found[us].Result != OK {
		t.Fatalf("%+v", found)
	}
	// A node looks at where it would carry to.
	member := Member{Region: eu, Node: "new", PublicURL: p.Regions[0].URL, Lease: 10 * time.Second}
	if found := p.found(&member); len(found) != 1 || found[us].Result != OK {
		t.Errorf("a node finds %+v", found)
	}
	for what, c := range map[string]struct {
		does func(http.Header)
		says []string
	}{
		"a proxy that nobody named":       {func(h http.Header) { h.Set("X-Forwarded-For", "192.0.2.1") }, []string{"127.0.0.1", "--trusted-proxy at the nodes of us-east-1"}},
		"a proxy that drops the mark":     {func(h http.Header) { h.Del("Wsnode-Carried") }, []string{"has not seen", "pass the header Wsnode-Carried on"}},
		"a proxy that drops the token":    {func(h http.Header) { h.Del("Authorization") }, []string{"does not believe", "the header Authorization did not arrive"}},
		"a proxy that changes the mark":   {func(h http.Header) { h.Set("Wsnode-Carried", h.Get("Wsnode-Carried")+"x") }, []string{"wrong signature", "carry.secret"}},
		"a proxy that knows no WebSocket": {func(h http.Header) { h.Del("Upgrade"); h.Del("Connection") }, []string{"opens no WebSocket"}},
	} {
		p.does(c.does)
		found := p.found(nil)
		if f := found[us]; f.Result != Wrong || !holdsAll(f.Text(), c.says) {
			t.Errorf("%s: %+v", what, f)
		}
		if found[eu].Result != OK {
			t.Errorf("%s spoils the other region: %+v", what, found[eu])
		}
	}
}

// Nodes of the version before see no mark, and nothing is wrong with a region that is
// about to be upgraded.
func TestNodesOfEarlierVersionsCannotBeAskedForTheWay(t *testing.T) {
	p := newProxies(t)
	p.carryOne()
	p.does(func(h http.Header) { h.Del("Wsnode-Carried") })
	w := way{report: report{license: license}, to: us, url: p.Regions[1].URL, timeout: time.Minute, secret: mark.Secret{ID: "x", Key: []byte("x")}}
	for before, result := range map[bool]string{true: Unknown, false: Wrong} {
		w.older = before
		if found := w.check(t.Context()); len(found) != 1 || found[0].Result != result {
			t.Errorf("nodes of an earlier version %t: %+v", before, found)
		}
	}
	leases := []kvpin.Lease{{Region: us, About: kvpin.About{Can: []string{kvpin.CanMove}}}, {Region: us}, {Region: eu, About: kvpin.About{Can: []string{kvpin.CanMove}}}}
	if !older(leases, us) || older(leases, eu) {
		t.Error("which regions have nodes of an earlier version")
	}
}

func holdsAll(text string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

func TestAWrongSecretAndAWrongURLAreFound(t *testing.T) {
	p := newProxies(t)
	p.carryOne()
	p.replaceKey()
	// Nodes have the secret as it was, and this check as it is: as two regions with registries of their own.
	if f := p.found(nil)[eu]; f.Result != Wrong || !holdsAll(f.Text(), []string{"wrong signature", "count", "carry.secret"}) {
		t.Errorf("another secret: %+v", f)
	}
	i, err := kvpin.OpenInspector(t.Context(), map[docid.LicenseRegion]kvpin.Source{license: p.source()})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if err := i.SetRegionURL(t.Context(), license, us, p.Regions[0].URL); err != nil {
		t.Fatal(err)
	}
	if f := p.found(nil)[us]; f.Result != Wrong || !holdsAll(f.Text(), []string{"another region", "wsctl regions set us-east-1"}) {
		t.Errorf("a URL that leads elsewhere: %+v", f)
	}
	if err := i.SetRegionURL(t.Context(), license, us, "ws://127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	member := Member{Region: eu, Node: "new", PublicURL: p.Regions[0].URL, Lease: 10 * time.Second}
	if f := p.found(&member)[us]; f.Result != Wrong || !strings.Contains(f.Text(), "no client can be carried") {
		t.Errorf("a URL where nobody listens: %+v", f)
	}
	// An operator's machine need not reach what browsers and nodes do.
	if f := p.found(nil)[us]; f.Result != Unknown || !strings.Contains(f.Text(), "wsnode serve --check") {
		t.Errorf("a URL where nobody listens, for an operator: %+v", f)
	}
}

// replaceKey puts another key under the id of the registry's secret.
func (p *proxies) replaceKey() {
	p.t.Helper()
	nc, err := p.Regions[0].NATS.Connect()
	if err != nil {
		p.t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	bucket, err := js.KeyValue(ctx, strings.TrimPrefix(kvpin.StreamName(license), "KV_"))
	if err != nil {
		p.t.Fatal(err)
	}
	e, err := bucket.Get(ctx, "carry.secret")
	if err != nil {
		p.t.Fatal(err)
	}
	var secrets map[string]map[string]any
	if err := json.Unmarshal(e.Value(), &secrets); err != nil {
		p.t.Fatal(err)
	}
	secrets["current"]["key"] = []byte("another secret, of 32 bytes, or so")
	value, err := json.Marshal(secrets)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := bucket.Update(ctx, "carry.secret", value, e.Revision()); err != nil {
		p.t.Fatal(err)
	}
}

// The look at a region has time of its own, and still ends with whoever wants it.
func TestALookAtARegionEndsWithItsCaller(t *testing.T) {
	p := newProxies(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	release := make(chan struct{})
	p.does(func(http.Header) {
		cancel()
		<-release
	})
	found := make(chan []Finding, 1)
	go func() { found <- Registry{License: license, Source: p.source(), Timeout: time.Hour}.Check(ctx) }()
	select {
	case all := <-found:
		if last := all[len(all)-1]; last.Check != "carry "+string(us) || last.Result == OK {
			t.Errorf("of a region that hangs it says %+v", last)
		}
		close(release)
	case <-time.After(time.Minute):
		t.Error("it waits for a region that hangs")
		close(release)
		<-found
	}
}

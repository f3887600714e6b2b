package relay

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/ratelimit"
)

// registry opens what another node knows of the pins. Closing it gives its lease
// back, and leaves the documents that it held as a crash does.
func (w *world) registry(region docid.Region, id docid.NodeID) *kvpin.Registry {
	w.t.Helper()
	r, err := kvpin.Open(w.t.Context(), kvpin.Config{
		Region: region, Node: id, URL: "ws://" + string(region) + ".example", Grace: time.Second,
		Registries: map[docid.LicenseRegion]kvpin.Source{license: {URL: w.nats.URL, Create: true}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { w.close(r) })
	return r
}

func (w *world) close(r *kvpin.Registry) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		w.t.Error(err)
	}
}

// eventually waits for what offers no event.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: " + what)
		}
	}
}

func TestDiscoverySendsNobodyToARegionThatIsGone(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a")
	crashes, stays := w.registry("us-east-1", "b"), w.registry("us-east-1", "c")
	token := w.token(authn.Subject{})
	doc := docid.Document{License: license, Tenant: "acme", App: "notes", Name: "todo"}
	hold := func() bool { _, err := crashes.Hold(t.Context(), doc); return err == nil }
	eventually(t, "a node of the other region has the document", hold)
	there := discovered{"us-east-1", "ws://us-east-1.example/todo", false}
	if got := discover(t, n, token, "todo"); got != there {
		t.Errorf("it is live there: %+v", got)
	}
	w.close(crashes)
	orphaned := func() bool {
		_, state, err := n.cfg.Registry.Lookup(t.Context(), doc)
		return err == nil && state == kvpin.Orphaned
	}
	eventually(t, "the document is an orphan", orphaned)
	if got := discover(t, n, token, "todo"); got != there {
		t.Errorf("the region has another node that may have it: %+v", got)
	}
	w.close(stays)
	here := discovered{"eu-central-1", "ws://eu-central-1.example/todo", true}
	eventually(t, "clients are sent to a region that is there", func() bool { return discover(t, n, token, "todo") == here })
	if !orphaned() {
		t.Error("the document is an orphan no more: this shows nothing")
	}
}

// trustLoopback makes loopback a trusted proxy.
func trustLoopback(c *Config) {
	c.Limits.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

// forwarded has a trusted proxy ask for a client, and returns the status.
func (n *testNode) forwarded(client, target, token string) int {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.RemoteAddr = "127.0.0.1:1"
	r.Header.Set("X-Forwarded-For", client)
	r.Header.Set("Authorization", "Bearer "+token)
	answer := httptest.NewRecorder()
	n.ServeHTTP(answer, r)
	return answer.Code
}

func TestAnAddressThatNamesUnknownIssuersLeavesTheOthersTheirs(t *testing.T) {
	const may = 3
	w := newWorld(t)
	var fetches atomic.Int64
	issuers := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if fetches.Add(1); strings.HasPrefix(r.URL.Path, "/real") {
			_, _ = rw.Write(w.issuer.JWKS())
			return
		}
		rw.WriteHeader(http.StatusInternalServerError) // as DNS fails for a host that is made up
	}))
	t.Cleanup(issuers.Close)
	verifier, err := authn.New(authn.Config{JWKSURL: issuers.URL + "/{tenantId}"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(verifier.Close)
	n := w.node("eu-central-1", "a", func(c *Config) {
		c.Verifier = verifier
		trustLoopback(c)
		c.Limits.Rates.Refused = ratelimit.Rate{Count: may, Per: time.Hour}
	})
	ask := func(address, tenant string) int {
		return n.forwarded(address, "/discovery?documentName=todo", w.token(authn.Subject{Tenant: docid.Tenant(tenant), App: "notes", License: license}))
	}
	for i := range 2 * may {
		if got := ask("192.0.2.1", fmt.Sprint("made-up-", i)); got != http.StatusServiceUnavailable {
			t.Errorf("made-up tenant %d: %d", i, got)
		}
	}
	if got := fetches.Load(); got != may {
		t.Errorf("one address caused %d fetches, it may cause %d", got, may)
	}
	if got := ask("192.0.2.1", "made-up"); got != http.StatusTooManyRequests {
		t.Errorf("it goes on: %d", got)
	}
	if got := ask("192.0.2.2", "real"); got != http.StatusOK {
		t.Errorf("somebody else: %d", got)
	}
}

func TestARefusedRequestIsToldOfItsClientAndNotOfTheProxy(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a", trustLoopback)
	for _, client := range []string{"192.0.2.1", "192.0.2.2"} {
		if got := n.forwarded(client, "/discovery?documentName=todo", "garbage"); got != http.StatusUnauthorized {
			t.Errorf("%s: %d", client, got)
		}
	}
	rows := n.recent.since(control.RecentRequest{}).Refusals.Rows
	if len(rows) != 2 || rows[0].Remote != "192.0.2.1" || rows[1].Remote != "192.0.2.2" || rows[0].Request != "discovery" {
		t.Errorf("%+v", rows)
	}
}

func TestARequestThatComesTooOftenIsRemembered(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a", trustLoopback, func(c *Config) {
		one := ratelimit.Rate{Count: 1, Per: time.Hour}
		c.Limits.Rates = ratelimit.RateConfig{Refused: one, Admitted: one, Usage: one, Health: one}
	})
	good := w.token(authn.Subject{})
	for i, c := range []struct{ target, token, detail string }{
		{"/usage", good, "too many requests of this kind from this address"},
		{"/health", "", "too many requests of this kind from this address"},
		{"/discovery?documentName=todo", good, fullDetail},
		{"/discovery?documentName=todo", "", blockedDetail},
	} {
		client := fmt.Sprintf("192.0.2.%d", i+1)
		n.forwarded(client, c.target, c.token)
		if got := n.forwarded(client, c.target, c.token); got != http.StatusTooManyRequests {
			t.Errorf("%s again: %d", c.target, got)
		}
		rows := n.recent.since(control.RecentRequest{}).Refusals.Rows
		request, _, _ := strings.Cut(c.target[1:], "?")
		if len(rows) == 0 {
			t.Fatalf("%s: nothing is remembered", c.target)
		}
		if last := rows[len(rows)-1]; last.Code != http.StatusTooManyRequests || last.Remote != client || last.Request != request || last.Detail != c.detail {
			t.Errorf("%s: remembered as %+v", c.target, last)
		}
	}
}

package main

import (
	"crypto/tls"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/devcluster"
	"github.com/wsnode/wsnode/relay/natsd"
)

func flagsWithHost(host string) (*devFlags, error) {
	f := &devFlags{regions: []string{"eu-central-1"}, nodes: 1, port: 8080, grace: time.Second, host: host}
	return f, f.check()
}

func TestHostIsANameOrAnAddressAndNothingElse(t *testing.T) {
	for host, want := range map[string]string{
		"Annas-MacBook.local": "ws://annas-macbook.local:8080",
		"192.168.1.5":         "ws://192.168.1.5:8080",
		"fd00::5":             "ws://[fd00::5]:8080",
	} {
		f, err := flagsWithHost(host)
		if err != nil || f.url(0, 0) != want {
			t.Errorf("%s: %v, %v; expected %s", host, f.url(0, 0), err, want)
		}
	}
	for _, host := range []string{"192.168.1.5:8080", "[::1]", "https://example.com", "example.com/", "a b", "-x"} {
		if _, err := flagsWithHost(host); err == nil || !strings.HasPrefix(err.Error(), "--host: ") {
			t.Errorf("%s is taken: %v", host, err)
		}
	}
}

func TestBrowsersReachTheHostByItsName(t *testing.T) {
	f, err := flagsWithHost("Annas-MacBook.local")
	if err != nil {
		t.Fatal(err)
	}
	d := &dev{flags: f, cluster: &devcluster.Cluster{Regions: []*devcluster.Region{{Nodes: []*devcluster.Node{{URL: "ws://annas-macbook.local:8080"}}}}}}
	for host, want := range map[string]bool{"annas-macbook.local:8080": true, "evil.example:8080": false} {
		r := httptest.NewRequest("POST", "/dev/sessions/drop", nil)
		r.Host = host
		r.Header.Set("Origin", "http://"+host)
		if got := d.admit(httptest.NewRecorder(), r); got != want {
			t.Errorf("%s: admitted: %v", host, got)
		}
	}
}

func TestEndpointsSayWhatIsWrongWithARequest(t *testing.T) {
	f, err := flagsWithHost("")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := authn.NewIssuer(nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	d := &dev{flags: f, cluster: &devcluster.Cluster{Issuer: issuer}}
	d.events = newDevEvents(d)
	endpoints := d.endpoints(&devcluster.Node{})
	for _, c := range []struct {
		method, url string
		status      int
		says        string
	}{
		{"GET", "/dev/sessions/drop?document=x", 405, "Only POST"},
		{"GET", "/dev/nodes/n/stop", 405, "Only POST"},
		{"POST", "/dev/token", 405, "Only GET"},
		{"POST", "/playground/", 405, "Only GET"},
		{"GET", "/dev/other", 404, "No such endpoint"},
		{"POST", "/dev/sessions/drop?document=x&client=abc", 400, "awareness client id"},
		{"POST", "/dev/sessions/drop?document=x&client=7", 200, `"dropped":0`},
		{"GET", "/dev/token?tenantId=acme", 400, "tenantId: no such parameter: expected any of tenant, app"},
		{"GET", "/dev/token?tenant=acme", 200, ""},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(c.method, c.url, nil)
		r.Host = "localhost"
		endpoints.ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: %d %v %s", c.method, c.url, w.Code, w.Header(), w.Body)
		}
	}
	w := httptest.NewRecorder()
	endpoints.ServeHTTP(w, httptest.NewRequest("GET", "/dev/token", nil)) // of example.com
	if w.Code != 403 || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("a foreign host: %d %v", w.Code, w.Header())
	}
}

func TestCommandsThatDevModePrintsWorkWithItsCertificate(t *testing.T) {
	f, err := flagsWithHost("")
	if err != nil {
		t.Fatal(err)
	}
	nats, err := natsd.Start(natsd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer nats.Close()
	for command, certificate := range map[string]*tls.Config{"curl '": nil, "curl -k '": {}} {
		d := &dev{flags: f, tls: certificate, cluster: &devcluster.Cluster{Regions: []*devcluster.Region{{URL: "ws://127.0.0.1:8080", NATS: nats}}}}
		var out strings.Builder
		if d.describe(&out); strings.Count(out.String(), command) != 2 {
			t.Errorf("expected %q twice: %s", command, out.String())
		}
	}
}

func TestThePortsOfAllNATSServersMustExist(t *testing.T) {
	f, err := flagsWithHost("")
	if err != nil {
		t.Fatal(err)
	}
	f.regions = []string{"a", "b"}
	for port, ok := range map[int]bool{-1: false, 0: true, 65534: true, 65535: false} {
		f.natsPort = port
		if err := f.check(); (err == nil) != ok {
			t.Errorf("%d: %v", port, err)
		}
	}
}

func TestATokenMayBeForSomeDocumentsOnly(t *testing.T) {
	issuer, err := authn.NewIssuer(nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	subject, err := devSubject(url.Values{"document": {"todo", "notes/*"}})
	if err != nil {
		t.Fatal(err)
	}
	token, err := issuer.Mint(subject)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := authn.New(authn.Config{KeySet: issuer.JWKS()})
	if err != nil {
		t.Fatal(err)
	}
	defer verifier.Close()
	grant, err := verifier.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"todo": true, "notes/a": true, "other": false} {
		if _, granted := grant.Access(name); granted != want {
			t.Errorf("%s: %v", name, granted)
		}
	}
}

func TestEventsTellNoOldNewsAfterNobodyLooked(t *testing.T) {
	e := newDevEvents(&dev{flags: &devFlags{grace: time.Second}})
	name := func(name string) docid.Document {
		return docid.Document{License: "aws-eu-west-1", Tenant: "dev", App: "demo", Name: name}
	}
	open := func(names ...string) map[docid.Document]devDocument {
		present := map[docid.Document]devDocument{}
		for _, n := range names {
			d := describeDocument(name(n), "eu-central-1")
			d.Nodes = []devPresence{{Node: "eu-central-1-0", Sessions: 1}}
			present[name(n)] = d
		}
		return present
	}
	heard := make(chan []byte, 100)
	e.readers[heard] = struct{}{}
	now := time.Now()
	look := func(present map[docid.Document]devDocument, expired ...string) []string {
		gone := map[docid.Document]bool{}
		for _, n := range expired {
			gone[name(n)] = true
		}
		e.compare(present, gone, now)
		e.resumed = false
		var events []string
		for len(heard) > 0 {
			_, what, _ := strings.Cut(string(<-heard), `"what":"`)
			what, _, _ = strings.Cut(what, `"`)
			events = append(events, what)
		}
		slices.Sort(events)
		return events
	}
	expect := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, expected %v", what, got, want)
		}
	}

	e.resume(now)
	expect("the first look", look(open("stays", "ends")))
	expect("a newcomer", look(open("stays", "ends", "new")), "joined", "pinned")
	// Nobody looks, while "ends" is left and unpinned, and "new" is left only.
	e.resume(now)
	expect("the next first look", look(open("stays"), "ends"))
	if _, listed := e.leaving[name("ends")]; listed {
		t.Error("a document that was unpinned while nobody looked is listed")
	}
	expect("back in the grace period", look(open("stays", "new")), "joined")
	expect("a new life", look(open("stays", "new", "ends")), "joined", "pinned")
}

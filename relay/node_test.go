package relay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const license = docid.LicenseRegion("aws-eu-west-1")

// patience is how long tests wait for what takes a moment: it costs nothing where it
// comes, and the machine may do something else meanwhile.
const patience = time.Minute

// world is a registry, an issuer and the nodes that use them. The regions share
// one NATS server under different accounts of subjects: their epochs differ.
type world struct {
	t      testing.TB
	nats   *natstest.Instance
	issuer *authn.Issuer
	pins   func(*kvpin.Config) // changes the configuration of registries; may be nil
	bus    string              // URL of the regions' NATS; empty: that of nats
}

func newWorld(t testing.TB) *world {
	issuer, err := authn.NewIssuer(nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, nats: natstest.Server(t), issuer: issuer}
}

// node is a running node and where it listens.
type testNode struct {
	*Node
	addr   string
	server *Server
}

func (w *world) node(region docid.Region, id docid.NodeID, configure ...func(*Config)) *testNode {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	must := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	nc, err := bus.Connect(ctx, bus.ConnectConfig{URL: cmp.Or(w.bus, w.nats.URL)})
	must(err)
	var node atomic.Pointer[Node]
	b, err := bus.New(nc, bus.Config{Node: id, Disturbed: func() {
		if n := node.Load(); n != nil {
			n.disturbed()
		}
	}})
	must(err)
	h, err := history.Open(ctx, nc, history.Config{Publisher: b})
	must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	pins := kvpin.Config{
		Region: region, Node: id, URL: "ws://" + string(region) + ".example", Grace: time.Second,
		Registries: map[docid.LicenseRegion]kvpin.Source{license: {URL: w.nats.URL, Create: true}},
		About:      func() kvpin.About { return about(b) },
		Alive: func(ctx context.Context, doc docid.Document, epoch kvpin.Epoch) (bool, error) {
			return node.Load().alive(ctx, doc, epoch)
		},
	}
	if w.pins != nil {
		w.pins(&pins)
	}
	registry, err := kvpin.Open(ctx, pins)
	must(err)
	verifier, err := authn.New(authn.Config{KeySet: w.issuer.JWKS()})
	must(err)
	cfg := Config{Region: region, Node: id, Verifier: verifier, Registry: registry, Bus: b, History: h, Grace: time.Second}
	for _, c := range configure {
		c(&cfg)
	}
	n, err := Open(cfg)
	must(err)
	node.Store(n)
	server := NewServer(n, ServerConfig{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l, nil) }()
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		err := errors.Join(server.Close(ctx), <-served, n.Close(ctx), registry.Close(ctx))
		h.Close()
		b.Close()
		nc.Close()
		verifier.Close()
		if err != nil {
			w.t.Error(err)
		}
	})
	return &testNode{Node: n, addr: l.Addr().String(), server: server}
}

func (w *world) token(s authn.Subject) string {
	w.t.Helper()
	if s.Tenant == "" {
		s.Tenant, s.App, s.License = "acme", "notes", license
	}
	token, err := w.issuer.Mint(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// dial opens a WebSocket on a raw request target.
func dial(t testing.TB, addr, target, token string, header http.Header) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	opts := &websocket.DialOptions{HTTPHeader: header}
	if token != "" {
		opts.Subprotocols = []string{"access_token", token}
	}
	// The target goes out as it stands, as browsers send it.
	opts.HTTPClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if tcp, ok := c.(*net.TCPConn); ok && shortWindow {
			_ = tcp.SetReadBuffer(128 << 10)
		}
		return &retarget{Conn: c, target: target}, err
	}}}
	return websocket.Dial(ctx, "ws://"+addr+"/", opts)
}

// shortWindow has the next clients take little before they read.
var shortWindow bool

// retarget replaces the request target of the first request.
type retarget struct {
	net.Conn
	target string
}

func (r *retarget) Write(p []byte) (int, error) {
	if rest, ok := strings.CutPrefix(string(p), "GET / "); ok && r.target != "" {
		target := r.target
		r.target = ""
		if _, err := io.WriteString(r.Conn, "GET "+target+" "+rest); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	return r.Conn.Write(p)
}

// closeOf returns how the node closes the connection.
func closeOf(t *testing.T, c *websocket.Conn) (code int, reason string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		_, _, err := c.Read(ctx)
		var ce websocket.CloseError
		if errors.As(err, &ce) {
			return int(ce.Code), ce.Reason
		}
		if err != nil {
			t.Fatalf("no close frame: %v", err)
		}
	}
}

// open connects a client that stays.
func open(t testing.TB, n *testNode, name, token string) *websocket.Conn {
	t.Helper()
	c, _, err := dial(t, n.addr, "/"+name, token, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, data, err := c.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := wire.Decode(data); err != nil || m.Kind != wire.Step1 {
		t.Fatalf("the first message is % x, want a SyncStep1", data)
	}
	return c
}

func TestRefusedHandshakesAreAcceptedAndClosedWithTheirCode(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a")
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		name, target, token string
		origin              string
		code                int
		reason              string
	}{
		{"no token", "/todo", "", "", 4001, "Missing token"},
		{"garbage", "/todo", "garbage", "", 4002, "Invalid token: malformed"},
		{"expired", "/todo", w.token(authn.Subject{TTL: -time.Hour}), "", 4002, "Invalid token: expired"},
		{"audience", "/todo", w.token(authn.Subject{Audience: "else"}), "", 4002, "Invalid token: audience"},
		{"license region", "/todo", w.token(authn.Subject{Tenant: "acme", App: "notes", License: "aws-us-east-1"}), "", 4003, "Forbidden: license region"},
		{"origin", "/todo", w.token(authn.Subject{Domains: []string{"good.example"}}), "https://evil.example", 4003, "Forbidden: origin"},
		{"document", "/todo", w.token(authn.Subject{Documents: []string{"other"}}), "", 4003, "Forbidden: document"},
		{"256 characters", "/" + long, w.token(authn.Subject{}), "", 4007, "Invalid document name"},
		{"no name", "/", w.token(authn.Subject{}), "", 4007, "Invalid document name"},
		{"a bare percent sign", "/50%", w.token(authn.Subject{}), "", 4007, "Invalid document name"},
		{"dots", "/a/../b", w.token(authn.Subject{}), "", 4007, "Invalid document name"},
		{"slashes", "/a//b", w.token(authn.Subject{}), "", 4007, "Invalid document name"},
		{"an unencoded question mark", "/a?b", w.token(authn.Subject{}), "", 4007, "Invalid document name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			header := http.Header{}
			if c.origin != "" {
				header.Set("Origin", c.origin)
			}
			conn, response, err := dial(t, n.addr, c.target, c.token, header)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.CloseNow() }()
			if got := response.Header.Get("Sec-WebSocket-Protocol"); c.token != "" && got != "access_token" {
				t.Errorf("selected subprotocol %q", got)
			}
			if code, reason := closeOf(t, conn); code != c.code || reason != c.reason {
				t.Errorf("got %d %q, want %d %q", code, reason, c.code, c.reason)
			}
		})
	}
	if docs := n.docs.Len(); docs != 0 {
		t.Errorf("%d documents are live after refusals only", docs)
	}
}

func TestAnotherRegionIsRedirectedUntilTheGracePeriodEnds(t *testing.T) {
	w := newWorld(t)
	eu, us := w.node("eu-central-1", "a"), w.node("us-east-1", "b")
	token := w.token(authn.Subject{})
	c := open(t, eu, "a%20b", token)
	conn, _, err := dial(t, us.addr, "/a%20b", token, nil)
	if err != nil {
		t.Fatal(err)
	}
	if code, reason := closeOf(t, conn); code != 4009 || reason != "REDIRECT:ws://eu-central-1.example/a%20b" {
		t.Errorf("got %d %q", code, reason)
	}
	long := strings.Repeat("ä", 100)
	open(t, eu, long, token)
	if conn, _, err = dial(t, us.addr, "/"+long, token, nil); err != nil {
		t.Fatal(err)
	}
	if code, reason := closeOf(t, conn); code != 4009 || reason != "REDIRECT:ws://eu-central-1.example" {
		t.Errorf("a long name: got %d %q", code, reason)
	}
	if got := discover(t, us, token, "a b"); got.Region != "eu-central-1" || got.IsNew || got.URL != "ws://eu-central-1.example/a%20b" {
		t.Errorf("discovery says %+v", got)
	}
	_ = c.Close(websocket.StatusNormalClosure, "")
	deadline := time.Now().Add(patience)
	for got := discover(t, us, token, "a b"); !got.IsNew; got = discover(t, us, token, "a b") {
		if time.Now().After(deadline) {
			t.Fatalf("still pinned: %+v", got)
		}
		time.Sleep(50 * time.Millisecond)
	}
	open(t, us, "a%20b", token)
}

type discovered struct {
	Region string
	URL    string
	IsNew  bool
}

func get(t *testing.T, n *testNode, path, token string) (status int, header http.Header, body []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err = io.ReadAll(answer.Body); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, body
}

func discover(t *testing.T, n *testNode, token, name string) (d discovered) {
	t.Helper()
	status, _, body := get(t, n, "/discovery?documentName="+strings.ReplaceAll(name, " ", "%20"), token)
	if err := json.Unmarshal(body, &d); status != http.StatusOK || err != nil {
		t.Fatalf("discovery: %d %s, %v", status, body, err)
	}
	return d
}

func TestDiscoveryRefusesInTheWordsOfTheContract(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a")
	good := w.token(authn.Subject{})
	for _, c := range []struct {
		path, token string
		status      int
		kind        string
	}{
		{"/discovery?documentName=x", "", 401, "missing_token"},
		{"/discovery?documentName=x", "garbage", 401, "invalid_token"},
		{"/discovery?documentName=x", w.token(authn.Subject{Tenant: "acme", App: "notes", License: "aws-us-east-1"}), 403, "forbidden"},
		{"/discovery?documentName=x", w.token(authn.Subject{Documents: []string{"y"}}), 403, "forbidden"},
		{"/discovery", good, 400, "invalid_document_name"},
		{"/discovery?documentName=a%2F%2Fb", good, 400, "invalid_document_name"},
		{"/nothing", good, 404, "not_found"},
	} {
		status, header, body := get(t, n, c.path, c.token)
		var answer struct{ Error, Message string }
		if err := json.Unmarshal(body, &answer); err != nil || status != c.status || answer.Error != c.kind || answer.Message == "" {
			t.Errorf("%s: got %d %s, want %d %s", c.path, status, body, c.status, c.kind)
		}
		if header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: no CORS header", c.path)
		}
	}
	if pins := n.docs.Len(); pins != 0 {
		t.Error("discovery opened a document")
	}
}

func TestPlanLimitsHoldOverNodes(t *testing.T) {
	w := newWorld(t)
	nodes := []*testNode{w.node("eu-central-1", "a"), w.node("eu-central-1", "b")}
	for _, c := range []struct {
		name   string
		limits authn.Limits
		docs   [3]string
		code   int
		reason string
	}{
		{"connections", authn.Limits{MaxConnections: 2}, [3]string{"x", "y", "z"}, 4004, "Connection limit exceeded: 2"},
		{"documents", authn.Limits{MaxDocuments: 2}, [3]string{"x", "y", "z"}, 4005, "Document limit exceeded: 2 (active: 2)"},
		{"users", authn.Limits{MaxUsersPerDoc: 2}, [3]string{"x", "x", "x"}, 4008, "Document user limit exceeded: 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			token := w.token(authn.Subject{Tenant: "acme", App: docid.App(c.name), License: license, Limits: c.limits})
			open(t, nodes[0], c.docs[0], token)
			open(t, nodes[1], c.docs[1], token)
			conn, _, err := dial(t, nodes[0].addr, "/"+c.docs[2], token, nil)
			if err != nil {
				t.Fatal(err)
			}
			if code, reason := closeOf(t, conn); code != c.code || reason != c.reason {
				t.Errorf("got %d %q, want %d %q", code, reason, c.code, c.reason)
			}
		})
	}
}

func TestUsageTellsWhatIsThere(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a")
	token := w.token(authn.Subject{Limits: authn.Limits{MaxConnections: 4}})
	for i := range 3 {
		open(t, n, fmt.Sprintf("doc%d", i%2), token)
	}
	status, _, body := get(t, n, "/usage", token)
	var answer struct {
		TenantID, AppID string
		Usage           struct{ Connections, Documents usageShare }
	}
	if err := json.Unmarshal(body, &answer); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	if c := answer.Usage.Connections; c.Current != 3 || c.Limit == nil || *c.Limit != 4 || c.Percent != 75 || c.Status != "warning" {
		t.Errorf("connections: %s", body)
	}
	if d := answer.Usage.Documents; d.Current != 2 || d.Limit != nil || d.Percent != 0 || d.Status != "healthy" {
		t.Errorf("documents: %s", body)
	}
}

func TestADrainingNodeSendsItsClientsAway(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a")
	token := w.token(authn.Subject{})
	c := open(t, n, "todo", token)
	drained := make(chan error, 1)
	go func() { drained <- n.Drain(t.Context(), 0, 0) }()
	if code, reason := closeOf(t, c); code != 1012 || reason != "Service restart" {
		t.Errorf("got %d %q", code, reason)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if status, _, body := get(t, n, "/health", ""); status != http.StatusServiceUnavailable || !strings.Contains(string(body), `"degraded"`) {
		t.Errorf("health: %d %s", status, body)
	}
	conn, _, err := dial(t, n.addr, "/todo", token, nil)
	if err != nil {
		t.Fatal(err)
	}
	if code, _ := closeOf(t, conn); code != 1012 {
		t.Errorf("a newcomer got %d", code)
	}
}

func TestRefusalsArePacedPerAddress(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a", func(c *Config) {
		c.Limits.Rates.Refused.Count, c.Limits.Rates.Refused.Per = 3, time.Minute
	})
	for i := range 4 {
		conn, response, err := dial(t, n.addr, "/todo", "", nil)
		if i < 3 {
			if err != nil {
				t.Fatal(err)
			}
			closeOf(t, conn)
			continue
		}
		if err == nil || response.StatusCode != http.StatusTooManyRequests || response.Header.Get("Retry-After") != "60" {
			t.Errorf("the fourth got %v, %v", response, err)
		}
	}
}

func TestAClientThatComesTooOftenOpensNothing(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a", func(c *Config) {
		c.Limits.Rates.Admitted.Count, c.Limits.Rates.Admitted.Per = 2, time.Minute
	})
	token := w.token(authn.Subject{})
	open(t, n, "one", token)
	open(t, n, "two", token)
	_, response, err := dial(t, n.addr, "/three", token, nil)
	if err == nil || response.StatusCode != http.StatusTooManyRequests {
		t.Errorf("the third got %v, %v", response, err)
	}
	if docs := n.docs.Len(); docs != 2 {
		t.Errorf("%d documents are live, two were let in", docs)
	}
	eventually(t, "the outcomes are counted", func() bool { // a client is in a moment before
		got := n.recent.counts()
		return got[admitted] == 2 && got[rateLimited] == 1
	})
}

package contract

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
)

// secrets makes tokens that can be recognised wherever a part of them turns up.
type secrets struct {
	keys  *issuer.Issuer
	parts map[string]string // what must turn up nowhere, and what it is
}

// token signs with ES256.
func (s *secrets) token(what string, claims issuer.Claims) string {
	return s.keep(what, s.keys.Token(s.mark(claims)))
}

// mark puts a word into the claims, which would betray claims that are told
// decoded.
func (s *secrets) mark(claims issuer.Claims) issuer.Claims {
	marked := issuer.Claims{"jti": fmt.Sprintf("canary-%d", len(s.parts))}
	for name, value := range claims {
		marked[name] = value
	}
	s.parts[marked["jti"].(string)] = "a claim"
	return marked
}

// keep remembers what of a token must not be seen: claims and signature, and of
// both not even the beginning.
func (s *secrets) keep(what, token string) string {
	for i, part := range strings.Split(token, ".")[1:] {
		if beginning := part[:min(len(part), 20)]; len(beginning) == 20 {
			s.parts[beginning] = fmt.Sprintf("part %d of the token %q", i+2, what)
		}
	}
	return token
}

// search fails the test if a secret is in what was said.
func (s *secrets) search(t *testing.T, where, said string) {
	t.Helper()
	for part, what := range s.parts {
		if at := strings.Index(said, part); at >= 0 {
			t.Errorf("%s: %s is told: …%q…", where, what, said[max(0, at-120):min(len(said), at+len(part)+20)])
		}
	}
}

// collector is an OpenTelemetry collector that keeps what it is sent.
type collector struct {
	*httptest.Server
	mu   sync.Mutex
	sent strings.Builder
}

func startCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, _ = io.Copy(&c.sent, r.Body) // what is missing is noticed below
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) all() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent.String()
}

// attempt is a handshake and how it ends; code 0: it is admitted.
type attempt struct {
	what, token, document, origin string
	code                          int
	reason                        string
}

func (s *secrets) attempts(stranger *issuer.Issuer, app string) []attempt {
	good := s.token("good", nil)
	broken := "x" + good + "x"
	full := issuer.Claims{"appId": app, "limits": issuer.Claims{"maxConnections": 1}}
	return []attempt{
		{"the only one of its app", s.token("full", full), "doc", "", 0, ""},
		{"the second of its app", s.token("second", full), "doc", "", 4004, "Connection limit exceeded: 1"},
		{"accepted", good, "doc", "", 0, ""},
		{"read-only", s.token("readonly", issuer.Claims{"access": "readonly"}), "doc", "", 0, ""},
		{"expired", s.token("expired", issuer.Claims{"exp": time.Now().Add(-time.Hour).Unix()}), "doc", "", 4002, "Invalid token: expired"},
		{"audience", s.token("audience", issuer.Claims{"aud": "other"}), "doc", "", 4002, "Invalid token: audience"},
		{"scope", s.token("scope", issuer.Claims{"scope": "other"}), "doc", "", 4002, "Invalid token: scope"},
		{"claim", s.token("claim", issuer.Claims{"tenantId": "not/one"}), "doc", "", 4002, "Invalid token: claims: tenantId"},
		{"stranger", s.keep("stranger", stranger.Token(s.mark(nil))), "doc", "", 4002, "Invalid token: signature"},
		{"HMAC", s.keep("HMAC", s.keys.Sign("HS256", issuer.Valid(s.mark(nil)))), "doc", "", 4002, "Invalid token: algorithm HS256"},
		{"garbage around it", broken, "doc", "", 4002, "Invalid token: malformed"},
		{"quoted", `"` + good + `"`, "doc", "", 4002, "Invalid token: malformed"},
		{"cut", good[:len(good)-22], "doc", "", 4002, "Invalid token: signature"},
		{"too long", s.token("too long", issuer.Claims{"pad": strings.Repeat("x", 8<<10)}), "doc", "", 4002, "Invalid token: too long"},
		{"license region", s.token("license", issuer.Claims{"dbCode": "aws-mars-1"}), "doc", "", 4003, "Forbidden: license region"},
		{"origin", s.token("origin", issuer.Claims{"allowed_domain_1": "good.example"}), "doc", "https://evil.example", 4003, "Forbidden: origin"},
		{"document", s.token("document", issuer.Claims{"documents": []string{"other"}}), "doc", "", 4003, "Forbidden: document"},
		{"document name", good, "a//b", "", 4007, "Invalid document name"},
	}
}

func TestATokenIsNowhereButInTheHandshake(t *testing.T) {
	t.Parallel()
	natsURL, traces := cluster.StartNATS(t), startCollector(t)
	keys, stranger := issuer.New(t), issuer.New(t)
	s := &secrets{keys: keys, parts: map[string]string{}}

	type started struct {
		way
		node  *cluster.Node
		admin string
	}
	var nodes []started
	for _, w := range ways { // each with a node of its own: repeated log lines are left out
		admin := cluster.FreeAddress(t)
		nodes = append(nodes, started{w, cluster.Serve{
			Name: "wsnode-" + w.name, Region: "eu-central-1", URL: "ws://eu-central-1.example", NATS: natsURL, JWKS: keys.JWKS,
			Flags: []string{
				"--node", w.name, "--log-level", "debug", "--admin-listen", admin, "--pprof", "--metrics-tenants", "10", "--otlp-endpoint", traces.URL,
			},
		}.Start(t), "http://" + admin})
	}
	expectedSpans := 0
	for _, n := range nodes {
		cluster.Started(t, n.node.Process, n.node.Addr)
		attempts := s.attempts(stranger, n.name)
		for i, a := range attempts {
			s.connect(t, n.node, a, n.spellings[i%len(n.spellings)])
		}
		expectedSpans += len(attempts)
		s.mistakes(t, n.node)
		s.untilTooMany(t, n.node, n.spellings[0])
		if n.name != "subprotocol" {
			s.api(t, n.node, n.spellings[0])
		}
	}

	file := filepath.Join(t.TempDir(), "token.jwt")
	if err := os.WriteFile(file, []byte(s.token("traced", nil)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"sessions", "list"}, {"refusals", "list"}, {"nodes", "list"}, {"docs", "list"}, {"trace", "doc", "--token-file", file},
	} {
		said := cluster.Wsctl(t, append(args, "--nats-url", natsURL, "-o", "json")...)
		s.search(t, fmt.Sprintf("wsctl %q", args), said)
		if rows := strings.Count(said, `"userAgent"`); args[0] == "sessions" && rows != 3*len(nodes) {
			t.Errorf("wsctl lists %d sessions, expected %d: %s", rows, 3*len(nodes), said)
		}
		if args[0] == "refusals" && !strings.Contains(said, "Invalid token: expired") {
			t.Errorf("wsctl lists no refusals: %s", said)
		}
	}

	for _, n := range nodes {
		for path, holds := range map[string]string{
			"/metrics":                       "wsnode_handshakes_total",
			"/debug/pprof/goroutine?debug=1": "goroutine profile",
			"/debug/pprof/goroutine?debug=2": "relay/conn.(*Keepalive)", // connections that rest have no goroutine
			"/debug/pprof/heap?debug=1":      "heap profile",
			"/debug/pprof/cmdline":           "serve",
		} {
			a := cluster.Get(t, n.admin+path, "")
			if !strings.Contains(string(a.Body), holds) {
				t.Errorf("%s holds no %s", path, holds)
			}
			s.search(t, path, string(a.Body))
		}
		n.node.Stop()
		log := n.node.Output()
		s.search(t, "the log of the node for "+n.name, log)
		for _, line := range []string{"session ended", "Invalid token: expired", "Forbidden: origin", "Connection limit exceeded: 1", "Invalid document name"} {
			if !strings.Contains(log, line) {
				t.Errorf("the node for %s logs no %q", n.name, line)
			}
		}
	}
	s.search(t, "traces", traces.all())
	if spans := strings.Count(traces.all(), `"name":"connect"`); spans < expectedSpans {
		t.Errorf("%d connects were traced, expected at least %d", spans, expectedSpans)
	}
}

// connect makes one handshake; an admitted client stays until the test ends.
func (s *secrets) connect(t *testing.T, n *cluster.Node, a attempt, spell spelling) {
	t.Helper()
	target, header := spell(a.token, a.document)
	if a.origin != "" {
		header.Set("Origin", a.origin)
	}
	if a.code != 0 {
		h := cluster.Shake(t, n.Addr, target, header)
		if h.Code != a.code || h.Reason != a.reason {
			t.Errorf("%s, %.30s: %d %q, expected %d %q", a.what, target, h.Code, h.Reason, a.code, a.reason)
		}
		s.search(t, a.what, fmt.Sprintln(h.Reason, h.Header))
		return
	}
	options := &websocket.DialOptions{HTTPHeader: header}
	if offers := header.Get("Sec-WebSocket-Protocol"); offers != "" {
		options.Subprotocols = strings.Split(offers, ", ")
		header.Del("Sec-WebSocket-Protocol")
	}
	c, answer, err := websocket.Dial(t.Context(), "ws://"+n.Addr+target, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	ctx := t.Context()
	if _, _, err := c.Read(ctx); err != nil {
		t.Errorf("%s: %v", a.what, err)
	}
	go func() { // answers pings until the test ends
		for _, _, err := c.Read(ctx); err == nil; _, _, err = c.Read(ctx) {
		}
	}()
	s.search(t, a.what, fmt.Sprintln(answer.Header))
}

// mistakes are handshakes whose token stands where it should not, and requests
// that are none.
func (s *secrets) mistakes(t *testing.T, n *cluster.Node) {
	t.Helper()
	good := s.token("misplaced", nil)
	header := func(name, value string) http.Header { return http.Header{name: {value}} }
	for _, m := range []struct {
		target string
		header http.Header
	}{
		{"/doc&token=" + good, nil},
		{"/doc/token=" + good, nil},
		{"/" + good, nil},
		{"/" + good + "/doc", nil},
		{"/doc?jwt=" + good, nil},
		{"/doc?" + good, nil},
		{"/doc?token=%22" + good, nil},
		{"/doc", header("Authorization", good)},
		{"/doc", header("Authorization", "Basic "+good)},
		{"/doc", header("Authorization", "Bearer Bearer "+good)},
		{"/doc", header("Sec-WebSocket-Protocol", good)},
		{"/doc", header("Sec-WebSocket-Protocol", good+", access_token")},
	} {
		h := cluster.Shake(t, n.Addr, m.target, m.header)
		if h.Code != 4001 && h.Code != 4002 && h.Code != 4007 {
			t.Errorf("%.30s %.60v: %d %q, expected a refusal", m.target, m.header, h.Code, h.Reason)
		}
		s.search(t, "mistake "+m.target[:4], fmt.Sprintln(h.Reason, h.Header))
	}
	upgrade := "Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, request := range []string{
		"GET /doc?token=" + good + " HTTP/1.1\r\n\r\n",
		"GET /doc?token=" + good + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"POST /discovery?token=" + good + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"GET /doc?token=" + good + " HTTP/1.1\r\nHost: a\r\n" + upgrade + "Sec-WebSocket-Version: 8\r\n\r\n",
		"GET /doc?token=" + good + " HTTP/1.1\r\nHost: a\r\nPad: " + strings.Repeat("x", 64<<10) + "\r\n\r\n",
		"GET /doc HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + good + "\r\n broken\x00\r\n\r\n",
		good + "\r\n\r\n",
	} {
		answer := send(t, n.Addr, request)
		if !strings.HasPrefix(answer, "HTTP/1.1 4") {
			t.Errorf("%.20q is answered with %.60q", request, answer)
		}
		s.search(t, "a bad request", answer)
	}
	for _, path := range []string{
		"/discovery?documentName=doc?token=" + good, "/discovery?documentName=" + good, "/discovery?documentName=doc&jwt=" + good, "/" + good, "/doc?token=" + good,
	} {
		a := cluster.Get(t, n.HTTP()+path, "")
		if a.Status/100 != 4 {
			t.Errorf("%.30s: %d", path, a.Status)
		}
		s.search(t, path[:5], fmt.Sprintln(string(a.Body), a.Header))
	}
}

// send sends bytes and returns what comes back before the connection ends.
func send(t *testing.T, addr, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, request); err != nil {
		t.Logf("the node had heard enough: %v", err)
	}
	answer, _ := io.ReadAll(c) // a reset ends it too
	return string(answer)
}

// untilTooMany comes with one bad token until it is not looked at any more.
func (s *secrets) untilTooMany(t *testing.T, n *cluster.Node, spell spelling) {
	t.Helper()
	target, header := spell(s.token("stuck", issuer.Claims{"aud": "other"}), "doc")
	for range 100 {
		h := cluster.Shake(t, n.Addr, target, header)
		if h.Status == http.StatusTooManyRequests {
			s.search(t, "429", fmt.Sprintln(h.Header))
			return
		}
	}
	t.Error("a hundred refusals were not too many")
}

// api asks /discovery and /usage with good and bad tokens.
func (s *secrets) api(t *testing.T, n *cluster.Node, spell spelling) {
	t.Helper()
	for what, test := range map[string]struct {
		claims issuer.Claims
		status int
	}{
		"good":           {nil, 200},
		"expired":        {issuer.Claims{"exp": 1}, 401},
		"license region": {issuer.Claims{"dbCode": "aws-mars-1"}, 403},
	} {
		token := s.token("for the API, "+what, test.claims)
		for _, path := range []string{"usage", "discovery"} {
			target, header := spell(token, path)
			join := "?"
			if strings.Contains(target, "?") {
				join = "&"
			}
			a := cluster.Do(t, http.MethodGet, n.HTTP()+target+join+"documentName=doc", "", header)
			if tooMany := path == "discovery" && a.Status == http.StatusTooManyRequests; a.Status != test.status && !tooMany {
				t.Errorf("%s with a token that is %s: %d %s, expected %d", path, what, a.Status, a.Body, test.status)
			}
			s.search(t, path, fmt.Sprintln(string(a.Body), a.Header))
		}
	}
}

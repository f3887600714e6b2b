package frontdoor

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/wait"
)

// fairnessVariable, when not empty, has TestAbuseOfOneTenantHurtsNoOther measure: each
// abuse for a while, with default settings, in a table.
const fairnessVariable = "WSNODE_FAIRNESS"

func measuring() bool { return os.Getenv(fairnessVariable) != "" }

// office is the address of the calm tenant's people, and of some who are not calm.
const office = "198.51.100.1"

// TestAbuseOfOneTenantHurtsNoOther has one kind of abuser after the other at a node, and
// a calm tenant beside each: none of its handshakes is refused, its edits arrive, and so
// does a large one.
func TestAbuseOfOneTenantHurtsNoOther(t *testing.T) {
	if measuring() {
		cluster.WithoutRace(t)
	}
	keys := issuer.New(t)
	flags := []string{
		"--admin-listen", "off", "--log-level", "error",
		"--trusted-proxy", "127.0.0.0/8", // by which the abusers and the office have addresses
	}
	if !measuring() { // an eighth of the defaults: the same rules, in less time
		flags = append(flags, "--max-document-bytes", "33554432", "--max-incoming-bytes", "134217728")
	}
	node := cluster.Serve{Region: "eu-central-1", JWKS: slowIssuer(t, keys) + "/{tenantId}", NATS: cluster.StartNATS(t), Flags: flags}.StartHealthy(t)
	token := func(tenant string, more issuer.Claims) string {
		claims := issuer.Claims{"tenantId": tenant}
		maps.Copy(claims, more)
		return keys.Token(claims)
	}
	u := &unfair{
		Addr: node.Addr, Most: measuring(), Good: token("abuser", nil),
		Stale: token("calm", issuer.Claims{"exp": time.Now().Add(-time.Hour).Unix()}),
		Full:  token("full", issuer.Claims{"limits": map[string]any{"maxConnections": 1}}),
	}
	c := &calm{t: t, node: node, token: token("calm", nil)}
	u.prepare(t, node)
	var rows []fairRow
	all := u.abuses()
	if measuring() { // to compare with
		all = slices.Concat(u.honest(), all)
	}
	for _, a := range all {
		t.Run(a.name, func(t *testing.T) {
			c.t = t
			c.pair() // who says nothing for a minute is cut
			u.takeLastPlace(t, node)
			row := fairRow{abuse: a}
			end := u.begin(t, a)
			for start := time.Now(); len(row.enter) < 3 || time.Since(start) < abuseLasts(); {
				time.Sleep(calmPause)
				row.enter = append(row.enter, c.enter())
				for range 5 {
					row.edit = append(row.edit, c.edit())
				}
			}
			c.large()
			end()
			rows = append(rows, row)
		})
	}
	t.Logf("\n%s", fairTable(rows))
}

// takeLastPlace takes the place that others wait for. Who had it beside the abuse before may
// not have left it yet.
func (u *unfair) takeLastPlace(t *testing.T, node *cluster.Node) {
	t.Helper()
	wait.For(t, "there is a place in the app", func() error {
		s, err := tryJoin(node, "full", u.Full, nil)
		if err == nil {
			t.Cleanup(func() { s.Close() })
		}
		return err
	})
}

// begin has the abusers begin, and returns how they are stopped.
func (u *unfair) begin(t *testing.T, a abuse) (end func()) {
	t.Helper()
	if a.clients == 0 {
		return func() {}
	}
	if measuring() {
		return u.beginApart(t, a)
	}
	s := layTo(u.Addr, u.Good)
	t.Cleanup(s.end)
	kept := s.keep(a.name, a.clients, func(conn net.Conn) error { return a.assault(s, conn) })
	wait.Within(t, patience, "the abuse has begun", func() bool { return kept.begun.Load() >= int64(a.clients) })
	return s.end
}

// calmPause is between two handshakes of the calm tenant, whose people all have one
// address: without a pause they would be no calm tenant, and limited as abusers are.
const calmPause = 75 * time.Millisecond

func abuseLasts() time.Duration {
	if measuring() {
		return 20 * time.Second
	}
	return 500 * time.Millisecond
}

// slowIssuer serves one key set for all tenants, and that of the tenant "slow" only when
// nobody waits for it any more.
func slowIssuer(t *testing.T, keys *issuer.Issuer) string {
	t.Helper()
	answer, err := http.Get(keys.JWKS)
	must(t, err)
	defer answer.Body.Close()
	document, err := io.ReadAll(answer.Body)
	must(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/slow") {
			<-r.Context().Done()
			return
		}
		_, _ = w.Write(document) // who asked may be gone
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// calm is the tenant that does nothing unusual.
type calm struct {
	t              *testing.T
	node           *cluster.Node
	token          string
	document       string
	hand           *writer // the writer's Yjs client
	writer, reader *socket
	edits          uint32
}

// join opens a document from the office. That it is refused is what must not happen.
func (c *calm) join(document string) *socket {
	c.t.Helper()
	s, err := open(c.node.Addr, handshake(c.node.Addr, document, c.token, office), nil)
	if err == nil {
		err = sendAll(s, appendFrame(nil, final|opBinary, askAll))
	}
	if err == nil {
		err = s.waitHolds("\x00\x01")
	}
	if err != nil {
		c.t.Fatalf("a calm client was refused: %v", err)
	}
	return s
}

// pair lets two people meet in a document, a new one each time: what it holds is part of
// what a handshake costs.
func (c *calm) pair() {
	c.document, c.hand = fmt.Sprintf("calm-%d", c.edits), newWriter()
	c.writer, c.reader = c.join(c.document), c.join(c.document)
	c.t.Cleanup(func() { c.writer.Close(); c.reader.Close() })
}

// enter is how long a handshake takes until the document is there.
func (c *calm) enter() time.Duration {
	c.t.Helper()
	start := time.Now()
	s := c.join(c.document)
	defer s.Close()
	return time.Since(start)
}

// edit is how long an edit takes from one to the other.
func (c *calm) edit() time.Duration {
	c.t.Helper()
	c.edits++
	text := fmt.Sprintf("edit %d.", c.edits)
	for _, s := range []*socket{c.writer, c.reader} {
		must(c.t, s.SetDeadline(time.Now().Add(patience)))
	}
	start := time.Now()
	must(c.t, sendAll(c.writer, appendFrame(nil, final|opBinary, c.hand.write(text))))
	must(c.t, c.reader.waitHolds(text))
	return time.Since(start)
}

// large uploads two megabytes, which the node must have room for.
func (c *calm) large() {
	c.t.Helper()
	c.edits++
	end := fmt.Sprintf("the end of %d.", c.edits)
	s := c.join(fmt.Sprintf("large-%d", c.edits))
	defer s.Close()
	must(c.t, sendAll(s, appendFrame(nil, final|opBinary, insertion(c.edits, strings.Repeat("x", 2<<20)+end))))
	must(c.t, sendAll(s, appendFrame(nil, final|opBinary, askAll)))
	if err := s.waitHolds(end); err != nil {
		how := closed{}
		if errors.As(err, &how) {
			c.t.Fatalf("a large edit of the calm tenant was refused: %v", how)
		}
		c.t.Fatal(err)
	}
}

// fairRow is what the calm tenant saw beside one kind of abuse.
type fairRow struct {
	abuse
	enter, edit []time.Duration
}

func fairTable(rows []fairRow) string {
	var b strings.Builder
	b.WriteString("| beside | handshake p50, ms | p99, ms | times | edit p50, ms | p99, ms | times |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	ms := func(d []time.Duration, share float64) float64 {
		slices.Sort(d)
		return float64(d[min(int(share*float64(len(d))), len(d)-1)]) / 1e6
	}
	enter := func(r fairRow) []time.Duration { return r.enter }
	edit := func(r fairRow) []time.Duration { return r.edit }
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s", r.name)
		beside := slices.IndexFunc(rows, func(other fairRow) bool { return r.like != "" && other.like == r.like }) // the honest come first
		for _, what := range []func(fairRow) []time.Duration{enter, edit} {
			p99, times := ms(what(r), 0.99), "–"
			if beside >= 0 {
				times = fmt.Sprintf("%.1f", p99/ms(what(rows[beside]), 0.99))
			}
			fmt.Fprintf(&b, " | %.1f | %.1f | %s", ms(what(r), 0.5), p99, times)
		}
		b.WriteString(" |\n")
	}
	return b.String()
}

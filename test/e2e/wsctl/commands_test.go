package wsctl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

const todo = "aws-eu-west-1/acme/notes/todo"

func TestPinsAreListedWatchedAndReleased(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, "8s")
	w.join(w.eu1, "todo", "milk")
	w.join(w.eu2, "todo", "")
	w.join(w.us1, "a b/ü", "")

	type pin struct {
		Document, State, Region string
		Nodes                   []string
	}
	var pins []pin
	w.ctl("pins", "-o", "json").json(&pins)
	slices.SortFunc(pins, func(a, b pin) int { return strings.Compare(a.Document, b.Document) })
	if len(pins) != 2 || pins[0].Document != "aws-eu-west-1/acme/notes/a b/ü" || pins[0].Region != "us-east-1" || pins[1].Document != todo || len(pins[1].Nodes) != 2 {
		t.Errorf("%+v", pins)
	}
	w.ctl("pins", "list", "--region", "us-east-1").must().says("a b/ü", "us-1")
	if out := w.ctl("pins", "list", "--state", "orphaned").must().out; strings.Count(out, "\n") != 1 {
		t.Errorf("orphans: %s", out)
	}
	w.ctl("pins", "list", "--state", "odd").exits(2).says("--state")
	for _, spelling := range []string{"acme/notes/todo", "acme::notes::todo", todo} {
		w.ctl("pins", "get", spelling, "-o", "wide").must().says("live", "eu-1", "EPOCH")
	}
	w.ctl("pins", "get", "acme/notes/nothing").exits(3)
	w.ctl("pins", "get", "nothing").exits(2)

	watch := w.watch("pins", "watch", "--tenant", "acme")
	watch.WaitLine(func(line string) bool { return strings.Contains(line, todo) })
	c := w.join(w.eu1, "brief", "")
	watch.WaitLine(func(line string) bool {
		return strings.Contains(line, "notes/brief") && strings.Contains(line, "live")
	})
	c.Destroy()
	watch.WaitLine(func(line string) bool {
		return strings.Contains(line, "notes/brief") && strings.Contains(line, "grace")
	})
	watch.WaitLine(func(line string) bool {
		return strings.Contains(line, "notes/brief") && strings.Contains(line, "free")
	})

	w.ctl("pins", "release", "acme/notes/todo", "--yes").exits(5).says("live", "nothing was changed")
	w.ctl("pins", "release", "acme/notes/nothing", "--yes").exits(3)
	last := w.join(w.eu1, "last", "")
	last.Destroy()
	eventually(t, "the grace period of last runs", func() bool {
		return strings.Contains(w.ctl("pins", "list", "--state", "grace").out, "notes/last")
	})
	w.ctlWith("n\n", "pins", "release", "acme/notes/last").exits(5).says("[y/N]", "nothing was changed")
	w.ctlWith("y\n", "pins", "release", "acme/notes/last").must().says("released")
	w.ctl("pins", "get", "acme/notes/last").exits(3)

	// The nodes are told and pin the document again; nobody loses anything.
	w.ctl("pins", "release", "acme/notes/todo", "--force", "--yes").must()
	eventually(t, "the document is pinned again", func() bool { return w.ctl("pins", "get", "acme/notes/todo").code == 0 })
	w.join(w.eu2, "todo", "").WaitText("milk")
}

// watch starts a command that runs until it is interrupted, which its cleanup
// does: it must end without an error.
func (w *world) watch(args ...string) *cluster.Process {
	w.t.Helper()
	flags := []string{"--nats-url", w.euNATS, "--nats-url", w.usNATS}
	return cluster.Run(w.t, "wsctl-"+args[0], cluster.Binary(w.t, "./cmd/wsctl"), append(args, flags...)...)
}

type session struct {
	Session, Document, Remote, Node, UserAgent string
	FramesIn, BytesOut                         int
}

func (w *world) sessions(flags ...string) (list []session) {
	w.t.Helper()
	w.ctl(append([]string{"sessions", "list", "-o", "json"}, flags...)...).json(&list)
	return list
}

func TestSessionsAreListedWatchedAndEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	watch := w.watch("sessions", "watch", "--tenant", "acme", "--interval", "100ms", "-o", "json")
	ann := w.join(w.eu1, "todo", "milk")
	bob := w.join(w.eu2, "todo", "")
	far := w.join(w.us1, "far", "")
	watch.WaitLine(func(line string) bool {
		return strings.Contains(line, `"joined"`) && strings.Contains(line, "notes/far")
	})

	list := w.sessions()
	if len(list) != 3 {
		t.Fatalf("%+v", list)
	}
	for _, s := range list {
		if !strings.HasPrefix(s.Session, s.Node+"/") || !strings.HasPrefix(s.Remote, "127.0.0.1:") || s.FramesIn == 0 || s.BytesOut == 0 {
			t.Errorf("%+v", s)
		}
	}
	for flags, expected := range map[string]int{
		"--document acme/notes/todo": 2, "--document todo": 2, "--node us-1": 1, "--remote 127.0.0.1": 3, "--remote 192.0.2.1": 0,
		"--tenant other": 0, "--app notes": 3, "--license aws-us-east-1": 0, "--document far --node eu-1": 0,
	} {
		if got := w.sessions(strings.Fields(flags)...); len(got) != expected {
			t.Errorf("%s: %+v, expected %d", flags, got, expected)
		}
	}
	w.ctl("sessions", "list", "-o", "wide").must().says("USER AGENT", "eu-central-1")
	w.ctl("sessions", "list", "--node", "nobody").exits(3)

	w.ctl("sessions", "kick").exits(2)
	w.ctl("sessions", "kick", "eu-1/zzzz", "--yes").exits(3)
	w.ctl("sessions", "kick", "--document", "todo").exits(5).says("End 2 sessions", "--yes")
	w.ctl("sessions", "kick", "--document", "todo", "--code", "1000", "--yes").exits(2)
	w.ctl("sessions", "kick", "--document", "todo", "--code", "4000", "--permanent", "--yes").exits(2)
	at := slices.IndexFunc(list, func(s session) bool { return s.Node == "eu-1" })
	w.ctl("sessions", "kick", list[at].Session, "--code", "4321", "--reason", "out with you", "--yes").must().says("ended 1 session")
	if closed := ann.WaitClosed(4321); closed.Reason != "out with you" {
		t.Errorf("%+v", closed)
	}
	watch.WaitLine(func(line string) bool {
		return strings.Contains(line, `"left"`) && strings.Contains(line, `4321`)
	})
	ann.WaitSynced()
	w.ctl("sessions", "kick", "--document", "todo", "--permanent", "--yes").must().says("ended 2 sessions")
	ann.WaitClosed(4403)
	bob.WaitClosed(4403)
	eventually(t, "both stay away", func() bool { return len(w.sessions("--document", "todo")) == 0 })
	far.MustStay(time.Second)
	if got := len(w.sessions()); got != 1 {
		t.Errorf("%d sessions are left", got)
	}
}

func TestAClientsRefusalIsExplainedByTwoCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	watch := w.watch("refusals", "watch", "--interval", "100ms")
	watch.WaitLine(func(line string) bool { return strings.Contains(line, "REASON") })
	expired := w.mint("--ttl", "-1h")
	for range 3 {
		cluster.Shake(t, w.eu2.Addr, "/todo?token="+expired, nil)
	}
	readers := w.mint("--document", "other")
	cluster.Shake(t, w.us1.Addr, "/todo?token="+readers, nil)
	watch.WaitLine(func(line string) bool { return strings.Contains(line, "Forbidden: document") })

	type refusal struct {
		Document, Remote, Reason, Detail, Node string
		Code, Count                            int
	}
	var list []refusal
	w.ctl("refusals", "list", "--document", "todo", "-o", "json").json(&list)
	if len(list) != 2 || list[0].Code != 4002 || list[0].Count != 3 || list[0].Node != "eu-2" || list[0].Reason != "Invalid token: expired" ||
		list[1].Code != 4003 || list[1].Document != todo || list[1].Remote != "127.0.0.1" {
		t.Errorf("%+v", list)
	}
	w.ctl("refusals", "list", "--code", "4003").must().says("Forbidden: document", "us-1")
	w.ctl("refusals", "list", "--tenant", "acme", "--remote", "127.0.0.1", "-o", "wide").must().says("connect")

	w.ctl("trace", "todo", "--token", expired).exits(1).says("token", "4002", "expired")
	w.ctl("trace", "todo", "--token-file", w.write("readers.jwt", []byte(readers))).exits(1).says("4003 Forbidden: document")
	w.ctl("trace", "todo", "--token-file", "token.jwt").must().says("free", "admitted")
	w.ctl("trace", "a?b", "--token-file", "token.jwt").exits(1).says("4007")

	// What a client sends is no terminal's business, and no token is shown.
	w.ctl("trace", w.token).exits(2)
	w.ctl("token", "inspect", w.token+"x", "--jwks-url", w.jwks).exits(6).says("refused")
}

func TestATraceTakesTheWayOfAConnect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join(w.eu2, "todo", "milk")
	w.ctl("trace", "acme/notes/todo").must().says("eu-1 in eu-central-1", "us-1 in us-east-1", "admitted", "4009 REDIRECT:ws://"+w.eu1.Addr+"/todo", "history", "room")
	type trace struct {
		Node  string
		Code  int
		Steps []struct {
			Name, Detail string
			OK           bool
		}
	}
	var traces []trace
	w.ctl("trace", "acme/notes/todo", "--all", "-o", "json").json(&traces)
	if len(traces) != 3 || traces[0].Code != 0 || traces[2].Code != 4009 {
		t.Errorf("%+v", traces)
	}
	w.ctl("trace", "acme/notes/new").exits(2).says("license region")
	w.ctl("trace", "aws-us-east-1/acme/notes/new", "--node", "us-1").must().says("would claim", "admitted")
	w.ctl("trace", "aws-us-west-2/acme/notes/new").exits(1).says("4003 Forbidden: license region")

	limited := w.mint("--max-connections", "1")
	eventually(t, "the limit shows", func() bool {
		r := w.ctl("trace", "todo", "--token", limited, "--node", "eu-1")
		return r.code == 1 && strings.Contains(r.out, "4004 Connection limit exceeded: 1")
	})
	if pins := w.ctl("pins", "-o", "json").must().out; strings.Contains(pins, "notes/new") {
		t.Errorf("a trace pinned something: %s", pins)
	}
}

func TestDocumentsAreShownAndExported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.join(w.eu1, "todo", "milk 🥛 and bread")
	w.join(w.eu2, "todo", "").WaitText("milk 🥛 and bread")
	c.Delete(0, 8)
	w.ctl("docs", "list", "-o", "wide").must().says(todo, "eu-1", "eu-2", "MESSAGES")
	w.ctl("docs", "get", "acme/notes/todo").must().says("live", "eu-1", "eu-2")
	type stat struct {
		Node                         string
		Bytes, Structs, Writers      int
		DurableMS                    float64 `json:"durableMs"`
		StateVector                  []struct{ Client, Clock uint64 }
		History                      struct{ Messages int }
		Sessions, Peers, Edits, Held int
	}
	var stats []stat
	eventually(t, "the nodes agree on the document", func() bool {
		stats = nil
		w.ctl("docs", "stat", "acme/notes/todo", "-o", "json").json(&stats)
		return len(stats) == 2 && len(stats[0].StateVector) == len(stats[1].StateVector) && stats[0].Structs == stats[1].Structs
	})
	if s := stats[0]; s.Node != "eu-1" || s.Bytes == 0 || s.Writers == 0 || s.History.Messages == 0 || s.DurableMS <= 0 || s.Sessions != 1 || s.Peers != 1 || s.Edits == 0 {
		t.Errorf("%+v", s)
	}
	w.ctl("docs", "stat", "acme/notes/todo").must().says("state vector", "history", "durable")
	w.ctl("docs", "stat", "acme/notes/nothing", "--license", "aws-eu-west-1").exits(3)

	file := filepath.Join(w.dir, "todo.yjs")
	w.ctl("docs", "export", "acme/notes/todo", "--file", file).must().says("wrote")
	w.ctl("docs", "export", "acme/notes/todo", "--file", file).exits(5).says("exists")
	w.ctl("docs", "export", "acme/notes/todo", "--file", file, "--force").must()
	update, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if out := w.ctl("docs", "export", "acme/notes/todo").must().out; !bytes.Equal([]byte(out), update) {
		t.Errorf("%d bytes to standard output, %d into the file", len(out), len(update))
	}
	script := `import * as Y from 'yjs'; import fs from 'node:fs'; const doc = new Y.Doc();
		Y.applyUpdate(doc, fs.readFileSync(process.argv[1])); process.stdout.write(doc.getText('text').toString())`
	node := exec.Command("node", "--input-type=module", "-e", script, file)
	node.Dir = yjs.Dir()
	text, err := node.Output()
	if err != nil || string(text) != "and bread" {
		t.Errorf("Y.applyUpdate reads %q, %v", text, err)
	}
}

func TestNodesAreShownAndDrained(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clients := []*yjs.Client{w.join(w.eu2, "todo", "milk"), w.join(w.eu2, "other", "")}
	type node struct {
		Node, Region, State    string
		Reached                bool
		Connections, Documents int
		Leases                 []struct{ License string }
	}
	var nodes []node
	w.ctl("nodes", "list", "-o", "json").json(&nodes)
	if len(nodes) != 3 || nodes[1].Node != "eu-2" || nodes[1].Connections != 2 || nodes[1].Documents != 2 || nodes[2].Region != "us-east-1" {
		t.Errorf("%+v", nodes)
	}
	for _, n := range nodes {
		if !n.Reached || n.State != "ready" || len(n.Leases) != 2 {
			t.Errorf("%+v", n)
		}
	}
	w.ctl("nodes", "list", "--region", "us-east-1").must().says("us-1", "2/2")
	w.ctl("nodes", "get", "eu-2").must().says("connections", "aws-eu-west-1", "lease")
	w.ctl("nodes", "get", "eu-3").exits(3)
	// A region that wsctl is not pointed at is known by its leases.
	w.ctl("nodes", "list", "--nats-url", w.euNATS).must().says("eu-1", "us-1")

	w.ctl("nodes", "drain").exits(2)
	w.ctl("nodes", "drain", "eu-2").exits(5).says("Drain eu-2 with 2 sessions")
	if a := cluster.Get(t, w.admin["eu-2"]+"/readyz", ""); a.Status != http.StatusOK {
		t.Errorf("ready: %d", a.Status)
	}
	w.ctl("nodes", "drain", "eu-2", "--spread", "0s", "--wait", "--yes").must().says("drained")
	for _, c := range clients {
		if closed := c.WaitClosed(1012); closed.Reason != "Service restart" {
			t.Errorf("%+v", closed)
		}
	}
	w.ctl("nodes", "list").must().says("draining")
	w.ctl("trace", "acme/notes/todo", "--license", "aws-eu-west-1", "--node", "eu-2").exits(1).says("1012")
	if a := cluster.Get(t, w.admin["eu-2"]+"/readyz", ""); a.Status != http.StatusServiceUnavailable || !strings.Contains(string(a.Body), "draining") {
		t.Errorf("ready while draining: %d %s", a.Status, a.Body)
	}
	if a := cluster.Get(t, w.admin["eu-2"]+"/livez", ""); a.Status != http.StatusOK {
		t.Errorf("live while draining: %d", a.Status)
	}
}

func TestALostNodeAndALostRegistryAreSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join(w.us1, "todo", "")
	w.us1.Kill()
	eventually(t, "the pin of a node that was killed is an orphan", func() bool {
		return strings.Contains(w.ctl("pins", "list", "--state", "orphaned").out, "notes/todo")
	})
	w.ctl("pins", "release", "acme/notes/todo", "--yes").must()
	w.ctl("check").must()

	w.eu2.Kill()
	w.ctl("nodes", "list").must().says("eu-2", "no answer")

	// Without the registries wsctl still sees the nodes; here they are on a NATS that
	// it is not pointed at and that does not exist.
	gone := "aws-eu-west-1=nats://" + cluster.FreeAddress(t)
	w.ctl("nodes", "list", "--registry", gone).exits(4).says("eu-1", "leases of aws-eu-west-1")
	w.ctl("check", "--registry", gone).exits(6).says("wrong", "aws-eu-west-1")
	w.ctl("pins", "list", "--registry", gone, "--timeout", "1s").exits(4)
	w.ctl("pins", "list", "--nats-url", "nats://"+cluster.FreeAddress(t)).exits(4)
	w.ctl("nodes", "list", "--nats-url", w.usNATS).exits(4).says("no node answers")
}

func TestRegionsAreListedAndSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ctl("regions", "list", "-o", "wide").must().says("eu-central-1", "live", "ws://"+w.us1.Addr, "aws-us-east-1")
	c := w.join(w.us1, "far", "")
	w.ctl("discover", "far", "--token-file", "token.jwt").must().says("us-east-1", "ws://"+w.us1.Addr+"/far", "false")
	w.ctl("discover", "new", "--token-file", "token.jwt", "--url", w.eu1.HTTP()).must().says("eu-central-1", "true")
	w.ctl("discover", "far", "--url", w.eu1.HTTP()).exits(1).says("401")
	w.ctl("discover", "far", "--token", w.token, "--url", "http://"+cluster.FreeAddress(t)).exits(4)

	w.ctl("regions", "set", "us-east-1", "https://us.example").exits(2)
	w.ctl("regions", "set", "aws-us-east-1", "wss://us.example").exits(2)
	w.ctl("regions", "set", "us-east-1", "wss://us.example").exits(5)
	w.ctl("regions", "set", "us-east-1", "wss://us.example/", "--yes").must()
	w.ctl("regions", "list").must().says("wss://us.example")
	eventually(t, "nodes send clients to the new URL", func() bool {
		return strings.Contains(w.ctl("discover", "far", "--token-file", "token.jwt", "--url", w.eu1.HTTP()).out, "wss://us.example/far")
	})
	c.MustStay(time.Second)
}

func TestTheRegistryCheckFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ctl("check").must().says("clock", "latency", "replicas", "weak", "fsync", "unknown", "history replicas", "wsnode-history-0")
	w.ctl("registry", "check").must().says("wsctl registry check is wsctl check now", "latency")
	w.ctl("check", "--monitor", w.monitor).must().says("every write is synced")
	_, unsynced := startNATS(t, "2m")
	w.ctl("check", "--monitor", unsynced).exits(6).says("synced every", "sync_interval: always", "wrong")
	type finding struct {
		License, Check, Result, Mend string
		Figures                      map[string]float64
	}
	var findings []finding
	w.ctl("check", "-o", "json").json(&findings)
	for _, f := range findings {
		if f.Result != "ok" && f.Mend == "" {
			t.Errorf("nobody says how to mend %+v", f)
		}
		for check, figure := range map[string]string{"latency": "medianMs", "clock": "uncertainMs", "replicas": "replicas", "storage": "usedBytes", "leases": "nodes"} {
			if f.Check == check && f.Figures[figure] <= 0 {
				t.Errorf("no %s in %+v", figure, f)
			}
		}
	}
	// A lease that is there although it has expired, as after a kill of servers that
	// do not sync.
	nc, err := nats.Connect(w.euNATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	const gone = "$KV.wsnode-aws-eu-west-1.lease.ap-south-1.gone"
	if _, err := nc.Request(gone, []byte(`{"region":"ap-south-1","lease":"ap-south-1/x","ttl":-60}`), 20*time.Second); err != nil {
		t.Fatal(err)
	}
	w.ctl("check").exits(6).says("expiry", "0 pins and 1 lease are there after their time")
	if _, err := nc.Request("$JS.API.STREAM.PURGE.KV_wsnode-aws-eu-west-1", []byte(`{"filter":"`+gone+`"}`), 20*time.Second); err != nil {
		t.Fatal(err)
	}
	w.ctl("check").must()
	// A second registry of a license region, on the other cluster.
	p := cluster.RunWsnode(t, "serve", "--region", "us-east-2", "--node", "us-2", "--listen", cluster.FreeAddress(t), "--public-url", "ws://us-2.example",
		"--nats-url", w.usNATS, "--registry", "aws-us-east-1="+w.usNATS, "--jwks-url", w.jwks, "--drain-spread", "0s", "--admin-listen", "off")
	p.WaitLine(func(line string) bool { return strings.Contains(line, "msg=ready") })
	w.ctl("check").exits(6).says("only one", "pins every document by itself", w.usNATS)
}

// A node that is set up with another cluster's NATS, but with its region's name, must
// not take clients: they would not meet those of the other nodes.
func TestANodeOnAnotherClusterThanItsRegionIsFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address, admin := cluster.FreeAddress(t), cluster.FreeAddress(t)
	p := cluster.RunWsnode(t, "serve", "--region", "eu-central-1", "--node", "eu-3", "--listen", address, "--public-url", "ws://eu-3.example",
		"--nats-url", w.usNATS, "--registry", "aws-eu-west-1="+w.euNATS, "--jwks-url", w.jwks, "--drain-spread", "0s", "--admin-listen", admin)
	p.WaitLine(func(line string) bool {
		return strings.Contains(line, "do not belong together") && strings.Contains(line, "eu-1")
	})
	for url, want := range map[string]int{
		"http://" + address + "/health": 503, "http://" + admin + "/readyz": 503, w.eu1.HTTP() + "/health": 200,
	} {
		answer, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s answers %d, expected %d", url, answer.StatusCode, want)
		}
	}
	w.ctl("check").exits(6).says("eu-3", "do not belong together")
}

func TestTokensAreMintedAndReadAndNeverShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ctl("token", "inspect", "--token-file", "token.jwt").must().says("tenantId", "acme", "ES256", "not judged")
	w.ctlWith(w.token, "token", "inspect", "--jwks-url", w.jwks).must().says("good until")
	expired := w.mint("--ttl", "-1h", "--access", "readonly", "--document", "notes/*", "--max-documents", "7", "--domain", "app.example")
	w.ctl("token", "inspect", expired, "--jwks-url", w.jwks).exits(6).says("4002 Invalid token: expired", "readonly", "notes/*", "app.example")
	other := w.mint("--audience", "https://sync.example", "--scope", "sync:write")
	w.ctl("token", "inspect", other, "--jwks-url", w.jwks).exits(6).says("4002 Invalid token: audience")
	w.ctl("token", "inspect", other, "--jwks-url", w.jwks, "--audience", "https://sync.example").exits(6).says("4002 Invalid token: scope")
	w.ctl("token", "inspect", other, "--jwks-url", w.jwks, "--audience", "https://sync.example", "--scope", "sync:write").must().says("good until")
	w.ctl("token", "inspect", w.mint("--audience", "https://sync.example"), "--jwks-url", w.jwks, "--audience", "https://sync.example").must().says("good until")
	w.ctl("token", "inspect", "nonsense").exits(2)
	w.ctl("token", "mint", "--key", "token.jwt").exits(2).says("--key")
	w.ctl("token", "--dev-url", "http://"+cluster.FreeAddress(t)).exits(4)
	var minted struct{ Token string }
	w.ctl("token", "mint", "--key", w.key, "-o", "json").json(&minted)
	cluster.Shake(t, w.eu1.Addr, "/todo", http.Header{"Authorization": {"Bearer " + minted.Token}})
	for _, args := range [][]string{
		{"trace", "todo", "--token", w.token, "--node", "nobody"},
		{"trace", "todo", "--token", w.token, "--nats-url", "nats://" + cluster.FreeAddress(t)},
		{"discover", "todo", "--token", w.token, "--url", "http://" + cluster.FreeAddress(t)},
		{"pins", "get", w.token}, {"sessions", "kick", w.token}, {"nodes", "get", w.token}, {"token", "inspect", w.token, "--jwks-url", "http://" + cluster.FreeAddress(t)},
		{"docs", "stat", w.token}, {"regions", "set", w.token, w.token}, {w.token}, {"--" + w.token},
	} {
		if r := w.ctl(args...); r.code == 0 { // ctl checks that none is printed
			t.Errorf("%q succeeded", args)
		}
	}
}

func TestTopShowsNodesAndBusyDocuments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.join(w.eu1, "todo", "")
	top := w.watch("top", "--interval", "200ms", "-o", "json")
	for i := range 20 {
		c.Insert(-1, fmt.Sprint(i))
	}
	top.WaitLine(func(line string) bool {
		var v struct {
			Nodes []struct {
				Node  string
				Rates struct{ EditsIn float64 }
			}
			Documents []struct {
				Document       string
				EditsPerSecond float64
			}
		}
		return json.Unmarshal([]byte(line), &v) == nil && len(v.Nodes) == 3 && len(v.Documents) > 0 && v.Documents[0].EditsPerSecond > 0
	})
	w.ctl("top", "--once", "--interval", "200ms").must().says("3 nodes, 1 connection", "eu-1", todo)
	w.ctl("top", "--interval", "1ms").exits(2)
}

func TestCompletionKnowsWhatIsThereNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join(w.eu1, "todo", "")
	complete := func(args ...string) string { return w.ctl(append([]string{"__complete"}, args...)...).must().out }
	for _, c := range []struct {
		args     []string
		expected string
	}{
		{[]string{"pins", "get", ""}, todo},
		{[]string{"docs", "stat", "acme/"}, "acme/notes/todo"},
		{[]string{"nodes", "drain", "us"}, "us-1"},
		{[]string{"nodes", "get", ""}, "eu-2"},
		{[]string{"sessions", "kick", "eu-1/"}, "eu-1/"},
		{[]string{"sessions", "list", "--tenant", ""}, "acme"},
		{[]string{"sessions", "list", "--node", "eu"}, "eu-1"},
		{[]string{"pins", "list", "--license", ""}, "aws-us-east-1"},
		{[]string{"regions", "set", ""}, "us-east-1"},
		{[]string{"pins", "list", "--state", ""}, "orphaned"},
		{[]string{"-o", ""}, "wide"},
	} {
		if out := complete(c.args...); !strings.Contains(out, c.expected) {
			t.Errorf("%q: %q has no %s", c.args, out, c.expected)
		}
	}
	w.ctl("completion", "bash").must().says("wsctl")
}

func TestContextsOfTheNATSCommandAreTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	folder := filepath.Join(w.dir, "config", "nats", "context")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"eu":  `{"description": "Europe", "url": "` + w.euNATS + `", "color_scheme": "green"}`,
		"us":  `{"url": "` + w.usNATS + `"}`,
		"nsc": `{"url": "` + w.euNATS + `", "nsc": "nsc://o/a/u"}`,
	} {
		if err := os.WriteFile(filepath.Join(folder, name+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.ctl("nodes", "list", "--context", "eu", "--context", "us").must().says("eu-1", "us-1", "2/2")
	w.ctl("nodes", "list", "--context", filepath.Join(folder, "us.json"), "--registry", "aws-eu-west-1=@eu").must().says("us-1")
	w.ctl("nodes", "list", "--context", "nowhere").exits(2).says("--context")
	w.ctl("nodes", "list", "--context", "nsc").exits(2).says("nsc is not supported")
	w.ctl("nodes", "list", "--context", "eu", "--nats-url", w.euNATS).exits(2)
	if out := w.ctl("__complete", "--context", "").must().out; !strings.Contains(out, "eu\n") {
		t.Errorf("contexts: %q", out)
	}
}

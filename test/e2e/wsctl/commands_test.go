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

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
	"github.com/wsnode/wsnode/test/wait"
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
	wait.Until(t, "the grace period of last runs", func() bool {
		return strings.Contains(w.ctl("pins", "list", "--state", "grace").out, "notes/last")
	})
	w.ctlWith("n\n", "pins", "release", "acme/notes/last").exits(5).says("[y/N]", "nothing was changed")
	w.ctlWith("y\n", "pins", "release", "acme/notes/last").must().says("released")
	w.ctl("pins", "get", "acme/notes/last").exits(3)

	// The nodes are told and pin the document again; nobody loses anything.
	w.ctl("pins", "release", "acme/notes/todo", "--force", "--yes").must()
	wait.Until(t, "the document is pinned again", func() bool { return w.ctl("pins", "get", "acme/notes/todo").code == 0 })
	w.join(w.eu2, "todo", "").WaitText("milk")
}

// watch starts a command that runs until it is interrupted, which its cleanup
// does: it must end without an error.
func (w *world) watch(args ...string) *cluster.Process {
	w.t.Helper()
	flags := []string{"--nats-url", w.euNATS, "--nats-url", w.usNATS}
	return cluster.Run(w.t, "wsctl-"+args[0], cluster.Binary(w.t, "./cmd/wsctl"), append(args, flags...)...)
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
	wait.Until(t, "the nodes agree on the document", func() bool {
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

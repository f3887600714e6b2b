package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/natsconn"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/test/natstest"
)

// ctl runs wsctl inside the test, pointed at one NATS.
func ctl(t *testing.T, url string, args ...string) (code int, said string) {
	t.Helper()
	var out bytes.Buffer
	code = run(t.Context(), append(args, "--nats-url", url), strings.NewReader(""), &out, &out)
	return code, out.String()
}

// serve answers operators for a node until the test ends.
func serve(t *testing.T, i *natstest.Instance, n control.Node) *control.Server {
	t.Helper()
	s, err := control.Serve(natstest.Connect(t, i), n, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// drainer is a node that may do something when it is drained, and then whenever it
// is asked how it is.
type drainer struct {
	crowd
	drain, asked func()
	drained      atomic.Bool
}

func (d *drainer) StartDrain(time.Duration, time.Duration) {
	d.drained.Store(true)
	if d.drain != nil {
		d.drain()
	}
}

func (d *drainer) Info() control.Info {
	if d.drained.Load() && d.asked != nil {
		d.asked()
	}
	return d.crowd.Info()
}

func TestANodeThatIsSilentIsNotDrained(t *testing.T) {
	i := natstest.Server(t)
	ended := make(chan struct{})
	serve(t, i, &drainer{crowd: crowd{name: "n1"}, asked: func() { <-ended }})
	t.Cleanup(func() { close(ended) })
	code, said := ctl(t, i.URL, "nodes", "drain", "n1", "--wait", "--yes", "--spread", "0s", "--patience", "1500ms", "--timeout", "1s")
	if code != exit.Failed || !strings.Contains(said, "not drained") || !strings.Contains(said, "node n1") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

func TestANodeOnALostNATSIsNotDrained(t *testing.T) {
	i := natstest.Server(t)
	p := natstest.NewProxy(t, i.URL)
	serve(t, i, &drainer{crowd: crowd{name: "n1"}, asked: p.Refuse})
	code, said := ctl(t, p.URL, "nodes", "drain", "n1", "--wait", "--yes", "--spread", "0s", "--patience", "1500ms", "--timeout", "1s")
	if code != exit.Failed || !strings.Contains(said, "not drained") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

func TestANodeThatWasStoppedIsDrained(t *testing.T) {
	i := natstest.Server(t)
	n := &drainer{crowd: crowd{name: "n1"}}
	s := serve(t, i, n)
	var stopping sync.WaitGroup
	n.drain = func() { stopping.Go(s.Close) }
	code, said := ctl(t, i.URL, "nodes", "drain", "n1", "--wait", "--yes", "--spread", "0s")
	if code != 0 || !strings.Contains(said, "drained") {
		t.Errorf("exit code %d: %s", code, said)
	}
	stopping.Wait()
}

// holder is a node that has every document open.
type holder struct{ crowd }

var todo = control.DocumentRow{ID: 1, Document: control.Document{License: "aws-eu-west-1", Tenant: "acme", App: "notes", Name: "todo"}}

func (h holder) Documents(*control.Filter, uint64, int) control.Page[control.DocumentRow] {
	return control.Page[control.DocumentRow]{Rows: []control.DocumentRow{todo}, Next: 1}
}

func (h holder) Busiest(*control.Filter, int) []control.DocumentRow {
	return []control.DocumentRow{todo}
}

func (h holder) Recent(control.RecentRequest) control.Recent { return control.Recent{} }

func (h holder) Stat(_ context.Context, d control.Document) (control.DocumentStat, error) {
	return control.DocumentStat{Node: h.name, DocumentRow: control.DocumentRow{Document: d}}, nil
}

func TestADocumentWhosePinIsNotKnownIsNotSaidToBeFree(t *testing.T) {
	i := natstest.Server(t)
	serve(t, i, holder{crowd{name: "n1"}})
	lost := natstest.NewProxy(t, i.URL)
	lost.Refuse()
	for format, unknown := range map[string]string{"table": "not all is known", "json": `"pin":null`} {
		code, said := ctl(t, i.URL, "docs", "get", "aws-eu-west-1/acme/notes/todo", "-o", format, "--registry", "aws-eu-west-1="+lost.URL, "--timeout", "1s")
		if code != 0 || strings.Contains(said, "free") || !strings.Contains(said, unknown) || !strings.Contains(said, "n1") {
			t.Errorf("exit code %d: %s", code, said)
		}
	}
}

func TestALostNATSHidesNoOther(t *testing.T) {
	i := natstest.Server(t)
	serve(t, i, holder{crowd{name: "n1"}})
	fillRegistry(t, i, "aws-eu-west-1", 1)
	lost := natstest.NewProxy(t, i.URL)
	lost.Refuse()
	for _, c := range []struct {
		command string
		shows   string
		code    int
	}{
		{"nodes list", "n1", exit.Unavailable},
		{"nodes get n1", "n1", 0},
		{"nodes get n2", lost.URL, exit.Unavailable},
		{"docs list", "acme/notes/todo", exit.Unavailable},
		{"docs get aws-eu-west-1/acme/notes/todo", "n1", 0},
		{"top --once --interval 100ms", "n1", 0},
		{"regions list", "wss://eu.example", exit.Unavailable},
		{"pins list", "document-0", exit.Unavailable},
		{"pins get aws-eu-west-1/acme/notes/document-0", "document-0", 0},
		{"pins get acme/notes/document-0", "document-0", 0},
		{"pins get acme/notes/nothing", lost.URL, exit.Unavailable},
		{"pins list --license aws-us-east-1", lost.URL, exit.Unavailable},
		{"regions set eu-central-1 wss://other.example --yes", lost.URL, exit.Unavailable},
		{"check", "KV_wsnode-aws-eu-west-1", exit.Unhealthy},
	} {
		code, said := ctl(t, i.URL, append(strings.Fields(c.command), "--nats-url", lost.URL)...)
		if code != c.code || !strings.Contains(said, c.shows) {
			t.Errorf("%s: exit code %d, expected %d, and %q:\n%s", c.command, code, c.code, c.shows, said)
		}
		if (code != 0 || strings.HasPrefix(c.command, "top")) &&
			!strings.Contains(said, "connect to NATS at "+lost.URL) && !strings.Contains(said, "connect to NATS"+natsconn.At(lost.URL)) {
			t.Errorf("%s does not say what is missing:\n%s", c.command, said)
		}
	}
}

func TestADeniedRequestIsNotTakenForSilence(t *testing.T) {
	i := natstest.Server(t, func(o *server.Options) {
		looks := &server.SubjectPermission{Allow: []string{"$SRV.>", "wsn.c.read.>"}}
		o.Users = []*server.User{{Username: "node", Password: "x"},
			{Username: "reader", Password: "x", Permissions: &server.Permissions{Publish: looks}},
			{Username: "nobody", Password: "x", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"$SRV.>"}}}}}
		o.NoAuthUser = "node"
	})
	serve(t, i, &drainer{crowd: crowd{name: "n1"}})
	for _, c := range []struct{ user, command, says string }{
		{"reader", "nodes drain n1 --yes", `NATS denied it (Publish to "wsn.c.change.drain.n1"): that takes the rights of OPERATOR`},
		{"nobody", "nodes get n1", `NATS denied it (Publish to "wsn.c.read.info.n1"): that takes the rights of READER`},
	} {
		url := strings.Replace(i.URL, "nats://", "nats://"+c.user+":x@", 1)
		if code, said := ctl(t, url, append(strings.Fields(c.command), "--timeout", "1s")...); code != exit.Unavailable || !strings.Contains(said, c.says) {
			t.Errorf("%s: exit code %d, expected %d and %q:\n%s", c.command, code, exit.Unavailable, c.says, said)
		}
	}
}

func TestNodesAreListedWithWhatKeepsOthersFromTheList(t *testing.T) {
	i, bare := natstest.Server(t), natstest.Server(t)
	serve(t, i, holder{crowd{name: "n2"}})
	serve(t, bare, holder{crowd{name: "n3"}})
	fillRegistry(t, i, "aws-eu-west-1", 1) // by n1, which has a lease and does not answer
	lost := natstest.NewProxy(t, i.URL)
	lost.Refuse()
	for _, c := range []struct {
		url, args string
		code      int
		shows     []string
	}{
		{i.URL, "", 0, []string{"n1", "n2"}},
		{i.URL, "--region eu-central-1", 0, []string{"n1", "n2"}},
		{i.URL, "--region nope", exit.NotFound, []string{"no node of region nope"}},
		{i.URL, "--registry foo=" + lost.URL, exit.Unavailable, []string{"n1", "n2", "leases of foo"}},
		{i.URL, "--nats-url " + lost.URL, exit.Unavailable, []string{"n1", "n2", "connect to NATS at " + lost.URL}},
		{bare.URL, "", 0, []string{"n3", "leases are not looked at: no registry on"}},
	} {
		code, said := ctl(t, c.url, append(strings.Fields("nodes list --timeout 1s"), strings.Fields(c.args)...)...)
		if code != c.code {
			t.Errorf("%s: exit code %d, expected %d:\n%s", c.args, code, c.code, said)
		}
		for _, word := range c.shows {
			if strings.Count(said, word) != 1 {
				t.Errorf("%s does not say once %q:\n%s", c.args, word, said)
			}
		}
	}
}

// screen is what wsctl wrote so far.
type screen struct {
	mu    sync.Mutex
	text  strings.Builder
	grown chan struct{} // holds one
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.grown <- struct{}{}:
	default:
	}
	return s.text.Write(p)
}

func (s *screen) wait(t *testing.T, word string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		s.mu.Lock()
		text := s.text.String()
		s.mu.Unlock()
		if strings.Contains(text, word) {
			return
		}
		select {
		case <-s.grown:
		case <-deadline:
			t.Fatalf("never said %q:\n%s", word, text)
		}
	}
}

func TestAWatchedListingSeesNodesComeBack(t *testing.T) {
	i := natstest.Server(t)
	ctx, interrupt := context.WithCancel(t.Context())
	out, ended := &screen{grown: make(chan struct{}, 1)}, make(chan int, 1)
	go func() {
		args := []string{"docs", "list", "-w", "--interval", "100ms", "--nats-url", i.URL}
		ended <- run(ctx, args, strings.NewReader(""), out, out)
	}()
	out.wait(t, "no node answers")
	serve(t, i, holder{crowd{name: "n1"}})
	out.wait(t, "acme/notes/todo")
	interrupt()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d after Ctrl-C", code)
	}
}

func TestARegistryThatFallsSilentAtThePromptIsNotAwaitedForEver(t *testing.T) {
	i := natstest.Server(t)
	fillRegistry(t, i, "aws-eu-west-1", 1)
	for _, command := range []string{
		"pins release aws-eu-west-1/acme/notes/document-0 --force",
		"regions set eu-central-1 wss://other.example",
	} {
		p := natstest.NewProxy(t, i.URL)
		terminal, keys := io.Pipe()
		out, ended := &screen{grown: make(chan struct{}, 1)}, make(chan int, 1)
		go func() {
			ended <- run(t.Context(), append(strings.Fields(command), "--timeout", "2s", "--nats-url", p.URL), terminal, out, out)
		}()
		out.wait(t, "[y/N]")
		p.Cut()
		keys.Write([]byte("y\n"))
		select {
		case code := <-ended:
			if code != exit.Unavailable {
				t.Errorf("%s: exit code %d: %s", command, code, out.text.String())
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s goes on without end", command)
		}
		keys.Close()
	}
}

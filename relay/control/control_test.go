package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.uber.org/goleak"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a node with sessions that exist only as numbers.
type fake struct {
	*fakeStore
	name     docid.NodeID
	sessions int
	state    []byte
	refusals int

	mu      sync.Mutex
	drained time.Duration
	drains  int
	kicked  []control.KickRequest
}

var document = control.Document{License: "aws-eu-west-1", Tenant: "acme", App: "notes", Name: "a.b/ü *>"}

func (f *fake) Info() control.Info {
	return control.Info{Node: f.name, Region: "eu-central-1", Version: "v1.2.3-rc.1", State: control.StateReady}
}

func (f *fake) Sessions(filter *control.Filter, after uint64, limit int) (p control.Page[control.Session]) {
	p.Next = after
	for id := after + 1; id <= uint64(f.sessions); id++ {
		if len(p.Rows) == limit {
			p.More = true
			break
		}
		s := control.Session{ID: id, Document: document, Remote: "192.0.2.1:1234", UserAgent: strings.Repeat("x", rand.IntN(200))}
		if p.Next = id; filter.Takes(s) {
			p.Rows = append(p.Rows, s)
		}
	}
	return p
}

func (f *fake) Documents(*control.Filter, uint64, int) control.Page[control.DocumentRow] {
	return control.Page[control.DocumentRow]{Rows: []control.DocumentRow{{ID: 7, Document: document}}, Next: 7}
}

func (f *fake) Busiest(_ *control.Filter, n int) []control.DocumentRow {
	return make([]control.DocumentRow, n)
}

func (f *fake) Stat(_ context.Context, d control.Document) (control.DocumentStat, error) {
	if d != document {
		return control.DocumentStat{}, control.NotFound("%s is not open here", d)
	}
	return control.DocumentStat{Node: f.name}, nil
}

func (f *fake) Export(d control.Document) ([]byte, error) {
	if d != document {
		return nil, errors.New("disk on fire")
	}
	return f.state, nil
}

func (f *fake) Recent(r control.RecentRequest) (recent control.Recent) {
	for seq := r.AfterRefusal + 1; seq <= uint64(f.refusals); seq++ {
		recent.Refusals.Rows = append(recent.Refusals.Rows, control.Refusal{Seq: seq, Detail: strings.Repeat("x", 2000)})
	}
	recent.Refusals.Next = uint64(f.refusals)
	return recent
}

func (f *fake) Trace(_ context.Context, r control.TraceRequest) control.Trace {
	return control.Trace{Node: f.name, Document: r.Document}
}

func (f *fake) Kick(r control.KickRequest) (control.KickAnswer, error) {
	if r.Filter.Empty() {
		return control.KickAnswer{}, control.Wrong("expected a filter")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kicked = append(f.kicked, r)
	return control.KickAnswer{Sessions: 2}, nil
}

func (f *fake) StartDrain(delay, spread time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drained = delay + spread
	f.drains++
}

// serve runs fakes on one server and returns a client.
func serve(t *testing.T, nodes ...*fake) (*control.Client, *nats.Conn) {
	t.Helper()
	i := natstest.Server(t, func(o *server.Options) { o.MaxPayload = 64 << 10 })
	for _, n := range nodes {
		s, err := control.Serve(natstest.Connect(t, i, nats.NoEcho()), n, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
	}
	nc := natstest.Connect(t, i)
	return control.NewClient(nc, time.Minute), nc
}

func TestNodesAreFoundByNameOrTheirAbsenceIsQuicklyKnown(t *testing.T) {
	c, _ := serve(t, &fake{name: "b"}, &fake{name: "a.1"})
	found, err := c.Nodes(t.Context())
	if err != nil || len(found) != 2 || found[0] != (control.Identity{Node: "a.1", Region: "eu-central-1", Version: "v1.2.3-rc.1"}) {
		t.Errorf("%v %v", found, err)
	}
	none, _ := serve(t)
	start := time.Now()
	if found, err := none.Nodes(t.Context()); err != nil || len(found) != 0 || time.Since(start) > 30*time.Second {
		t.Errorf("%v %v after %v", found, err, time.Since(start))
	}
}

func TestStockNATSToolsSeeTheNodes(t *testing.T) {
	_, nc := serve(t, &fake{name: "n1"})
	answer, err := nc.Request("$SRV.INFO.wsnode", nil, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var info micro.Info
	if err := json.Unmarshal(answer.Data, &info); err != nil {
		t.Fatal(err)
	}
	subjects := map[string]bool{}
	for _, e := range info.Endpoints {
		subjects[e.Subject] = true
	}
	if info.Version != "1.2.3-rc.1" || len(subjects) != 23 || !subjects["wsn.c.read.info.n1"] || !subjects["wsn.c.change.kick.n1"] || !subjects["wsn.c.change.move.n1"] {
		t.Errorf("%+v", info)
	}
}

func TestAListingComesInPagesThatFitIntoMessages(t *testing.T) {
	const sessions = 12_345
	c, _ := serve(t, &fake{name: "n1", sessions: sessions})
	last := uint64(0)
	for s, err := range c.Sessions(t.Context(), "n1", control.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if s.ID != last+1 || s.Document != document {
			t.Fatalf("%d follows %d: %+v", s.ID, last, s)
		}
		last = s.ID
	}
	if last != sessions {
		t.Errorf("%d sessions of %d", last, sessions)
	}
	last = 0
	for s, err := range c.SessionsAfter(t.Context(), "n1", control.Filter{Sessions: []uint64{1, 12_000, 12_300}}, 10) {
		if err != nil || last == 0 && s.ID != 12_000 {
			t.Fatal(s.ID, err)
		}
		last = s.ID
	}
	if last != 12_300 {
		t.Errorf("the last one is %d", last)
	}
}

func TestAListingEndsWhenNobodyWantsMore(t *testing.T) {
	c, _ := serve(t, &fake{name: "n1", sessions: 1_000_000})
	n := 0
	start := time.Now()
	for range c.Sessions(t.Context(), "n1", control.Filter{}) {
		if n++; n == 10 {
			break
		}
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("ten rows of a million took %v", took)
	}
}

func TestAnExportIsTheWholeStateInParts(t *testing.T) {
	state := make([]byte, 1_000_003)
	for i := range state {
		state[i] = byte(rand.IntN(256))
	}
	for _, size := range []int{0, 1, 1 << 15, len(state)} {
		n := &fake{name: "n1", state: state[:size]}
		c, _ := serve(t, n)
		var got bytes.Buffer
		err := c.Export(t.Context(), "n1", document, func(part []byte) error { _, err := got.Write(part); return err })
		if err != nil || !bytes.Equal(got.Bytes(), state[:size]) {
			t.Errorf("%d bytes: got %d, %v", size, got.Len(), err)
		}
	}
}

func TestRefusalsComeInPagesToo(t *testing.T) {
	c, _ := serve(t, &fake{name: "n1", refusals: 300})
	var r control.RecentRequest
	for asked := 0; ; asked++ {
		recent, err := c.Recent(t.Context(), "n1", r)
		if err != nil {
			t.Fatal(err)
		}
		for _, refusal := range recent.Refusals.Rows {
			if refusal.Seq != r.AfterRefusal+1 {
				t.Fatalf("%d follows %d", refusal.Seq, r.AfterRefusal)
			}
			r.AfterRefusal = refusal.Seq
		}
		if !recent.Refusals.More {
			if r.AfterRefusal != 300 || asked == 0 {
				t.Errorf("%d of 300 in %d pages", r.AfterRefusal, asked+1)
			}
			return
		}
	}
}

func TestErrorsSayWhoseTheyAre(t *testing.T) {
	c, nc := serve(t, &fake{name: "n1"})
	other := document
	other.Name = "other"
	_, err := c.Stat(t.Context(), "n1", other)
	var refused *control.Error
	if !errors.As(err, &refused) || refused.Code != control.CodeNotFound || !strings.Contains(err.Error(), "n1") {
		t.Errorf("not found: %v", err)
	}
	err = c.Export(t.Context(), "n1", other, nil)
	if !errors.As(err, &refused) || refused.Code != control.CodeFailed || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("failed: %v", err)
	}
	if _, err = c.Info(t.Context(), "n2"); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("no such node: %v", err)
	}
	answer, err := nc.Request(control.Subject(control.KickVerb, "n1"), []byte("{"), time.Minute)
	if err != nil || answer.Header.Get(micro.ErrorCodeHeader) != "400" {
		t.Errorf("not JSON: %v %v", answer, err)
	}
	if _, err = c.Kick(t.Context(), "n1", control.KickRequest{}); !errors.As(err, &refused) || refused.Code != control.CodeWrong {
		t.Errorf("no filter: %v", err)
	}
}

func TestWhoMayOnlyReadCannotChange(t *testing.T) {
	users := []*server.User{
		{Username: "node", Password: "x"},
		{Username: "reader", Password: "x", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{"$SRV.PING.wsnode", "wsn.c.read.>"}},
		}},
	}
	i := natstest.Server(t, func(o *server.Options) { o.Users = users })
	node := &fake{name: "n1"}
	s, err := control.Serve(natstest.Connect(t, i, nats.UserInfo("node", "x")), node, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	c := control.NewClient(natstest.Connect(t, i, nats.UserInfo("reader", "x"), quiet), 300*time.Millisecond)
	if found, err := c.Nodes(t.Context()); err != nil || len(found) != 1 {
		t.Errorf("%v %v", found, err)
	}
	if _, err := c.Info(t.Context(), "n1"); err != nil {
		t.Error(err)
	}
	if err := c.Drain(t.Context(), "n1", time.Second, time.Second); err == nil {
		t.Error("a reader drained a node")
	}
	if node.mu.Lock(); node.drained != 0 {
		t.Error("the node drains")
	}
	node.mu.Unlock()
}

func TestWhatChangesReachesTheNode(t *testing.T) {
	n := &fake{name: "n1"}
	c, _ := serve(t, n)
	if err := c.Drain(t.Context(), "n1", time.Second, 2*time.Second); err != nil || n.drained != 3*time.Second {
		t.Errorf("%v %v", n.drained, err)
	}
	request := control.KickRequest{Filter: control.Filter{Tenant: "acme"}, Code: 4403, Reason: "out"}
	if answer, err := c.Kick(t.Context(), "n1", request); err != nil || answer.Sessions != 2 || n.kicked[0].Code != 4403 {
		t.Errorf("%v %v %+v", answer, err, n.kicked)
	}
}

func TestAServerThatWasClosedAnswersNobody(t *testing.T) {
	i := natstest.Server(t)
	nc := natstest.Connect(t, i)
	s, err := control.Serve(nc, &fake{name: "n1"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c := control.NewClient(natstest.Connect(t, i), time.Second)
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for {
				if _, err := c.Info(context.Background(), "n1"); err != nil {
					return
				}
			}
		})
	}
	time.AfterFunc(50*time.Millisecond, s.Close)
	asking.Wait()
	if found, err := c.Nodes(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("%v %v", found, err)
	}
	s.Close() // may be called again
}

func TestFilters(t *testing.T) {
	s := control.Session{ID: 5, Document: document, Remote: "[2001:db8::1]:443"}
	for name, c := range map[string]struct {
		filter control.Filter
		takes  bool
	}{
		"empty":           {control.Filter{}, true},
		"tenant":          {control.Filter{Tenant: "acme"}, true},
		"other tenant":    {control.Filter{Tenant: "acm"}, false},
		"app":             {control.Filter{App: "notes"}, true},
		"other app":       {control.Filter{App: "x"}, false},
		"license":         {control.Filter{License: "aws-eu-west-1"}, true},
		"other license":   {control.Filter{License: "aws-us-east-1"}, false},
		"document":        {control.Filter{Document: document.Name}, true},
		"other document":  {control.Filter{Document: "b"}, false},
		"address":         {control.Filter{Remote: "2001:db8::1"}, true},
		"address, port":   {control.Filter{Remote: "[2001:db8::1]:443"}, true},
		"other address":   {control.Filter{Remote: "2001:db8::2"}, false},
		"session":         {control.Filter{Sessions: []uint64{4, 5}}, true},
		"another session": {control.Filter{Sessions: []uint64{4}}, false},
	} {
		if got := c.filter.Takes(s); got != c.takes {
			t.Errorf("%s: %v", name, got)
		}
		if c.filter.Empty() != (name == "empty") {
			t.Errorf("%s: empty %v", name, c.filter.Empty())
		}
	}
	if id, err := control.ParseSessionID(control.SessionID(1 << 52)); err != nil || id != 1<<52 {
		t.Error(id, err)
	}
	if d := control.NewDocument(docid.Document{Tenant: "a", Name: "n"}).Docname(); d.Tenant != "a" || fmt.Sprint(d) != "/a//n" {
		t.Error(d)
	}
}

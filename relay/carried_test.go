package relay

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/apps"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/relay/ystore"
)

func TestADocumentElsewhereIsCarriedOnHocuspocusWire(t *testing.T) {
	w := newRegions(t)
	home, away := w.node(eu, "a"), w.node(us, "b")
	token := w.token(authn.Subject{})
	other := open(t, home, "minutes", token)
	p := connectProvider(t, away, "/")
	p.open("minutes", token)
	p.open("plans", token)
	minutes, plans := p.doc("minutes"), p.doc("plans")
	p.until("one is carried, one is here", func() bool { return minutes.taken == 1 && plans.taken == 1 })
	has(t, other, p.edit("minutes", 7, 0))
	u := typedBy(8, 0)
	if err := other.Write(t.Context(), websocket.MessageBinary, wire.Encode(wire.Update, u).Content()); err != nil {
		t.Fatal(err)
	}
	p.until("edits go both ways, and are acknowledged", func() bool {
		brings, err := minutes.store.Brings(u)
		return err == nil && !brings && minutes.taken == 2
	})
	p.send("minutes", 0, 0, []byte{0}) // forceSync
	p.until("an exchange is as the first was", func() bool { return minutes.taken == 3 && minutes.step1 == 2 })
	if n := len(home.clients.seated()); n != 2 {
		t.Errorf("%d sessions at home", n)
	}
	if s := away.carrier.Stats(); s.Links != 1 || s.Carried != 1 {
		t.Errorf("%+v", s)
	}
	if n := len(away.clients.seated()); n != 1 || away.docs.Len() != 1 {
		t.Errorf("%d sessions and %d documents on the node that carries", n, away.docs.Len())
	}
	// What it typed last arrives though it leaves at once.
	last := p.edit("minutes", 7, 1)
	p.send("minutes", 7)
	has(t, other, last)
	eventually(t, "it is gone at home", func() bool { return len(home.clients.seated()) == 1 && away.carrier.Stats().Links == 0 })
	p.edit("plans", 7, 0)
	p.until("the other document goes on", func() bool { return plans.taken == 2 })
	if len(minutes.granted) != 1 || len(minutes.denied)+len(plans.denied) > 0 || minutes.notTaken > 0 {
		t.Error(p)
	}
}

func TestACarriedDocumentFollowsItsHome(t *testing.T) {
	w := newRegions(t)
	token := w.token(authn.Subject{})
	away := w.node(us, "b")
	second := w.node(eu, "a2")
	first := w.node(eu, "a1")
	open(t, first, "minutes", token)
	p := connectProvider(t, away, "/")
	p.open("minutes", token)
	p.open("plans", token)
	minutes, plans := p.doc("minutes"), p.doc("plans")
	p.until("one is carried, one is here", func() bool { return minutes.taken == 1 && plans.taken == 1 })
	clock, acknowledged := uint64(0), 1
	typing := func(n int) {
		for range n {
			p.edit("minutes", 7, clock)
			clock++
			acknowledged++
		}
	}
	typing(5)
	w.front(eu).cut()
	typing(5)
	p.until("the connection was lost", func() bool { return minutes.taken == acknowledged })
	w.front(eu).lead(second.addr)
	drained := make(chan error, 1)
	go func() { drained <- first.Drain(t.Context(), 0, 0) }()
	typing(5)
	p.until("its node was drained", func() bool { return minutes.taken == acknowledged && minutes.step1 >= 3 })
	if err := <-drained; err != nil {
		t.Error(err)
	}
	typing(1)
	// Nowhere to go for a while: it stays pending, and goes on.
	w.front(eu).lead("")
	w.front(eu).cut()
	typing(5)
	p.edit("plans", 7, 0)
	p.until("the other document goes on", func() bool { return plans.taken == 2 })
	w.front(eu).lead(second.addr)
	p.until("it is back", func() bool { return minutes.taken == acknowledged })
	// Its home becomes this region.
	if err := second.Drain(t.Context(), 0, 0); err != nil {
		t.Error(err)
	}
	typing(5)
	p.until("it is here", func() bool { return minutes.taken == acknowledged && away.docs.Len() == 2 })
	typing(5)
	p.until("it goes on", func() bool { return minutes.taken == acknowledged })
	has(t, open(t, away, "minutes", token), typedBy(7, clock-1))
	if len(minutes.denied)+len(plans.denied) > 0 || len(minutes.granted) != 1 || plans.step1 != 1 || minutes.notTaken > 0 {
		t.Error(p)
	}
}

func TestACarriedSeatEndsForGoodByItsHomesWord(t *testing.T) {
	w := newRegions(t)
	home, away := w.node(eu, "a"), w.node(us, "b")
	token := w.token(authn.Subject{})
	open(t, home, "minutes", token)
	open(t, home, "reading", token)
	p := connectProvider(t, away, "/")
	p.open("minutes", token)
	p.open("reading", w.token(authn.Subject{ReadOnly: true}))
	minutes, reading := p.doc("minutes"), p.doc("reading")
	p.until("both are carried", func() bool { return minutes.taken == 1 && reading.taken == 1 })
	if g := reading.granted; len(g) != 1 || g[0] != "readonly" {
		t.Errorf("granted %q", g)
	}
	p.edit("reading", 7, 0)
	p.until("what may only read is told so", func() bool { return reading.notTaken == 1 })
	p.send("reading", 0, 0, []byte{0})
	p.until("what it brings by an exchange is not taken", func() bool { return reading.notTaken == 2 && reading.step1 == 2 })
	kicked := func(name string) bool {
		answer, err := home.Operators().Kick(control.KickRequest{Filter: control.Filter{Document: name}, Code: 4403, Reason: "enough"})
		return err == nil && answer.Sessions > 0
	}
	if !kicked("minutes") {
		t.Fatal("nobody was kicked")
	}
	p.until("it is told", func() bool { return len(minutes.denied) == 1 && len(minutes.left) == 1 })
	p.edit("minutes", 7, 0)
	p.edit("reading", 7, 1)
	p.until("the other goes on", func() bool { return reading.notTaken == 3 })
	if minutes.taken != 1 || minutes.denied[0] != "enough" || minutes.left[0] != "enough" {
		t.Error(p)
	}
}

func TestAHomesRefusalIsTheClients(t *testing.T) {
	w := newRegions(t)
	home, away := w.node(eu, "a"), w.node(us, "b")
	one := w.token(authn.Subject{Limits: authn.Limits{MaxUsersPerDoc: 1}})
	open(t, home, "minutes", one)
	p := connectProvider(t, away, "/")
	p.open("minutes", one)
	minutes := p.doc("minutes")
	p.until("it is refused", func() bool { return len(minutes.denied) == 1 })
	if minutes.denied[0] != "Document user limit exceeded: 1" || len(minutes.granted) > 0 {
		t.Error(p)
	}
	c := carriedClient(t, away, "minutes?elsewhere=carry", one)
	if code, reason := closeOf(t, c); code != 4008 || reason != "Document user limit exceeded: 1" {
		t.Errorf("%d %q", code, reason)
	}
}

func TestYWebsocketIsRedirectedOrCarriedAsItIsTold(t *testing.T) {
	w := newRegions(t)
	home, redirecting := w.node(eu, "a"), w.node(us, "b")
	away := w.node(us, "c", carrying)
	byApp := w.node(us, "d", func(c *Config) {
		c.Apps = func(docid.AppID) apps.Settings { return apps.Settings{Elsewhere: apps.Carry} }
	})
	token := w.token(authn.Subject{})
	open(t, home, "minutes", token)
	url := "REDIRECT:ws://" + w.front(eu).listener.Addr().String() + "/minutes"
	for name, c := range map[string]struct {
		node    *testNode
		query   string
		carried bool
	}{
		"by default":       {redirecting, "", false},
		"as the node says": {away, "", true},
		"as the app says":  {byApp, "", true},
		"as it says":       {redirecting, "?elsewhere=carry", true},
		"as it says, too":  {away, "?elsewhere=redirect", false},
		"unknown":          {away, "?elsewhere=perhaps", true},
	} {
		t.Run(name, func(t *testing.T) {
			ws := carriedClient(t, c.node, "minutes"+c.query, token)
			if !c.carried {
				if code, reason := closeOf(t, ws); code != 4009 || reason != url {
					t.Errorf("%d %q", code, reason)
				}
				return
			}
			u := typedBy(9, 0)
			if err := ws.Write(t.Context(), websocket.MessageBinary, wire.Encode(wire.Update, u).Content()); err != nil {
				t.Fatal(err)
			}
			has(t, ws, u)
		})
	}
	// Nobody sends one who is silent to another region for nothing.
	ws, _, err := dial(t, redirecting.addr, "/minutes", token, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	if code, _ := closeOf(t, ws); code != 4009 {
		t.Errorf("%d", code)
	}
}

func TestYWebsocketIsCarriedAfterItsHome(t *testing.T) {
	w := newRegions(t)
	token := w.token(authn.Subject{})
	away := w.node(us, "b", carrying)
	second, first := w.node(eu, "a2"), w.node(eu, "a1")
	open(t, first, "minutes", token)
	c := carriedClient(t, away, "minutes", token)
	p := &plain{t: t, conn: c, store: ystore.New(ystore.Limits{})}
	awareness := append([]byte{1}, wire.AppendBytes(nil, append([]byte{1, 7, 1}, wire.AppendBytes(nil, []byte(`{"name":"Ada"}`))...))...)
	p.send(awareness)
	p.edit(7, 0)
	p.ask("one")
	p.until("an edit is saved", func() bool { return p.answers["one"] == 1 })
	w.front(eu).lead(second.addr)
	w.front(eu).cut()
	p.edit(7, 1)
	p.ask("two")
	p.until("an edit is saved at another node", func() bool { return p.answers["two"] == 1 && p.step1 >= 2 })
	eventually(t, "others see who is there", func() bool {
		for _, s := range second.Presence() {
			if s.Client == 7 {
				return true
			}
		}
		return false
	})
	for _, n := range []*testNode{first, second} {
		if err := n.Drain(t.Context(), 0, 0); err != nil {
			t.Error(err)
		}
	}
	p.edit(7, 2)
	p.ask("three")
	p.until("an edit is saved here", func() bool { return p.answers["three"] == 1 && away.docs.Len() == 1 })
	has(t, open(t, away, "minutes", token), typedBy(7, 2))
}

func TestATokenThatHasExpiredMeanwhileIsAskedForAgain(t *testing.T) {
	w := newRegions(t)
	home := w.node(eu, "a")
	verifier := new(forgetful)
	away := w.node(us, "b", carrying, func(c *Config) {
		verifier.Verifier = c.Verifier
		c.Verifier = verifier
	})
	token, better := w.token(authn.Subject{}), w.token(authn.Subject{Extra: map[string]any{"sub": "ada"}})
	open(t, home, "minutes", better)
	p, silent := connectProvider(t, away, "/"), connectProvider(t, away, "/")
	p.renew, silent.renew = better, ""
	p.open("minutes", token)
	silent.open("minutes", token)
	minutes := p.doc("minutes")
	p.until("it is carried", func() bool { return minutes.taken == 1 })
	silent.until("another is", func() bool { return silent.doc("minutes").taken == 1 })
	c := carriedClient(t, away, "minutes", token)
	eventually(t, "y-websocket is", func() bool { return away.carrier.Stats().Links == 3 })
	verifier.forget(token)
	w.front(eu).cut()
	p.edit("minutes", 7, 0)
	p.until("it is back with another token", func() bool { return minutes.taken == 2 })
	if code, reason := closeOf(t, c); code != 4002 || reason != "Invalid token: expired" {
		t.Errorf("%d %q", code, reason)
	}
	silent.until("who has none is told", func() bool { return len(silent.doc("minutes").denied) == 1 })
	if d := silent.doc("minutes").denied[0]; d != "Invalid token: expired" || len(minutes.denied) > 0 {
		t.Error(d, p)
	}
}

func TestNobodyIsCarriedOn(t *testing.T) {
	w := newRegions(t)
	home, away := w.node(eu, "a", carrying), w.node(us, "b", carrying)
	token := w.token(authn.Subject{})
	open(t, home, "minutes", token)
	// The registry sends those who look for eu to us: us does not carry itself round.
	w.front(eu).lead(away.addr)
	p := connectProvider(t, away, "/")
	p.open("plans", token)
	p.open("minutes", token)
	minutes, plans := p.doc("minutes"), p.doc("plans")
	p.until("a misroute is the end", func() bool { return len(minutes.denied) == 1 && plans.taken == 1 })
	if !strings.Contains(minutes.denied[0], "cannot be reached") || len(minutes.granted) > 0 {
		t.Error(p)
	}
	before := w.front(eu).count()
	p.open("minutes", token)
	p.until("there is a pause", func() bool { return len(minutes.denied) == 2 })
	c := carriedClient(t, away, "minutes", token)
	if code, _ := closeOf(t, c); code != 1013 {
		t.Errorf("y-websocket: %d", code)
	}
	if dialled := w.front(eu).count() - before; dialled > 0 {
		t.Errorf("dialled %d times in the pause", dialled)
	}
	p.edit("plans", 7, 0)
	p.until("the other document goes on", func() bool { return plans.taken == 2 })
	if s := away.carrier.Stats(); s.Astray < 2 || s.Carried > 0 {
		t.Errorf("%+v", s)
	}
	// Who is marked and comes to a region that has not the document is told where it is.
	header := http.Header{"Wsnode-Carried": {"v1"}}
	ws, _, err := dial(t, away.addr, "/minutes?elsewhere=carry", token, header)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	if code, _ := closeOf(t, ws); code != 4009 {
		t.Errorf("a client that is carried already: %d", code)
	}
}

func TestAHomeCountsThoseWhoAreCarriedForThemselves(t *testing.T) {
	w := newRegions(t)
	home := w.node(eu, "a", func(c *Config) { c.Limits.Rates.Admitted.Count, c.Limits.Rates.Admitted.Per = 1, time.Hour })
	away := w.node(us, "b", trustLoopback)
	token := w.token(authn.Subject{})
	seated := func(address string) *provider {
		c, _, err := dial(t, away.addr, "/", "", http.Header{"X-Forwarded-For": {address}, "Origin": {"https://app.example"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.CloseNow() })
		p := &provider{t: t, conn: c, docs: map[string]*providerDoc{}}
		p.open("minutes", token)
		return p
	}
	first, _, err := dial(t, home.addr, "/minutes", token, nil) // the address of the node that carries, too
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.CloseNow() }()
	eventually(t, "it is at home", func() bool { return len(home.clients.seated()) == 1 })
	for _, address := range []string{"192.0.2.1", "192.0.2.2"} {
		p := seated(address)
		p.until("an address has a place of its own", func() bool { return p.doc("minutes").taken == 1 })
	}
	remotes := map[string]string{}
	for _, v := range home.clients.seated() {
		remotes[v.remote] = v.origin
	}
	if remotes["192.0.2.1"] != "https://app.example" || remotes["192.0.2.2"] != "https://app.example" {
		t.Errorf("at home they come from %v", remotes)
	}
	again := seated("192.0.2.1")
	again.send("minutes", 1, []byte{0})
	eventually(t, "one of an address whose places are taken is put off", func() bool { return away.carrier.Stats().Failed > 0 })
	if s := home.carrier.Stats(); s.Unverified > 0 || s.Arrived < 3 {
		t.Errorf("%+v", s)
	}
	// A mark that nobody signed makes nobody somebody else.
	mark := fmt.Sprintf("v1 %s x %d %s %s 192.0.2.9 hocuspocus x", license, time.Now().Unix(), us, eu)
	_, answer, err := dial(t, home.addr, "/minutes", token, http.Header{"Wsnode-Carried": {mark}})
	if err == nil || answer == nil || answer.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a forged mark: %v, %v", answer, err)
	}
	if s := home.carrier.Stats(); s.Unverified != 1 {
		t.Errorf("%+v", s)
	}
}

func TestASlowCarriedClientSlowsNobodyAndIsBounded(t *testing.T) {
	const size, messages, bound = 64 << 10, 96, 256 << 10
	w := newRegions(t)
	small := func(c *Config) { c.Sessions.QueueBytes, c.Conns.WriteTimeout = bound, 10*time.Minute }
	home, away := w.node(eu, "a", small), w.node(us, "b", small, carrying)
	token := w.token(authn.Subject{})
	author, reader := open(t, home, "minutes", token), open(t, home, "minutes", token)
	reader.SetReadLimit(-1)
	shortWindow = true // so that little is on the way to who does not read
	slow := carriedClient(t, away, "minutes", token)
	shortWindow = false
	slow.SetReadLimit(-1)
	eventually(t, "it is carried", func() bool { return len(home.clients.seated()) == 3 })
	text := bytes.Repeat([]byte("x"), size)
	for i := range uint64(messages) {
		if err := author.Write(t.Context(), websocket.MessageBinary, wire.Encode(wire.Update, written(7, i*size, text)).Content()); err != nil {
			t.Fatal(err)
		}
	}
	last := written(7, (messages-1)*size, text)
	has(t, reader, last)
	eventually(t, "the node that carries has as much as it takes", func() bool { return away.carrier.Stats().Queued > bound })
	if s := away.carrier.Stats(); s.Queued > bound+2*size {
		t.Errorf("%d bytes wait at the node that carries, with a bound of %d", s.Queued, bound)
	}
	has(t, slow, last)
}

func TestStatelessMessagesGoToThoseWhoAreCarriedToo(t *testing.T) {
	w := newRegions(t)
	broadcast := func(c *Config) { c.Stateless = apps.StatelessBroadcast }
	home, away := w.node(eu, "a", broadcast), w.node(us, "b")
	token := w.token(authn.Subject{})
	here, there := connectProvider(t, home, "/"), connectProvider(t, away, "/")
	here.open("minutes", token)
	here.until("it is at home", func() bool { return here.doc("minutes").taken == 1 })
	there.open("minutes", token)
	there.until("another is carried", func() bool { return there.doc("minutes").taken == 1 })
	plain := carriedClient(t, home, "minutes", token)
	here.send("minutes", 5, "hello")
	there.until("it hears", func() bool { return len(there.doc("minutes").stateless) == 1 })
	there.send("minutes", 5, "goodbye")
	here.until("it is heard", func() bool { return len(here.doc("minutes").stateless) == 1 })
	// y-websocket has no such message: what looks like one is ignored, malformed or not.
	for _, message := range [][]byte{wire.EncodeStateless([]byte("forged")).Content(), {121, 9}} {
		if err := plain.Write(t.Context(), websocket.MessageBinary, message); err != nil {
			t.Fatal(err)
		}
	}
	u := typedBy(9, 0)
	if err := plain.Write(t.Context(), websocket.MessageBinary, wire.Encode(wire.Update, u).Content()); err != nil {
		t.Fatal(err)
	}
	has(t, plain, u)
	if h, a := here.doc("minutes").stateless, there.doc("minutes").stateless; h[0] != "goodbye" || a[0] != "hello" || home.figures().Rooms.Stateless["passed"] != 2 {
		t.Error(h, a)
	}
}

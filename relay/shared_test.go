package relay

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/relay/ystore"
)

// provider is a client that speaks as Hocuspocus' providers do.
type provider struct {
	t    *testing.T
	conn *websocket.Conn
	docs map[string]*providerDoc // by address

	renew string // the token that it sends when it is asked for another; "": it does not hear that
}

// providerDoc is what a provider was sent for an address.
type providerDoc struct {
	store              *ystore.Store
	granted, denied    []string
	left               []string // reasons for which the server had it leave
	stateless          []string
	taken, notTaken    int
	step1, awarenesses int
}

func connectProvider(t *testing.T, n *testNode, target string, token ...string) *provider {
	t.Helper()
	c, _, err := dial(t, n.addr, target, strings.Join(token, ""), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return &provider{t: t, conn: c, docs: map[string]*providerDoc{}}
}

func (p *provider) doc(address string) *providerDoc {
	d := p.docs[address]
	if d == nil {
		d = &providerDoc{store: ystore.New(ystore.Limits{})}
		p.docs[address] = d
	}
	return d
}

// send sends a message: its type, and what follows.
func (p *provider) send(address string, message ...any) {
	p.t.Helper()
	if err := p.conn.Write(p.t.Context(), websocket.MessageBinary, addressed(address, message...)); err != nil {
		p.t.Fatal(err)
	}
}

func addressed(address string, message ...any) []byte {
	frame := wire.AppendBytes(nil, []byte(address))
	for _, part := range message {
		switch part := part.(type) {
		case int:
			frame = append(frame, byte(part))
		case string:
			frame = wire.AppendBytes(frame, []byte(part))
		case []byte:
			frame = wire.AppendBytes(frame, part)
		}
	}
	return frame
}

// open does what a provider does for each document when its socket opens.
func (p *provider) open(address, token string) {
	p.t.Helper()
	p.send(address, 2, 0, token, "4.8.0")
	p.send(address, 0, 0, p.doc(address).store.StateVector())
}

// edit types a character at the end of a text of its own.
func (p *provider) edit(address string, client, clock uint64) []byte {
	p.t.Helper()
	u := typedBy(client, clock)
	if _, err := p.doc(address).store.Apply(u); err != nil {
		p.t.Fatal(err)
	}
	p.send(address, 0, 2, u)
	return u
}

// typedBy is an update of one character at the end of the root text "text".
func typedBy(client, clock uint64) []byte {
	u := binary.AppendUvarint([]byte{1, 1}, client)
	u = binary.AppendUvarint(u, clock)
	if clock == 0 {
		u = append(u, 4, 1, 4, 't', 'e', 'x', 't')
	} else {
		u = append(u, 0x84)
		u = binary.AppendUvarint(u, client)
		u = binary.AppendUvarint(u, clock-1)
	}
	return append(u, 1, 'x', 0)
}

// until reads, and answers as a provider does, until what is waited for has come.
func (p *provider) until(what string, holds func() bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	for !holds() {
		_, frame, err := p.conn.Read(ctx)
		if err != nil {
			p.t.Fatalf("%s: %v; %s", what, err, p)
		}
		p.take(frame)
	}
}

func (p *provider) String() (all string) {
	for address, d := range p.docs {
		all += fmt.Sprintf("%q: granted %q, denied %q, %d taken, %d not, %d SyncStep1; ", address, d.granted, d.denied, d.taken, d.notTaken, d.step1)
	}
	return all
}

func (p *provider) take(frame []byte) {
	p.t.Helper()
	address, rest, err := wire.Bytes(frame)
	if err != nil || len(rest) < 2 {
		p.t.Fatalf("% x: %v", frame, err)
	}
	if len(address) == 0 {
		return // of y-websocket's wire, before the first message said which it is
	}
	d := p.doc(string(address))
	payload := func(b []byte) []byte {
		v, _, err := wire.Bytes(b)
		if err != nil {
			p.t.Fatalf("% x: %v", frame, err)
		}
		return v
	}
	switch {
	case rest[0] == 2 && rest[1] == 0:
		if p.renew != "" {
			p.send(string(address), 2, 0, p.renew, "4.8.0")
		}
	case rest[0] == 7:
		d.left = append(d.left, string(payload(rest[1:])))
	case rest[0] == 0 && rest[1] == 0:
		d.step1++
		theirs, err := ystore.ReadProgress(payload(rest[2:]))
		if err != nil {
			p.t.Fatal(err)
		}
		p.send(string(address), 0, 1, d.store.Rest(theirs, 0))
	case rest[0] == 0:
		if _, err := d.store.Apply(payload(rest[2:])); err != nil {
			p.t.Fatal(err)
		}
	case rest[0] == 1:
		d.awarenesses++
	case rest[0] == 2 && rest[1] == 1:
		d.denied = append(d.denied, string(payload(rest[2:])))
	case rest[0] == 2 && rest[1] == 2:
		d.granted = append(d.granted, string(payload(rest[2:])))
	case rest[0] == 5:
		d.stateless = append(d.stateless, string(payload(rest[1:])))
	case rest[0] == 8 && rest[1] == 1:
		d.taken++
	case rest[0] == 8:
		d.notTaken++
	default:
		p.t.Fatalf("% x", frame)
	}
}

// has waits until a y-websocket client was sent what is in an update.
func has(t *testing.T, c *websocket.Conn, update []byte) {
	t.Helper()
	store := ystore.New(ystore.Limits{})
	if err := c.Write(t.Context(), websocket.MessageBinary, wire.Encode(wire.Step1, []byte{0}).Content()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		_, data, err := c.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		m, err := wire.Decode(data)
		if err != nil || m.Kind != wire.Update && m.Kind != wire.Step2 {
			continue
		}
		if _, err := store.Apply(m.Payload); err != nil {
			t.Fatal(err)
		}
		if brings, err := store.Brings(update); err != nil {
			t.Fatal(err)
		} else if !brings {
			return
		}
	}
}

func TestDocumentsOfOneSocketHaveTokensAndRightsOfTheirOwn(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a")
	whole := w.token(authn.Subject{})
	other := open(t, n, "minutes", whole)
	p := connectProvider(t, n, "/")
	p.open("minutes", whole)
	p.open("plans", w.token(authn.Subject{Documents: []string{"plans"}}))
	p.open("forbidden", w.token(authn.Subject{Documents: []string{"plans"}}))
	p.open("reading", w.token(authn.Subject{ReadOnly: true}))
	p.open("a//b", whole)
	minutes, plans, forbidden, reading := p.doc("minutes"), p.doc("plans"), p.doc("forbidden"), p.doc("reading")
	p.until("three are synced and two refused", func() bool {
		return minutes.taken == 1 && plans.taken == 1 && reading.taken == 1 && len(forbidden.denied) == 1 && len(p.doc("a//b").denied) == 1
	})
	if g := minutes.granted; len(g) != 1 || g[0] != "read-write" {
		t.Errorf("granted %q", g)
	}
	if g := reading.granted; len(g) != 1 || g[0] != "readonly" {
		t.Errorf("granted %q", g)
	}
	if forbidden.denied[0] != "Forbidden: document" || p.doc("a//b").denied[0] != "Invalid document name" {
		t.Error(p)
	}
	has(t, other, p.edit("minutes", 7, 0))
	u := typedBy(8, 0)
	if err := other.Write(t.Context(), websocket.MessageBinary, wire.Encode(wire.Update, u).Content()); err != nil {
		t.Fatal(err)
	}
	p.edit("forbidden", 7, 0)
	p.edit("reading", 7, 0)
	p.edit("plans", 7, 0)
	p.until("edits arrive and are acknowledged", func() bool {
		brings, err := minutes.store.Brings(u)
		return err == nil && !brings && minutes.taken == 2 && plans.taken == 2 && reading.notTaken == 1
	})
	// A better token lets in what was refused.
	p.open("forbidden", whole)
	p.until("what was refused is synced", func() bool { return forbidden.taken == 1 })
	p.send("plans", 7)
	p.edit("plans", 7, 1)
	p.edit("minutes", 7, 1)
	p.until("another document goes on", func() bool { return minutes.taken == 3 })
	if plans.taken != 2 || len(plans.denied) > 0 || forbidden.notTaken > 0 || minutes.step1 != 1 {
		t.Error(p)
	}
}

func TestATokenOfTheHandshakeServesDocumentsWithoutTheirOwn(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a")
	token := w.token(authn.Subject{})
	for _, target := range []string{"/", "/collab"} {
		p := connectProvider(t, n, target, token)
		p.open("minutes", "")
		p.open("plans", token)
		p.until("both are synced", func() bool { return p.doc("minutes").taken == 1 && p.doc("plans").taken == 1 })
		p.edit("minutes", 7, 0)
		p.until("an edit is acknowledged", func() bool { return p.doc("minutes").taken == 2 })
		if err := p.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(patience); len(n.clients.seated()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("sessions are left")
		}
	}
}

func TestADocumentTwiceOnOneSocket(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a")
	token := w.token(authn.Subject{})
	p := connectProvider(t, n, "/some/where")
	one, two := "minutes\x00one", "minutes\x00two"
	p.open(one, token)
	p.open(two, token)
	p.until("both are synced", func() bool { return p.doc(one).taken == 1 && p.doc(two).taken == 1 })
	u := p.edit(one, 7, 0)
	p.until("one's edit is the other's", func() bool {
		brings, err := p.doc(two).store.Brings(u)
		return err == nil && !brings && p.doc(one).taken == 2
	})
	p.send(one, 0, 0, []byte{0}) // forceSync
	p.until("an exchange is as the first was", func() bool { return p.doc(one).taken == 3 && p.doc(one).step1 == 2 })
}

func TestASeatThatWasEndedIsNotAcknowledgedUntilANewToken(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a")
	token := w.token(authn.Subject{})
	p := connectProvider(t, n, "/")
	p.open("minutes", token)
	p.open("plans", token)
	minutes, plans := p.doc("minutes"), p.doc("plans")
	p.until("both are synced", func() bool { return minutes.taken == 1 && plans.taken == 1 })
	kick := func(code int, reason string) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // it may be on its way in
			answer, err := n.Operators().Kick(control.KickRequest{Filter: control.Filter{Document: "minutes"}, Code: code, Reason: reason})
			if err != nil || time.Now().After(deadline) {
				t.Fatal(answer, err)
			}
			if answer.Sessions == 1 {
				return
			}
		}
	}
	kick(4403, "enough")
	p.until("it is told", func() bool { return len(minutes.denied) == 1 })
	p.edit("minutes", 7, 0)
	p.edit("plans", 7, 0)
	p.until("the other goes on", func() bool { return plans.taken == 2 })
	if minutes.taken != 1 || minutes.notTaken != 0 || minutes.denied[0] != "enough" {
		t.Error(p)
	}
	p.open("minutes", token)
	p.until("it is back, with what it had typed", func() bool { return minutes.taken == 2 })
	// What passes is not noticed but for another exchange, and nothing is acknowledged
	// twice, or never.
	for i := range uint64(5) {
		p.edit("minutes", 7, 1+2*i)
		kick(1013, "Try again later")
		p.edit("minutes", 7, 2+2*i)
	}
	p.until("all is acknowledged", func() bool { return minutes.taken == 12 })
	has(t, open(t, n, "minutes", token), typedBy(7, 10))
	if len(minutes.denied) != 1 || len(minutes.granted) != 2 || minutes.notTaken != 0 {
		t.Error(p)
	}
}

// unwilling is a verifier that cannot be asked as long as it is.
type unwilling struct {
	Verifier
	is atomic.Bool
}

func (u *unwilling) VerifyFor(ctx context.Context, token string, by authn.Caller) (*authn.Grant, error) {
	if u.is.Load() && token != "" {
		return nil, authn.ErrUnavailable
	}
	return u.Verifier.VerifyFor(ctx, token, by)
}

func TestAPassingFaultKeepsADocumentPending(t *testing.T) {
	w := newWorld(t)
	verifier := new(unwilling)
	n := w.node("eu-central-1", "a", func(c *Config) {
		verifier.Verifier = c.Verifier
		c.Verifier = verifier
	})
	token := w.token(authn.Subject{})
	p := connectProvider(t, n, "/")
	p.open("plans", token)
	p.until("one is synced", func() bool { return p.doc("plans").taken == 1 })
	verifier.is.Store(true)
	p.open("minutes", token)
	for i := range uint64(10) {
		p.edit("minutes", 7, i)
	}
	p.edit("plans", 7, 0)
	p.until("the other goes on", func() bool { return p.doc("plans").taken == 2 })
	if d := p.doc("minutes"); d.taken+d.notTaken+len(d.denied)+len(d.granted) > 0 {
		t.Error(p)
	}
	verifier.is.Store(false)
	p.until("all is acknowledged", func() bool { return p.doc("minutes").taken == 11 })
	has(t, open(t, n, "minutes", token), typedBy(7, 9))
}

func TestANodeThatDrainsEndsCarriedDocumentsToo(t *testing.T) {
	w := newRegions(t)
	home, us := w.node("eu-central-1", "a"), w.node("us-east-1", "b")
	token := w.token(authn.Subject{})
	open(t, home, "minutes", token)
	p := connectProvider(t, us, "/")
	p.open("minutes", token)
	p.until("it is carried", func() bool { return p.doc("minutes").taken == 1 })
	drained := make(chan error, 1)
	go func() { drained <- us.Drain(t.Context(), 0, 0) }()
	if code, reason := closeOf(t, p.conn); code != 1012 || reason != "Service restart" {
		t.Errorf("%d %q", code, reason)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoTokenFirstIsRefusedAsEver(t *testing.T) {
	w := newWorld(t)
	n := w.node("eu-central-1", "a")
	for name, send := range map[string]func(p *provider){
		"y-websocket": func(p *provider) { _ = p.conn.Write(t.Context(), websocket.MessageBinary, []byte{0, 0, 1, 0}) },
		"a SyncStep1": func(p *provider) { p.send("minutes", 0, 0, []byte{0}) },
		"too much":    func(p *provider) { p.send("minutes", 2, 0, make([]byte, 2*firstBytes)) },
		"a text":      func(p *provider) { _ = p.conn.Write(t.Context(), websocket.MessageText, []byte("hello")) },
	} {
		t.Run(name, func(t *testing.T) {
			p := connectProvider(t, n, "/todo")
			send(p)
			if code, reason := closeOf(t, p.conn); code != 4001 || reason != "Missing token" {
				t.Errorf("%d %q", code, reason)
			}
		})
	}
}

func TestASocketIsBoundedBeforeItIsInADocument(t *testing.T) {
	w := newWorld(t)
	verifier := new(unwilling)
	n := w.node("eu-central-1", "a", func(c *Config) {
		verifier.Verifier = c.Verifier
		c.Verifier = verifier
	})
	verifier.is.Store(true)
	token := w.token(authn.Subject{})
	for name, c := range map[string]struct {
		frame func(i int) []byte
		code  int
	}{
		"documents": {func(i int) []byte { return addressed(fmt.Sprint("doc", i), 2, 0, token) }, 1013},
		"messages":  {func(int) []byte { return addressed("minutes", 1, []byte{0}) }, 1013},
		"bytes":     {func(int) []byte { return addressed("minutes", 0, 2, make([]byte, 60<<10)) }, 1013},
		"malformed": {func(int) []byte { return addressed("minutes", 6, "for all") }, 1007},
	} {
		t.Run(name, func(t *testing.T) {
			p := connectProvider(t, n, "/")
			p.send("minutes", 2, 0, token)
			go func() {
				for i := range 1000 {
					if p.conn.Write(t.Context(), websocket.MessageBinary, c.frame(i)) != nil {
						return
					}
				}
			}()
			if code, _ := closeOf(t, p.conn); code != c.code {
				t.Errorf("%d", code)
			}
		})
	}
}

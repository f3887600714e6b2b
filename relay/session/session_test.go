package session

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/relay/ystore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seat records what a session asks of its room.
type seat struct {
	mu        sync.Mutex
	updates   [][]byte
	step1     int
	worked    int
	thaws     int
	thaw      func()
	newest    map[uint64]uint64
	asked     func() // called by Newest
	applies   func() // called by Apply
	questions []string
	err       error

	acknowledged, greeted atomic.Int64
}

func (s *seat) Step1([]byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step1++
	return 10, s.err
}

func (s *seat) Apply(update []byte) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.updates = append(s.updates, bytes.Clone(update))
	if s.applies != nil {
		s.applies()
	}
	return true, s.err
}

func (s *seat) Answer(update []byte) (bool, error) { return s.Apply(update) }

func (s *seat) Brings([]byte) (bool, error)            { return true, nil }
func (s *seat) Merge(updates [][]byte) ([]byte, error) { return ystore.Merge(updates) }
func (s *seat) Awareness([]byte) error                 { return nil }
func (s *seat) QueryAwareness()                        {}
func (s *seat) Acknowledge()                           { s.acknowledged.Add(1) }
func (s *seat) Stateless([]byte, bool) bool            { return false }
func (s *seat) Greet()                                 { s.greeted.Add(1) }
func (s *seat) Worked() int                            { return s.worked }
func (s *seat) Ask(question []byte)                    { s.questions = append(s.questions, string(question)) }
func (s *seat) Newest(seen map[uint64]uint64) []byte {
	s.mu.Lock()
	s.newest = seen
	asked := s.asked
	s.mu.Unlock()
	if asked != nil {
		asked()
	}
	return []byte{0}
}

func (s *seat) Thaw() {
	s.mu.Lock()
	s.thaws++
	thaw := s.thaw
	s.mu.Unlock()
	if thaw != nil {
		thaw()
	}
}

// free is a guard that allows what it is told to.
type free struct {
	operations                int
	controls, fragments, cost atomic.Int64
}

func (f *free) Received(cost int) time.Duration {
	f.cost.Add(int64(cost))
	return 0
}
func (f *free) Framed(control bool) time.Duration {
	if control {
		f.controls.Add(1)
	} else {
		f.fragments.Add(1)
	}
	return 0
}
func (*free) Answered(int) time.Duration { return 0 }
func (*free) Begin()                     {}
func (*free) Fast() bool                 { return false }
func (*free) End()                       {}
func (f *free) Operation() string {
	if f.operations--; f.operations == 0 {
		return "Rate limit exceeded: 1 ops/min"
	}
	return ""
}

// served is a session and the client at its other end.
type served struct {
	*Session
	cfg    *Config
	seat   *seat
	client *websocket.Conn
	raw    net.Conn // below the client
	ended  chan conn.Closed
}

type setup struct {
	cfg      Config
	conns    conn.Config
	guard    Guard
	readOnly bool
	unseated bool // its seat comes later
	share    *conn.Share
	tls      bool
}

func serve(t testing.TB, c setup) *served {
	t.Helper()
	if c.conns.RefuseAfter == 0 {
		c.conns.RefuseAfter = -1
	}
	c.conns.Unmeasured = c.cfg.MaxMessageBytes
	c.cfg.SetDefaults()
	c.conns.SetDefaults()
	if c.guard == nil {
		c.guard = new(free)
	}
	s := &served{cfg: &c.cfg, seat: new(seat), ended: make(chan conn.Closed, 1)}
	ready := make(chan *Session, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		accepted, err := conn.Accept(w, r, "")
		if err != nil {
			t.Error(err)
			return
		}
		session := New(accepted, &c.cfg, c.guard, c.readOnly)
		accepted.Attach(&c.conns, conn.NewKeepalive(t.Context()), session, c.guard, nil)
		session.Charge(c.share)
		if !c.unseated {
			session.Sit(s.seat)
		}
		ready <- session
		go accepted.Run(func(c conn.Closed) { s.ended <- c })
	}))
	server.Listener = conn.Listener{Listener: server.Listener}
	if c.tls {
		server.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, address string) (c net.Conn, err error) {
		s.raw, err = new(net.Dialer).DialContext(ctx, network, address)
		return s.raw, err
	}
	client, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(server.URL, "http"), &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	client.SetReadLimit(-1)
	t.Cleanup(func() { _ = client.CloseNow() })
	s.client, s.Session = client, <-ready
	return s
}

func (s *served) send(t *testing.T, kind websocket.MessageType, message []byte) {
	t.Helper()
	if err := s.client.Write(t.Context(), kind, message); err != nil {
		t.Fatal(err)
	}
}

// closed waits for the close frame that the client is sent.
func (s *served) closed(t *testing.T) (websocket.StatusCode, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		_, _, err := s.client.Read(ctx)
		if err == nil {
			continue
		}
		var ce websocket.CloseError
		if !errors.As(err, &ce) {
			t.Fatalf("no close frame: %v", err)
		}
		return ce.Code, ce.Reason
	}
}

func read(t *testing.T, c *websocket.Conn) wire.Received {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, data, err := c.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	m, err := wire.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMessagesReachTheSeatAndFramesTheClient(t *testing.T) {
	for _, overTLS := range []bool{false, true} {
		s := serve(t, setup{tls: overTLS})
		big := bytes.Repeat([]byte{7}, 300_000)
		for _, update := range [][]byte{{1, 2}, big} {
			s.send(t, websocket.MessageBinary, wire.Encode(wire.Update, update).Content())
		}
		for _, update := range [][]byte{{3}, big} {
			s.Send(wire.NewMessage(wire.Update, update))
			if m := read(t, s.client); m.Kind != wire.Update || !bytes.Equal(m.Payload, update) {
				t.Errorf("TLS %v: the client got kind %d, %d bytes", overTLS, m.Kind, len(m.Payload))
			}
		}
		s.send(t, websocket.MessageBinary, wire.Encode(wire.Step1, []byte{0}).Content())
		if err := s.client.Close(websocket.StatusNormalClosure, "bye"); err != nil {
			t.Error(err)
		}
		if c := <-s.ended; c.Code != 1000 || c.Reason != "bye" || c.Ours {
			t.Errorf("ended as %+v", c)
		}
		if len(s.seat.updates) != 2 || !bytes.Equal(s.seat.updates[1], big) || s.seat.step1 != 1 {
			t.Errorf("the seat got %d updates and %d SyncStep1", len(s.seat.updates), s.seat.step1)
		}
	}
}

func TestAMessageIsChargedByItsBytesAndTheWorkThatItWas(t *testing.T) {
	guard := new(free)
	s := serve(t, setup{guard: guard})
	s.seat.worked = 1000
	cost := 0
	for _, m := range []wire.Frame{wire.Encode(wire.Update, []byte{1, 2}), wire.Encode(wire.Step2, []byte{3}), wire.Encode(wire.Awareness, []byte{0}), wire.Encode(wire.Step1, []byte{0})} {
		s.send(t, websocket.MessageBinary, m.Content())
		cost += len(m.Content()) + 1000
	}
	if err := s.client.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Error(err)
	}
	<-s.ended
	if got := guard.cost.Load(); got != int64(cost) {
		t.Errorf("charged %d, want %d", got, cost)
	}
}

func TestWhatASessionMayNotSendEndsItWithTheRightCode(t *testing.T) {
	long := bytes.Repeat([]byte{0}, 5000)
	for _, c := range []struct {
		name    string
		setup   setup
		kind    websocket.MessageType
		message []byte
		err     error
		code    websocket.StatusCode
		reason  string
	}{
		{"a text frame", setup{}, websocket.MessageText, []byte("hello"), nil, 1003, "Text frames are not supported"},
		{"a malformed frame", setup{}, websocket.MessageBinary, []byte{0, 2, 200}, nil, 1007, "Malformed frame"},
		{"a malformed update", setup{}, websocket.MessageBinary, []byte{0, 2, 1, 9}, errors.New("bad"), 1007, "Malformed Yjs update"},
		{"a large update", setup{cfg: Config{MaxMessageBytes: 1000}}, websocket.MessageBinary, append([]byte{0, 2}, long...), nil, 1009, "Message too large: limit 1000 bytes"},
		{"a large document", setup{cfg: Config{MaxMessageBytes: 1000, MaxDocumentBytes: 2000}}, websocket.MessageBinary, append([]byte{0, 1}, long...), nil, 1009, "Message too large: limit 2000 bytes"},
		{"a document that outgrows", setup{}, websocket.MessageBinary, []byte{0, 2, 1, 9}, ystore.ErrDocumentTooLarge, 1009, "Document too large: limit 268435456 bytes"},
		{"an operation too many", setup{guard: &free{operations: 1}}, websocket.MessageBinary, []byte{0, 2, 1, 9}, nil, 4006, "Rate limit exceeded: 1 ops/min"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, c.setup)
			s.seat.err = c.err
			s.send(t, c.kind, c.message)
			if code, reason := s.closed(t); code != c.code || reason != c.reason {
				t.Errorf("got %d %q, want %d %q", code, reason, c.code, c.reason)
			}
			if end := <-s.ended; !end.Ours || end.Code != int(c.code) {
				t.Errorf("ended as %+v", end)
			}
		})
	}
}

func TestASyncStep2MayBeLargerThanAMessage(t *testing.T) {
	s := serve(t, setup{cfg: Config{MaxMessageBytes: 1000}})
	document := bytes.Repeat([]byte{1}, 100_000)
	s.send(t, websocket.MessageBinary, wire.Encode(wire.Step2, document).Content())
	_ = s.client.Close(websocket.StatusNormalClosure, "")
	<-s.ended
	if len(s.seat.updates) != 1 || len(s.seat.updates[0]) != len(document) {
		t.Error("it did not arrive")
	}
}

func TestAReadOnlySessionIsToldThatItsEditWasDropped(t *testing.T) {
	s := serve(t, setup{readOnly: true})
	s.send(t, websocket.MessageBinary, wire.Encode(wire.Update, []byte{1}).Content())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, data, err := s.client.Read(ctx)
	if err != nil || !bytes.Equal(data, wire.Encode(wire.PermissionDenied, []byte("read-only")).Content()) {
		t.Errorf("got % x, %v", data, err)
	}
	if len(s.seat.updates) != 0 {
		t.Error("the edit was applied")
	}
}

func TestWhoseEditWasDroppedIsNeverToldThatItIsSaved(t *testing.T) {
	s := serve(t, setup{readOnly: true})
	question := func(n string) { s.send(t, websocket.MessageBinary, wire.Encode(wire.SyncStatus, []byte(n)).Content()) }
	question("before")
	s.send(t, websocket.MessageBinary, wire.Encode(wire.Update, []byte{1}).Content())
	question("after")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, _, err := s.client.Read(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.client.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	<-s.ended // it has read everything
	if got := s.seat.questions; len(got) != 1 || got[0] != "before" {
		t.Errorf("the room was asked %q", got)
	}
}

// typed makes updates that real stores merge: single characters by one client.
func typed(n int) (updates [][]byte) {
	clock := byte(0)
	for range n {
		u := []byte{1, 1, 9, clock, 0x84, 9, clock - 1, 1, 'x', 0}
		if clock == 0 {
			u = []byte{1, 1, 9, 0, 4, 1, 1, 't', 1, 'x', 0}
		}
		updates = append(updates, u)
		clock++
	}
	return updates
}

func TestASlowClientIsSentMergedUpdatesThenTheDifference(t *testing.T) {
	s := serve(t, setup{cfg: Config{QueueBytes: 300}})
	thawed := make(chan struct{})
	s.seat.thaw = func() {
		s.Send(wire.NewMessage(wire.Step2, []byte{42}))
		close(thawed)
	}
	// What is sent between the overflow and the difference takes nothing from it.
	s.seat.asked = func() { s.Session.send(wire.KeepAlive, nil) }
	// Fill the socket's buffers until it is behind.
	block := wire.NewMessage(wire.Awareness, bytes.Repeat([]byte{0}, 1<<19))
	blocks := 0
	behind := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.behind
	}
	for !behind() {
		s.Send(block)
		blocks++
	}
	s.SendAwareness(wire.NewMessage(wire.Awareness, []byte{0}), []awareness.Entry{{Client: 5, Clock: 6}})
	updates := typed(100)
	sent := 0
	for _, u := range updates {
		sent++
		if !s.Send(wire.NewMessage(wire.Update, u)) {
			break
		}
	}
	if sent == len(updates) {
		t.Fatal("the queue never filled")
	}
	for range blocks {
		read(t, s.client)
	}
	m := read(t, s.client)
	merged, err := ystore.Merge(updates[:sent])
	if err != nil || m.Kind != wire.Update || !bytes.Equal(m.Payload, merged) {
		t.Errorf("after the blocks came kind %d, % x; want % x", m.Kind, m.Payload, merged)
	}
	if m = read(t, s.client); m.Kind != wire.Awareness {
		t.Errorf("then kind %d, want awareness", m.Kind)
	}
	if m = read(t, s.client); m.Kind != wire.Awareness {
		t.Errorf("then kind %d, want the keepalive", m.Kind)
	}
	if m = read(t, s.client); m.Kind != wire.Step2 || !bytes.Equal(m.Payload, []byte{42}) {
		t.Errorf("then kind %d, want the difference", m.Kind)
	}
	<-thawed
	s.seat.mu.Lock()
	defer s.seat.mu.Unlock()
	if s.seat.newest[5] != 6 || s.seat.thaws != 1 {
		t.Errorf("newest %v, %d thaws", s.seat.newest, s.seat.thaws)
	}
}

func TestWhatWaitsBeforeTheSeatIsKnownIsFetchedThen(t *testing.T) {
	s := serve(t, setup{unseated: true, cfg: Config{QueueBytes: 1}})
	thawed := make(chan struct{})
	s.seat.thaw = func() { close(thawed) }
	block := wire.NewMessage(wire.Awareness, bytes.Repeat([]byte{0}, 1<<19))
	blocks := 0
	for behind := false; !behind; {
		s.Send(block)
		blocks++
		s.mu.Lock()
		behind = s.behind
		s.mu.Unlock()
	}
	s.SendAwareness(block, []awareness.Entry{{Client: 5, Clock: 6}})
	s.Await()
	for range blocks {
		read(t, s.client)
	}
	s.Sit(s.seat)
	if m := read(t, s.client); m.Kind != wire.Awareness || len(m.Payload) != 1 {
		t.Errorf("kind %d, %d bytes, want the newest awareness", m.Kind, len(m.Payload))
	}
	<-thawed
}

func TestAClientThatNeverReadsIsDropped(t *testing.T) {
	s := serve(t, setup{conns: conn.Config{WriteTimeout: 200 * time.Millisecond}})
	block := wire.NewMessage(wire.Awareness, bytes.Repeat([]byte{0}, 1<<19))
	// Until it has ended: what was behind may have been taken by the kernel since.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		select {
		case c := <-s.ended:
			if c.Code != 1006 {
				t.Errorf("ended as %+v", c)
			}
			return
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("it is still there")
		}
		s.mu.Lock()
		behind := s.behind
		s.mu.Unlock()
		if !behind {
			s.Send(block)
		}
	}
}

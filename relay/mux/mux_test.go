package mux

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/session"
	"github.com/wsnode/wsnode/relay/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// refusal is an error that a client is told of with a code.
type refusal struct {
	code   int
	reason string
}

func (r *refusal) Error() string { return r.reason }

// host lets clients in as a test wants it.
type host struct {
	mu      sync.Mutex
	admit   func(Request) error // nil: let in
	confirm func(Request) error
	seats   []*seat
	dropped []wire.Kind

	outside     atomic.Int32 // connections without a document
	mostOutside int32        // 0: any number
}

func (h *host) Admit(_ context.Context, r Request) (Seat, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.admit != nil {
		if err := h.admit(r); err != nil {
			return nil, err
		}
	}
	s := &seat{name: r.Name, token: r.Token, channel: r.Channel, left: make(chan conn.Closed, 1)}
	h.seats = append(h.seats, s)
	r.Granted(strings.HasPrefix(r.Token, "read"))
	return s, nil
}

func (h *host) Confirm(_ context.Context, r Request, _ Seat) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.confirm == nil {
		return nil
	}
	return h.confirm(r)
}

func (h *host) Answer(err error) (int, string) {
	var r *refusal
	errors.As(err, &r)
	return r.code, r.reason
}

func (h *host) Draining() bool { return false }

func (h *host) Outside() (inside func(), ok bool) {
	if h.outside.Add(1); h.mostOutside > 0 && h.outside.Load() > h.mostOutside {
		h.outside.Add(-1)
		return nil, false
	}
	return func() { h.outside.Add(-1) }, true
}

func (h *host) Dropped(_ string, kind wire.Kind) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropped = append(h.dropped, kind)
}

// latest is the seat that was taken last, and how many were.
func (h *host) latest() (s *seat, taken int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.seats) > 0 {
		s = h.seats[len(h.seats)-1]
	}
	return s, len(h.seats)
}

// seat is a place that records what it was given; it is its own stream.
type seat struct {
	name, token string
	channel     *session.Channel
	left        chan conn.Closed

	share   conn.Share
	resumed atomic.Int32 // how often it was brought up to date

	mu   sync.Mutex
	took []string
}

func (s *seat) Stream() session.Stream { return s }
func (s *seat) ReadOnly() bool         { return false }
func (s *seat) Share() *conn.Share     { return &s.share }
func (s *seat) Leave(how conn.Closed)  { s.left <- how }

func (s *seat) Take(m wire.Received, _ int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = append(s.took, string(m.Payload))
	return 0
}
func (s *seat) LimitOf(wire.Kind) int { return 1 << 20 }
func (s *seat) Resume() error {
	s.resumed.Add(1)
	return nil
}
func (s *seat) Fail(error)    {}
func (s *seat) Drain()        {}
func (s *seat) Drained() bool { return false }
func (s *seat) Detach()       {}

func (s *seat) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.took, " ")
}

// unlimited is a conn.Guard.
type unlimited struct{}

func (unlimited) Received(int) time.Duration { return 0 }
func (unlimited) Framed(bool) time.Duration  { return 0 }

// client is the other end of a connection of several documents.
type client struct {
	t    *testing.T
	conn *websocket.Conn
	got  chan string // what it was sent that is not awareness: address, type and text
	mux  *Mux        // at the other end
}

func connect(t *testing.T, h *host) *client {
	t.Helper()
	var running sync.WaitGroup
	served := make(chan *Mux, 1)
	conns := conn.Config{RefuseAfter: -1}
	conns.SetDefaults()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := conn.Accept(w, r, "")
		if err != nil {
			t.Error(err)
			return
		}
		x := New(c, h, unlimited{}, running.Go)
		c.Attach(&conns, conn.NewKeepalive(t.Context()), x, unlimited{}, nil)
		running.Go(func() { c.Run(x.End) })
		served <- x
	}))
	server.Listener = conn.Listener{Listener: server.Listener}
	server.Start()
	t.Cleanup(func() { server.Close(); running.Wait() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	cl := &client{t, c, make(chan string, 100), <-served}
	running.Go(cl.read)
	t.Cleanup(func() { _ = c.CloseNow() })
	return cl
}

func (c *client) read() {
	defer close(c.got)
	for {
		_, frame, err := c.conn.Read(context.Background())
		if err != nil {
			return
		}
		address, rest, err := wire.Bytes(frame)
		if err != nil || len(rest) < 2 || rest[0] == 1 {
			continue
		}
		text, _, _ := wire.Bytes(rest[2:])
		c.got <- string(address) + map[byte]string{1: " denied ", 2: " granted "}[rest[1]] + string(text)
	}
}

func (c *client) send(address string, message ...any) {
	c.t.Helper()
	frame := wire.AppendBytes(nil, []byte(address))
	for _, part := range message {
		switch part := part.(type) {
		case int:
			frame = append(frame, byte(part))
		case string:
			frame = wire.AppendBytes(frame, []byte(part))
		}
	}
	if err := c.conn.Write(c.t.Context(), websocket.MessageBinary, frame); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) token(address, token string) { c.t.Helper(); c.send(address, 2, 0, token) }
func (c *client) update(address, text string) { c.t.Helper(); c.send(address, 0, 2, text) }

// isClosed waits for the end of the connection.
func (c *client) isClosed() {
	c.t.Helper()
	for deadline := time.After(time.Minute); ; {
		select {
		case _, more := <-c.got:
			if !more {
				return
			}
		case <-deadline:
			c.t.Fatal("never closed")
		}
	}
}

// expect waits for the next message.
func (c *client) expect(message string) {
	c.t.Helper()
	select {
	case got := <-c.got:
		if got != message {
			c.t.Fatalf("got %q, expected %q", got, message)
		}
	case <-time.After(time.Minute):
		c.t.Fatalf("never: %s", message)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

func left(t *testing.T, s *seat) conn.Closed {
	t.Helper()
	select {
	case how := <-s.left:
		return how
	case <-time.After(time.Minute):
		t.Fatal("the seat is not given back")
		return conn.Closed{}
	}
}

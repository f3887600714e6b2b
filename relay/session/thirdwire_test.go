package session

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/wire"
)

// letters is a third wire, of nobody but this test: a letter for the kind, then the
// payload. That it needs no line of the product is what the test shows.
type letters struct{ encoded *int }

var letterOf = map[wire.Kind]byte{wire.Step1: 'q', wire.Step2: 'a', wire.Update: 'u', wire.SyncStatus: 's'}

func (l letters) Encode(kind wire.Kind, payload []byte) wire.Frame {
	*l.encoded++
	return wire.NewFrame(kind, []byte{letterOf[kind]}, payload)
}
func (letters) Shared() bool { return true }

// lettersReader is what reads the wire: it decodes, and the session does the rest.
type lettersReader struct{ *Session }

func (r lettersReader) Message(message []byte) time.Duration {
	for kind, letter := range letterOf {
		if message[0] == letter {
			return r.Take(wire.Received{Kind: kind, Payload: message[1:]}, len(message))
		}
	}
	return 0
}

func TestAThirdWireTouchesNoFileOfTheProduct(t *testing.T) {
	var cfg Config
	var conns conn.Config
	cfg.SetDefaults()
	conns.SetDefaults()
	encoded := 0
	place := new(seat)
	ready := make(chan *Session, 2)
	ended := make(chan conn.Closed, 2)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		accepted, err := conn.Accept(w, r, "")
		if err != nil {
			t.Error(err)
			return
		}
		s := NewShared(accepted, &cfg, new(free), false, &Channel{Encoding: letters{&encoded}})
		s.Sit(place)
		accepted.Attach(&conns, conn.NewKeepalive(t.Context()), lettersReader{s}, new(free), nil)
		ready <- s
		go accepted.Run(func(c conn.Closed) { ended <- c })
	}))
	server.Listener = conn.Listener{Listener: server.Listener}
	server.Start()
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var clients []*websocket.Conn
	var sessions []*Session
	for range 2 {
		c, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(server.URL, "http"), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = c.CloseNow()
			<-ended
		}()
		clients, sessions = append(clients, c), append(sessions, <-ready)
	}
	if err := clients[0].Write(ctx, websocket.MessageBinary, []byte("uedit")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		place.mu.Lock()
		n := len(place.updates)
		place.mu.Unlock()
		if n == 1 && place.acknowledged.Load() == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d updates, %d acknowledgements", n, place.acknowledged.Load())
		}
	}
	// As a room does: the members of one wire share what is encoded for it.
	m := wire.NewMessage(wire.Update, []byte("edit"))
	for i, s := range sessions {
		if !s.Send(m) {
			t.Fatal("the socket is behind")
		}
		if _, got, err := clients[i].Read(ctx); err != nil || string(got) != "uedit" {
			t.Errorf("client %d was sent %q, %v", i, got, err)
		}
	}
	if encoded != 1 {
		t.Errorf("one message was encoded %d times for two clients of one wire", encoded)
	}
}

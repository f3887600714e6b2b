package conn

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// frame is a masked frame of a client.
func frame(op ws.OpCode, fin bool, payload []byte) []byte {
	f := ws.NewFrame(op, fin, bytes.Clone(payload))
	data, _ := ws.CompileFrame(ws.MaskFrame(f))
	return data
}

// update is a message with n bytes behind a head of five.
func update(n int) []byte {
	payload := bytes.Repeat([]byte{7}, n)
	message := []byte{0, 2, byte(n&0x7f | 0x80), byte(n>>7&0x7f | 0x80), byte(n >> 14)}
	return append(message, payload...)
}

// handler records what it is given, and takes updates for what they are.
type handler struct {
	mu       sync.Mutex
	messages [][]byte
	limit    int
	answer   func() // to a message; may be nil

	controls, fragments, cost, keepalives atomic.Int64
}

func (h *handler) Message(m []byte) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.messages = append(h.messages, bytes.Clone(m))
	if h.answer != nil {
		h.answer()
	}
	return 0
}

func (h *handler) Limit([]byte) int { return cmp.Or(h.limit, 64<<20) }
func (h *handler) Drained() bool    { return false }
func (h *handler) KeepAlive()       { h.keepalives.Add(1) }

func (h *handler) Received(cost int) time.Duration {
	h.cost.Add(int64(cost))
	return 0
}

func (h *handler) Framed(control bool) time.Duration {
	if control {
		h.controls.Add(1)
	} else {
		h.fragments.Add(1)
	}
	return 0
}

// talk is a served connection and the bare connection of its peer.
type talk struct {
	*handler
	served chan *Conn
	peer   net.Conn
	in     *bufio.Reader
	ended  chan Closed
}

// speak opens a connection; early bytes are sent together with the handshake.
func speak(t *testing.T, overTLS bool, early []byte) *talk {
	t.Helper()
	var cfg Config
	cfg.SetDefaults()
	s := &talk{handler: new(handler), served: make(chan *Conn, 1), ended: make(chan Closed, 1)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, "")
		if err != nil {
			t.Error(err)
			return
		}
		c.Attach(&cfg, NewKeepalive(t.Context()), s.handler, s.handler, nil)
		s.served <- c
		go c.Run(func(c Closed) { s.ended <- c })
	}))
	server.Listener = Listener{server.Listener}
	if overTLS {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if overTLS {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	hello := "GET /doc HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	s.peer, s.in = conn, bufio.NewReader(conn)
	s.send(t, append([]byte(hello), early...))
	answer, err := http.ReadResponse(s.in, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake: %v, %+v", err, answer)
	}
	return s
}

func (s *talk) send(t *testing.T, data []byte) {
	t.Helper()
	if _, err := s.peer.Write(data); err != nil {
		t.Fatal(err)
	}
}

// reads reads one frame, and checks what it is.
func (s *talk) reads(t *testing.T, op ws.OpCode, payload []byte) {
	t.Helper()
	h, err := ws.ReadHeader(s.in)
	got := make([]byte, h.Length)
	if err == nil {
		_, err = io.ReadFull(s.in, got)
	}
	if err != nil || h.OpCode != op || !bytes.HasPrefix(got, payload) {
		t.Fatalf("read %v %x %q, %v; expected %v %x", h.OpCode, got, got, err, op, payload)
	}
}

// applied waits until a ping that was sent last is answered, and returns what the
// handler was given.
func (s *talk) applied(t *testing.T) [][]byte {
	t.Helper()
	s.send(t, frame(ws.OpPing, true, []byte("last")))
	s.reads(t, ws.OpPong, []byte("last"))
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.messages
}

func TestMessagesComeInAnyFrames(t *testing.T) {
	small, large := update(200), update(300<<10)
	fragmented := func(message []byte, size int) (data []byte) {
		op := ws.OpBinary
		for len(message) > size {
			data = append(data, frame(op, false, message[:size])...)
			message, op = message[size:], ws.OpContinuation
		}
		return append(data, frame(op, true, message)...)
	}
	for name, c := range map[string]struct {
		data  []byte
		bytes bool // one at a time
		count int
	}{
		"one frame":                         {data: frame(ws.OpBinary, true, small), count: 1},
		"many in one segment":               {data: bytes.Repeat(frame(ws.OpBinary, true, small), 50), count: 50},
		"one byte at a time":                {data: frame(ws.OpBinary, true, small), bytes: true, count: 1},
		"fragments of one byte":             {data: fragmented(small, 1), count: 1},
		"larger than the buffer":            {data: frame(ws.OpBinary, true, large), count: 1},
		"larger, in fragments":              {data: fragmented(large, 1<<10), count: 1},
		"an empty fragment at the end":      {data: append(frame(ws.OpBinary, false, small), frame(ws.OpContinuation, true, nil)...), count: 1},
		"a pong that nobody asked for":      {data: append(frame(ws.OpPong, true, []byte("?")), frame(ws.OpBinary, true, small)...), count: 1},
		"larger than the buffer, and small": {data: append(frame(ws.OpBinary, true, large), frame(ws.OpBinary, true, small)...), count: 2},
	} {
		for _, overTLS := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %v", name, overTLS), func(t *testing.T) {
				t.Parallel()
				s := speak(t, overTLS, nil)
				if c.bytes {
					for i := range c.data {
						s.send(t, c.data[i:i+1])
					}
				} else {
					s.send(t, c.data)
				}
				updates := s.applied(t)
				if len(updates) != c.count {
					t.Fatalf("%d updates, expected %d", len(updates), c.count)
				}
				for _, u := range updates {
					if len(bytes.Trim(u[5:], "\x07")) > 0 {
						t.Fatal("an update arrived changed")
					}
				}
			})
		}
	}
}

func TestFramesThatComeWithTheHandshakeAreRead(t *testing.T) {
	for _, overTLS := range []bool{false, true} {
		s := speak(t, overTLS, bytes.Repeat(frame(ws.OpBinary, true, update(200)), 3))
		if updates := s.applied(t); len(updates) != 3 {
			t.Fatalf("TLS %v: %d updates", overTLS, len(updates))
		}
	}
}

func TestPingBetweenFragmentsIsAnswered(t *testing.T) {
	s := speak(t, false, nil)
	message := update(200)
	s.send(t, frame(ws.OpBinary, false, message[:20]))
	s.send(t, frame(ws.OpPing, true, []byte("inside")))
	s.reads(t, ws.OpPong, []byte("inside"))
	s.send(t, frame(ws.OpContinuation, true, message[20:]))
	if updates := s.applied(t); len(updates) != 1 {
		t.Fatalf("%d updates", len(updates))
	}
}

func TestWhatIsNoWebSocketFrameEndsTheConnectionWith1002(t *testing.T) {
	unmasked, _ := ws.CompileFrame(ws.NewBinaryFrame([]byte("x")))
	reserved := func(bits byte) []byte {
		data := frame(ws.OpBinary, true, []byte("x"))
		data[0] |= bits
		return data
	}
	for name, data := range map[string][]byte{
		"unmasked":                     unmasked,
		"compressed, which is not on":  reserved(0x40),
		"reserved bit":                 reserved(0x10),
		"reserved opcode":              frame(0x5, true, nil),
		"fragmented ping":              frame(ws.OpPing, false, nil),
		"ping of 126 bytes":            frame(ws.OpPing, true, make([]byte, 126)),
		"continuation of nothing":      frame(ws.OpContinuation, true, nil),
		"message inside a message":     append(frame(ws.OpBinary, false, nil), frame(ws.OpBinary, true, nil)...),
		"length beyond 63 bits":        {0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0},
		"close with a code not in use": frame(ws.OpClose, true, []byte{3, 0xee}),
		"close with half a code":       frame(ws.OpClose, true, []byte{3}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := speak(t, false, nil)
			s.send(t, append(data, frame(ws.OpBinary, true, update(50))...))
			s.reads(t, ws.OpClose, []byte{0x03, 0xea})
			_ = s.peer.Close()
			if closed := <-s.ended; closed.Code != 1002 || !closed.Ours {
				t.Fatalf("ended as %+v", closed)
			}
			if len(s.messages) > 0 {
				t.Fatal("what came after was taken")
			}
		})
	}
}

func TestCloseFrameIsAnsweredWithItsCode(t *testing.T) {
	for name, c := range map[string]struct {
		payload, answer []byte
		closed          Closed
	}{
		"1001":   {append([]byte{0x03, 0xe9}, "going"...), []byte{0x03, 0xe9}, Closed{Code: 1001, Reason: "going"}},
		"4321":   {[]byte{0x10, 0xe1}, []byte{0x10, 0xe1}, Closed{Code: 4321}},
		"noCode": {nil, nil, Closed{Code: 1005}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := speak(t, false, nil)
			s.send(t, frame(ws.OpClose, true, c.payload))
			s.reads(t, ws.OpClose, c.answer)
			if _, err := s.in.ReadByte(); err != io.EOF {
				t.Fatalf("after the close frame: %v", err)
			}
			if closed := <-s.ended; closed != c.closed {
				t.Fatalf("ended as %+v", closed)
			}
		})
	}
}

func TestConnectionThatBreaksInsideAMessageTakesNothing(t *testing.T) {
	s := speak(t, false, nil)
	data := frame(ws.OpBinary, true, update(200))
	s.send(t, data[:len(data)-1])
	_ = s.peer.Close()
	if closed := <-s.ended; closed.Code != 1006 {
		t.Fatalf("ended as %+v", closed)
	}
	if len(s.messages) > 0 {
		t.Fatal("half a message was taken")
	}
}

func TestHandshakeThatIsNoneIsAnswered(t *testing.T) {
	for header, status := range map[string]int{"Sec-WebSocket-Version: 12": http.StatusUpgradeRequired, "Sec-WebSocket-Version: 13": http.StatusBadRequest} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := Accept(w, r, ""); err == nil {
				t.Error("accepted")
			}
		}))
		server.Listener = Listener{server.Listener}
		server.Start()
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		key := "dGhlIHNhbXBsZSBub25jZQ=="
		if strings.HasSuffix(header, "13") {
			key = "short"
		}
		_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%s\r\nSec-WebSocket-Key: %s\r\n\r\n", header, key)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || answer.StatusCode != status {
			t.Errorf("%s: %v, %+v", header, err, answer)
		}
		_ = conn.Close()
		server.Close()
	}
}

func TestControlFramesAndFragmentsAreMetered(t *testing.T) {
	s := speak(t, false, nil)
	var data []byte
	for range 5 {
		data = append(data, frame(ws.OpPing, true, nil)...)
		data = append(data, frame(ws.OpPong, true, nil)...)
	}
	small := update(200)
	data = append(data, frame(ws.OpBinary, false, small)...)
	for range 7 {
		data = append(data, frame(ws.OpContinuation, false, nil)...)
	}
	s.send(t, append(data, frame(ws.OpContinuation, true, nil)...))
	for range 5 {
		s.reads(t, ws.OpPong, nil)
	}
	if got := s.applied(t); len(got) != 1 {
		t.Fatalf("%d updates", len(got))
	}
	if controls, fragments := s.handler.controls.Load(), s.handler.fragments.Load(); controls != 11 || fragments != 8 {
		t.Errorf("%d control frames and %d further fragments were charged, 11 and 8 were sent", controls, fragments)
	}
}

func TestARefusedPeerThatGoesOnSendingIsCutOff(t *testing.T) {
	for name, flood := range map[string][]byte{
		"pings":           frame(ws.OpPing, true, nil),
		"empty messages":  frame(ws.OpBinary, true, nil),
		"empty fragments": frame(ws.OpContinuation, false, nil),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, theirs := net.Pipe()
			defer theirs.Close()
			c := &Conn{socket: newSocket(ours), tls: true} // which is read and written as it is
			c.top = c.socket
			c.in = frames{conn: c, state: ws.StateServerSide}
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			done := make(chan struct{})
			go func() {
				defer close(done)
				c.Refuse(4002, "Invalid token: expired")
			}()
			sent := 0
			if flood[0]&0x0f == byte(ws.OpContinuation) {
				_, _ = theirs.Write(frame(ws.OpBinary, false, nil))
			}
			for block := bytes.Repeat(flood, 1000); ; sent += len(block) {
				if _, err := theirs.Write(block); err != nil {
					break
				}
			}
			<-done
			if sent > 2*refusedBytes {
				t.Errorf("%d bytes of a flood were read", sent)
			}
		})
	}
}

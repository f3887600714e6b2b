package conn

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestARefusedSocketIsClosedWithinASecond(t *testing.T) {
	done := make(chan time.Duration, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		socket, err := Accept(w, r, "access_token")
		if err != nil {
			t.Error(err)
			return
		}
		go func() {
			begin := time.Now()
			socket.Refuse(4001, "Missing token")
			done <- time.Since(begin)
		}()
	}))
	server.Listener = Listener{server.Listener}
	server.Start()
	defer server.Close()
	// A client that never answers: plain TCP.
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Write([]byte("GET /x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: access_token, x\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if took := <-done; took < 900*time.Millisecond || took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	answer := make([]byte, 4096)
	n, _ := c.Read(answer)
	if got := string(answer[:n]); !strings.Contains(got, "101 Switching") || !strings.HasSuffix(got, "\x88\x0f\x0f\xa1Missing token") {
		t.Errorf("the answer was %q", got)
	}
}

func TestAClientThatNeverSpeaksIsClosed(t *testing.T) {
	s := speak(t, false, nil)
	c := <-s.served
	now := began.Add(time.Duration(c.since) + 31*time.Second)
	c.socket.lastIn.Store(clock(now))
	c.beat(now)
	s.reads(t, ws.OpClose, append([]byte{0x03, 0xf0}, "No message within 30 s"...))
	_ = s.peer.Close()
	<-s.ended
}

func TestKeepalivePingsKeepsAliveAndGivesUp(t *testing.T) {
	s := speak(t, false, nil)
	c := <-s.served
	start := began.Add(time.Duration(c.since))
	c.lastData.Store(clock(start))
	c.socket.lastIn.Store(clock(start))
	c.beat(start.Add(20 * time.Second))
	s.reads(t, ws.OpPing, nil)
	if n := s.keepalives.Load(); n != 1 {
		t.Errorf("%d keepalives", n)
	}
	c.messages.in.Store(1)
	c.beat(start.Add(61 * time.Second))
	if closed := <-s.ended; closed.Code != 1006 {
		t.Errorf("ended as %+v", closed)
	}
}

func TestAMessageOverItsLimitIsRejected(t *testing.T) {
	s := speak(t, false, nil)
	c := <-s.served
	s.mu.Lock()
	s.limit, c.cfg.Unmeasured, c.cfg.RefuseAfter = 100, 50, -1
	s.mu.Unlock()
	s.send(t, frame(ws.OpBinary, true, make([]byte, 50)))
	s.send(t, frame(ws.OpBinary, true, make([]byte, 200)))
	s.reads(t, ws.OpClose, append([]byte{0x03, 0xf1}, "Message too large: limit 100 bytes"...))
	_ = s.peer.Close()
	if <-s.ended; len(s.messages) != 1 {
		t.Errorf("%d messages were taken", len(s.messages))
	}
}

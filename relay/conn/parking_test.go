//go:build linux

package conn

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// readers counts the goroutines that read for a session.
func readers() int {
	stacks := make([]byte, 1<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "conn.(*Conn).proceed")
}

// rested serves a session whose reader is kicked until it rests.
func rested(t *testing.T) (*talk, *Conn) {
	t.Helper()
	s := speak(t, false, nil)
	session := <-s.served
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	session.keepalive.ctx = ctx
	go func() { defer close(done); session.keepalive.Run() }()
	t.Cleanup(func() { cancel(); <-done })
	rest(t, session)
	return s, session
}

func rest(t *testing.T, s *Conn) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); readers() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the session keeps its goroutine")
		}
		s.letPark()
	}
}

func TestSessionThatRestsHasNoGoroutineAndMissesNothing(t *testing.T) {
	s, session := rested(t)
	for round := 1; round <= 50; round++ {
		// Not at once: a frame in two parts, of which the first wakes it.
		data := frame(ws.OpBinary, true, update(200))
		s.send(t, data[:round%len(data)])
		s.send(t, data[round%len(data):])
		if updates := s.applied(t); len(updates) != round {
			t.Fatalf("round %d: %d updates", round, len(updates))
		}
		if round%2 == 0 {
			rest(t, session)
		}
	}
}

func TestPingWakesASessionForThatMomentOnly(t *testing.T) {
	s, _ := rested(t)
	s.send(t, frame(ws.OpPing, true, []byte("there?")))
	s.reads(t, ws.OpPong, []byte("there?"))
	for deadline := time.Now().Add(10 * time.Second); readers() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the session keeps its goroutine")
		}
	}
	if updates := s.applied(t); len(updates) != 0 {
		t.Fatalf("%d updates", len(updates))
	}
}

func TestSessionThatRestsEndsInEveryWay(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*testing.T, *talk, *Conn)
		code int
	}{
		"the peer closes":   {func(t *testing.T, s *talk, _ *Conn) { s.send(t, frame(ws.OpClose, true, []byte{0x03, 0xe8})) }, 1000},
		"the peer vanishes": {func(t *testing.T, s *talk, _ *Conn) { _ = s.peer.Close() }, 1006},
		"it is cut":         {func(_ *testing.T, _ *talk, conn *Conn) { conn.End() }, 1006},
		"it is closed": {func(t *testing.T, s *talk, conn *Conn) {
			conn.Close(4321, "enough")
			s.reads(t, ws.OpClose, []byte{0x10, 0xe1})
		}, 4321},
	} {
		t.Run(name, func(t *testing.T) {
			s, session := rested(t)
			c.end(t, s, session)
			select {
			case closed := <-s.ended:
				if closed.Code != c.code {
					t.Fatalf("ended as %+v", closed)
				}
			case <-time.After(time.Minute):
				t.Fatal("nobody noticed the end")
			}
		})
	}
}

func TestSessionsThatRestGoOnWhenNobodyWatchesThem(t *testing.T) {
	s := speak(t, false, nil)
	session := <-s.served
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	session.keepalive.ctx = ctx
	go func() { defer close(done); session.keepalive.Run() }()
	rest(t, session)
	cancel()
	<-done
	s.send(t, frame(ws.OpBinary, true, update(200)))
	if updates := s.applied(t); len(updates) != 1 {
		t.Fatalf("%d updates", len(updates))
	}
}

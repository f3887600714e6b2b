package conn

import (
	"errors"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

var errBad = errors.New("bad")

// rejecting serves a connection whose first message is rejected.
func rejecting(t *testing.T, after time.Duration, alreadyKept int64) (*talk, *Conn) {
	t.Helper()
	s := speak(t, false, nil)
	c := <-s.served
	s.mu.Lock()
	defer s.mu.Unlock()
	c.cfg.RefuseAfter = after
	c.cfg.refused.Store(alreadyKept)
	s.answer = func() { c.Reject(4006, "too much", errBad, false) }
	return s, c
}

func TestWhoWouldComeBackWithTheSameIsKeptForAWhileAndTakesNoPart(t *testing.T) {
	s, c := rejecting(t, time.Hour, 0)
	for range 3 {
		s.send(t, frame(ws.OpBinary, true, update(200)))
	}
	s.send(t, frame(ws.OpText, true, []byte("hello")))
	s.send(t, frame(ws.OpClose, true, []byte{0x03, 0xe8}))
	end := <-s.ended // it has read everything
	if len(s.messages) != 1 || s.cost.Load() != int64(2*len(update(200))+len("hello")) {
		t.Errorf("%d messages were taken, and %d bytes charged", len(s.messages), s.cost.Load())
	}
	if end.Code != 1000 || end.Ours || !errors.Is(end.Err, errBad) {
		t.Errorf("ended as %+v", end)
	}
	if n := c.cfg.refused.Load(); n != 0 {
		t.Errorf("%d connections are kept that have ended", n)
	}
}

func TestWhoIsKeptIsClosedThen(t *testing.T) {
	s, c := rejecting(t, time.Millisecond, 0)
	s.send(t, frame(ws.OpBinary, true, update(200)))
	s.reads(t, ws.OpClose, append([]byte{0x0f, 0xa6}, "too much"...))
	_ = s.peer.Close()
	if end := <-s.ended; !end.Ours || end.Code != 4006 || end.Err == nil || c.cfg.refused.Load() != 0 {
		t.Errorf("ended as %+v", end)
	}
}

func TestSoManyAreKeptAndOthersClosedAtOnce(t *testing.T) {
	s, c := rejecting(t, time.Hour, maxRefused)
	s.send(t, frame(ws.OpText, true, []byte("hello")))
	s.reads(t, ws.OpClose, []byte{0x03, 0xeb})
	_ = s.peer.Close()
	if <-s.ended; c.cfg.refused.Load() != maxRefused {
		t.Error(c.cfg.refused.Load())
	}
}

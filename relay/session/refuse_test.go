package session

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/relay/ystore"
)

func TestWhoWouldComeBackWithTheSameIsKeptForAWhileAndTakesNoPart(t *testing.T) {
	s := serve(t, setup{cfg: Config{RefuseAfter: time.Hour}})
	s.seat.err = errors.New("bad")
	s.send(t, websocket.MessageBinary, wire.Encode(wire.Update, []byte{1}).Content())
	s.send(t, websocket.MessageBinary, wire.Encode(wire.Update, []byte{2}).Content())
	s.send(t, websocket.MessageBinary, wire.Encode(wire.Step1, []byte{0}).Content())
	s.send(t, websocket.MessageText, []byte("hello"))
	_ = s.client.Close(websocket.StatusNormalClosure, "bye")
	end := <-s.ended // it has read everything
	if len(s.seat.updates) != 1 || s.seat.step1 != 0 {
		t.Errorf("%d updates and %d SyncStep1 were taken, expected only the first", len(s.seat.updates), s.seat.step1)
	}
	message := (*MessageError)(nil)
	if end.Code != 1000 || end.Ours || !errors.As(end.Err, &message) || message.Kind != wire.Update {
		t.Errorf("ended as %+v", end)
	}
	if n := s.cfg.refused.Load(); n != 0 {
		t.Errorf("%d sessions are kept that have ended", n)
	}
}

func TestWhoIsKeptIsClosedThen(t *testing.T) {
	s := serve(t, setup{cfg: Config{RefuseAfter: time.Millisecond}, guard: &free{operations: 1}})
	s.send(t, websocket.MessageBinary, wire.Encode(wire.Update, []byte{1}).Content())
	if code, reason := s.closed(t); code != 4006 || reason != "Rate limit exceeded: 1 ops/min" {
		t.Errorf("%d %q", code, reason)
	}
	if end := <-s.ended; !end.Ours || end.Code != 4006 || end.Err == nil || s.cfg.refused.Load() != 0 {
		t.Errorf("ended as %+v", end)
	}
}

func TestSoManyAreKeptAndOthersClosedAtOnce(t *testing.T) {
	cfg := Config{RefuseAfter: time.Hour}
	s := serve(t, setup{cfg: cfg})
	s.cfg.refused.Store(maxRefused)
	s.send(t, websocket.MessageText, []byte("hello"))
	if code, _ := s.closed(t); code != 1003 {
		t.Error(code)
	}
	if <-s.ended; s.cfg.refused.Load() != maxRefused {
		t.Error(s.cfg.refused.Load())
	}
}

func TestContentAndProtocolsThatCannotBeTakenEndASessionForGood(t *testing.T) {
	for name, c := range map[string]struct {
		after  time.Duration
		frame  []byte
		err    error
		code   websocket.StatusCode
		reason string
	}{
		"a weak link":     {time.Hour, []byte{0, 2, 1, 9}, &ystore.UpdateError{Offset: 7, What: "type 7", Cause: ystore.WeakLink}, 4415, "Unsupported content: a weak link of Yrs."},
		"a move":          {time.Hour, []byte{0, 2, 1, 9}, &ystore.UpdateError{Offset: 7, What: "kind 11", Cause: ystore.Move}, 4415, "Unsupported content: a move of Yrs."},
		"too deep":        {time.Hour, []byte{0, 1, 1, 9}, &ystore.UpdateError{Offset: 7, What: "deep", Cause: ystore.TooDeep}, 4415, "Unsupported content: a value nested too deeply."},
		"malformed":       {-1, []byte{0, 2, 1, 9}, &ystore.UpdateError{Offset: 7, What: "an item that is its own origin"}, 1007, "Malformed Yjs update: an item that is its own origin at byte 7"},
		"a long cause":    {-1, []byte{0, 2, 1, 9}, &ystore.UpdateError{Offset: 7, What: strings.Repeat("é", 100)}, 1007, "Malformed Yjs update: éé"},
		"Hocuspocus auth": {-1, []byte("\x07minutes\x02\x00\x05token"), nil, 4415, "Unsupported protocol: Hocuspocus."},
		"of version 4":    {-1, []byte("\x07minutes\x02\x00\x00\x054.8.0"), nil, 4415, "Unsupported protocol: Hocuspocus."},
		"of version 2":    {time.Millisecond, []byte("\x07minutes\x00\x00\x01\x00"), nil, 4415, "Unsupported protocol: Hocuspocus."},
		"a short name":    {-1, []byte("\x01m\x02\x00\x05token"), nil, 4415, "Unsupported protocol: Hocuspocus."},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, setup{cfg: Config{RefuseAfter: c.after}})
			s.seat.err = c.err
			s.send(t, websocket.MessageBinary, c.frame)
			if code, reason := s.closed(t); code != c.code || !strings.HasPrefix(reason, c.reason) || len(reason) > MaxReason {
				t.Errorf("%d %q (%d bytes)", code, reason, len(reason))
			}
			<-s.ended
		})
	}
}

func TestWhatYWebsocketBeginsWithIsNotTakenForHocuspocus(t *testing.T) {
	for _, frame := range [][]byte{
		wire.Encode(wire.Step1, []byte{0}).Content(), wire.Encode(wire.Step1, []byte{1, 7, 3}).Content(), wire.Encode(wire.Step2, []byte{0, 0}).Content(),
		wire.Encode(wire.Awareness, []byte{0}).Content(), wire.Encode(wire.Awareness, []byte{1, 7, 0, 2, '{', '}'}).Content(),
		wire.Encode(wire.Awareness, []byte{1, 0xf7, 0xc1, 3, 0, 2, '{', '}'}).Content(), {3}, wire.Encode(wire.SyncStatus, []byte{1}).Content(), {42, 1, 2, 3}, {},
	} {
		if wire.IsHocuspocus(frame) {
			t.Errorf("% x", frame)
		}
	}
}

package session

import (
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/ystore"
)

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
		"Hocuspocus auth": {-1, []byte("\x07minutes\x02\x00\x05token"), nil, 4415, "Unsupported protocol: Hocuspocus"},
		"of version 4":    {-1, []byte("\x07minutes\x02\x00\x00\x054.8.0"), nil, 4415, "Unsupported protocol: Hocuspocus"},
		"of version 2":    {time.Millisecond, []byte("\x07minutes\x00\x00\x01\x00"), nil, 4415, "Unsupported protocol: Hocuspocus"},
		"a short name":    {-1, []byte("\x01m\x02\x00\x05token"), nil, 4415, "Unsupported protocol: Hocuspocus"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, setup{conns: conn.Config{RefuseAfter: c.after}})
			s.seat.err = c.err
			s.send(t, websocket.MessageBinary, c.frame)
			if code, reason := s.closed(t); code != c.code || !strings.HasPrefix(reason, c.reason) || len(reason) > conn.MaxReason {
				t.Errorf("%d %q (%d bytes)", code, reason, len(reason))
			}
			<-s.ended
		})
	}
}

package room

import (
	"errors"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/relay/ystore"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestWhatDoesNotHangOnUnsupportedContentIsSavedAndSeen(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	deep := "\x01\x02\x07\x00\x04\x01\x01t\x01a\x08\x01\x01x\x01" + strings.Repeat("u\x01", 300) + "~\x00"
	for name, apply := range map[string]func(*Seat, []byte) (bool, error){"an update": (*Seat).Apply, "a SyncStep2": (*Seat).Answer} {
		reader, _ := join(t, r)
		_, writer := join(t, r)
		update := strings.Replace(deep, "\x07", string(rune(len(name))), 1) // a client id of its own
		_, err := apply(writer, []byte(update))
		var e *ystore.UpdateError
		if !errors.As(err, &e) || e.Cause != ystore.TooDeep {
			t.Fatalf("%s: %v", name, err)
		}
		if !strings.Contains(string(r.Export()), string(rune(len(name)))+"\x00\x04\x01\x01t\x01a") {
			t.Errorf("%s: what came before was lost: %q", name, r.Export())
		}
		eventually(t, name+" is seen", func() bool {
			reader.mu.Lock()
			defer reader.mu.Unlock()
			return strings.Contains(string(reader.store.Encode()), string(rune(len(name)))+"\x00\x04\x01\x01t\x01a")
		})
	}
}

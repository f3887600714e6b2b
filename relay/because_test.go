package relay

import (
	"errors"
	"fmt"
	"testing"

	"github.com/wsnode/wsnode/relay/session"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/relay/ystore"
)

func TestTheLogSaysWhatIsWrongWithAnUpdateAndWhere(t *testing.T) {
	err := &session.MessageError{Kind: wire.Step2, Err: &ystore.UpdateError{Offset: 12, What: "no such kind", Cause: ystore.Harmful}}
	if got, want := fmt.Sprint(because(err)...), fmt.Sprint("err", "SyncStep2: harmful at byte 12: no such kind", "message", "SyncStep2", "offset", 12, "cause", "harmful"); got != want {
		t.Errorf("%s, expected %s", got, want)
	}
	if got := because(errors.New("text frame")); len(got) != 2 {
		t.Error(got)
	}
	if got := because(nil); got != nil {
		t.Error(got)
	}
}

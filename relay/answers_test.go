package relay

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/live"
	"github.com/wsnode/wsnode/relay/room"
	"github.com/wsnode/wsnode/relay/storage"
)

// Rule 11: whatever is the matter with a store, clients come back later. Only of a document
// that was deleted they are told so, and then for good.
func TestOfAStoreThatFailsClientsAreToldToComeBack(t *testing.T) {
	for err, code := range map[error]int{
		live.ErrDeleted:          closecode.Deleted,
		room.ErrBehind:           closecode.TryAgain,
		storage.ErrAbsent:        closecode.TryAgain,
		storage.ErrCorrupt:       closecode.TryAgain,
		storage.ErrRefused:       closecode.TryAgain,
		context.DeadlineExceeded: closecode.TryAgain,
		errors.New("whatever"):   closecode.TryAgain,
	} {
		if got := answer(fmt.Errorf("open the document: %w", err)); got.code != code {
			t.Errorf("%v: close code %d, expected %d", err, got.code, code)
		}
	}
}

package live

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/history"
)

// streamless is a history of which a shard has lost its stream.
type streamless struct{ History }

func (streamless) StoredSubjects(context.Context, string) iter.Seq2[history.Subject, error] {
	return func(yield func(history.Subject, error) bool) { yield(history.Subject{}, history.ErrStreamMissing) }
}

// The listing ends at the shard whose stream is missing: nobody knows what those behind it hold.
func TestAMissingStreamDoesNotSayThatAllIsStored(t *testing.T) {
	var said []error
	lives{history: streamless{}}.unstored(t.Context())(func(_ docid.Document, err error) bool {
		said = append(said, err)
		return true
	})
	if len(said) != 1 || !errors.Is(said[0], history.ErrStreamMissing) {
		t.Errorf("of a history with a missing stream it says %v", said)
	}
}

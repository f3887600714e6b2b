package live

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/test/natstest"
)

// streamless is a history of which a shard has lost its stream.
type streamless struct{ History }

func (streamless) StoredSubjects(context.Context, string) iter.Seq2[history.Subject, error] {
	return func(yield func(history.Subject, error) bool) { yield(history.Subject{}, history.ErrStreamMissing) }
}

// Nobody knows what a stream held that is missing.
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

// beside is such a history whose next shard holds a life that a crash has left.
type beside struct{ History }

func (beside) Subjects(context.Context, string) iter.Seq2[history.Subject, error] {
	return func(yield func(history.Subject, error) bool) {
		_ = yield(history.Subject{}, history.ErrStreamMissing) && yield(history.Subject{Name: todo.UpdatesSubject(1, "left"), Messages: 2}, nil)
	}
}

func TestASweepGoesOnBehindAMissingStream(t *testing.T) {
	n := region{t: t, url: natstest.Server(t).URL}.node("a")
	s := sweep{docs: n.Documents, every: time.Hour}
	found, err := s.suspects(t.Context(), "", beside{}.Subjects(t.Context(), ""), func(life, history.Subject) (bool, error) { return true, nil })
	if found != 1 || err != nil {
		t.Errorf("it finds %d, %v", found, err)
	}
}

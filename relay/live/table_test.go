package live

import (
	"context"
	"errors"
	"testing"
	"time"
)

// opened is an entry of a table as if it had been opened; its user is the caller.
func opened(t *testing.T, table *table) *Document {
	t.Helper()
	d, isNew, wait := table.take(todo)
	if !isNew || wait != nil {
		t.Fatalf("the first user finds an entry: %t, %v", isNew, wait)
	}
	close(d.opened)
	return d
}

func TestNobodyComesInWhileADocumentCloses(t *testing.T) {
	var documents table
	documents.init(time.Now())
	d := opened(t, &documents)
	left, last := documents.leave(d)
	if !last {
		t.Fatal("the only user left, and was not the last")
	}
	if again, isNew, _ := documents.take(todo); again != d || isNew {
		t.Fatal("who comes before it closes does not find it")
	}
	if documents.abandoned(d, left, true) {
		t.Fatal("it closes although somebody has come")
	}
	early := left.Add(-time.Second)
	if left, last = documents.leave(d); !last || documents.abandoned(d, early, true) || !documents.abandoned(d, left, true) {
		t.Fatal("it does not close, or does for somebody who left before others did")
	}
	if documents.beginPayment(life{todo, "another"}, &payment{}) {
		t.Error("a document is paid for while it closes")
	}
	came, _, wait := documents.take(todo)
	if came != nil || wait == nil {
		t.Fatal("somebody came in while it closes")
	}
	documents.remove(d)
	<-wait
	if came, isNew, _ := documents.take(todo); came == d || !isNew {
		t.Error("it is not opened anew")
	}
}

func TestANodeHasNoTwoRoomsOfALife(t *testing.T) {
	var documents table
	documents.init(time.Now())
	d, _, _ := documents.take(todo)
	first := life{todo, "1"}
	if documents.beginPayment(first, &payment{}) {
		t.Error("a document is paid for that is being opened")
	}
	documents.remove(d)
	gaveWay, giveWay := context.WithCancelCause(t.Context())
	p := &payment{giveWay, make(chan struct{})}
	if !documents.beginPayment(first, p) || documents.beginPayment(life{todo, "2"}, &payment{}) {
		t.Fatal("expected one payment of a document")
	}
	came, _, wait := documents.take(todo)
	if came != nil || !errors.Is(context.Cause(gaveWay), errTaken) {
		t.Error("the payment does not give way to who opens the document")
	}
	documents.endPayment(first, p)
	<-wait
	if _, isNew, _ := documents.take(todo); !isNew {
		t.Error("it is not opened after its payment")
	}
}

func TestThatADocumentWasDeletedIsTheLastWord(t *testing.T) {
	var f fate
	waiting, stop := context.WithCancel(t.Context())
	if !f.waits(stop) || !f.become(ErrMoving) || waiting.Err() != nil {
		t.Fatal("the history of a document that moves is not awaited")
	}
	if !f.become(errOtherLife) || waiting.Err() == nil {
		t.Error("the history of what was deleted is awaited")
	}
	if f.become(ErrEnded) || f.become(ErrDeleted) || !errors.Is(f.get(), errOtherLife) || f.waits(stop) {
		t.Errorf("something else has become of what was deleted: %v", f.get())
	}
}

package kvpin

import (
	"context"
	"fmt"
	"testing"
	"time"
)

func TestFewerDocumentsAreReconciledAtOnceWhileAnswersFailToCome(t *testing.T) {
	p := newPace()
	expect := func(when string, most int) {
		t.Helper()
		if int(p.most) != most {
			t.Errorf("%s: %d at once, expected %d", when, int(p.most), most)
		}
	}
	sent := func() time.Time { return time.Now().Add(time.Second) } // after whatever came before
	silence := fmt.Errorf("%w: %w", ErrUnsettled, context.DeadlineExceeded)
	expect("at first", paceFirst)
	for range 2 * paceMost {
		p.answered(sent(), nil)
	}
	expect("as answers come", paceMost)
	p.answered(sent(), silence)
	expect("after a request without an answer", paceMost/2)
	before := p.slowed.Add(-time.Millisecond)
	for range paceMost {
		p.answered(before, silence)
	}
	expect("after others that were sent before it", paceMost/2)
	for range 20 {
		p.answered(sent(), silence)
	}
	expect("while nothing is answered", 1)
	for range 3 {
		p.answered(sent(), nil)
	}
	expect("as answers come again", 2)
	p.restart()
	expect("with a new lease", paceFirst)
}

func TestNoMoreDocumentsAreReconciledAtOnceThanThePaceAllows(t *testing.T) {
	p := newPace()
	for range paceFirst {
		p.begin()
	}
	begun := make(chan struct{})
	go func() { p.begin(); close(begun) }()
	select {
	case <-begun:
		t.Fatal("one too many began")
	case <-time.After(20 * time.Millisecond):
	}
	p.end()
	<-begun
}

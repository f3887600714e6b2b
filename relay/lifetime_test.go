package relay

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestANodeWaitsForWhoCameInBeforeItsEnd(t *testing.T) {
	var l lifetime
	l.begin()
	defer l.endShutdown()
	if !l.enter() {
		t.Fatal("nobody comes in")
	}
	l.drain()
	if !l.unready() || !l.draining() {
		t.Error("clients are wanted by a node that takes none")
	}
	if !l.enter() {
		t.Error("who comes while it drains is not answered")
	}
	l.leave()
	ended := make(chan struct{})
	go func() {
		l.end()
		close(ended)
	}()
	<-l.ctx.Done()
	select {
	case <-ended:
		t.Error("it has ended while somebody is in")
	default:
	}
	l.leave()
	<-ended
	if l.enter() {
		t.Error("somebody came in after the end")
	}
}

// Operators and other nodes ask at any time, and the end does not wait for them to begin.
func TestTheEndWaitsForWhatIsDoneForOthers(t *testing.T) {
	var l lifetime
	l.begin()
	defer l.endShutdown()
	began, spawned, left := make(chan struct{}), make(chan struct{}), make(chan struct{})
	l.spawn(func() { <-spawned })
	var working sync.WaitGroup
	working.Go(func() {
		if err := l.during(t.Context(), func(ctx context.Context) error {
			close(began)
			<-ctx.Done()
			<-left
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	<-began
	ended := make(chan struct{})
	working.Go(func() {
		l.end()
		close(ended)
	})
	for _, over := range []chan struct{}{left, spawned} { // the end of l ends the work, which takes its time
		select {
		case <-ended:
			t.Error("it has ended while something is done")
		case <-l.ctx.Done():
		}
		close(over)
	}
	working.Wait()
	o := operator{storeOperator: storeOperator{life: &l}, drain: func(context.Context, time.Duration, time.Duration) error {
		t.Error("a node that has ended is drained")
		return nil
	}}
	o.StartDrain(0, 0)
	if err := l.during(t.Context(), func(context.Context) error { return nil }); !errors.Is(err, errDraining) {
		t.Errorf("something is done after the end: %v", err)
	}
	l.done.Wait()
}

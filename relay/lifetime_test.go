package relay

import "testing"

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

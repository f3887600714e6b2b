package session

import (
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/wire"
)

// A client that asks and does not read costs the node memory with each question. What it
// is sent as others are costs nothing more.
func TestWhoDoesNotReadWhatItAloneAskedForIsToldToComeAgain(t *testing.T) {
	share := new(conn.Share)
	s := serve(t, setup{
		cfg: Config{QueueBytes: 1 << 30}, conns: conn.Config{MaxIncomingBytes: 2 << 20, LargestMessage: 1}, share: share,
	})
	m := wire.NewMessage(wire.Step2, make([]byte, 256<<10))
	for range 100 {
		s.Send(m)
	}
	select {
	case end := <-s.ended:
		t.Fatalf("messages that others get as well ended it: %+v", end)
	default:
	}
	m.Own = true
	for range 100 {
		s.Send(m)
	}
	select {
	case end := <-s.ended:
		if end.Code != closecode.TryAgain || !end.Ours {
			t.Errorf("it ended as %+v", end)
		}
	case <-time.After(time.Minute):
		t.Fatal("it may ask for more and more")
	}
	s.Detach()
	if !s.Conn().Owe(share, 1<<20) {
		t.Error("what waited for it is still counted")
	}
}

// One that reads, however slowly, is never cut off for what it has read.
func TestAnswersThatWereTakenAreNotCounted(t *testing.T) {
	share := new(conn.Share)
	s := serve(t, setup{
		cfg: Config{QueueBytes: 1 << 30}, conns: conn.Config{MaxIncomingBytes: 2 << 20, LargestMessage: 1}, share: share,
	})
	m := wire.NewMessage(wire.Step2, make([]byte, 256<<10))
	m.Own = true
	for range 40 { // ten times as much as may wait
		s.Send(m)
		if got := read(t, s.client); got.Kind != wire.Step2 {
			t.Fatalf("got %s", got.Kind)
		}
	}
	select {
	case end := <-s.ended:
		t.Errorf("it ended as %+v", end)
	default:
	}
}

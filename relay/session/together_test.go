package session

import (
	"bytes"
	"testing"

	"github.com/gobwas/ws"

	"github.com/wsnode/wsnode/relay/wire"
)

// masked is a message as a client's frame.
func masked(t *testing.T, message wire.Frame) []byte {
	t.Helper()
	frame, err := ws.CompileFrame(ws.MaskFrame(ws.NewBinaryFrame(bytes.Clone(message.Content()))))
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

func TestWhatAClientSentAtOnceReachesOthersAtOnce(t *testing.T) {
	author, other := serve(t, setup{}), serve(t, setup{})
	spread := wire.NewMessage(wire.Update, []byte("x"))
	spread.From = author.Session
	var gathers []bool
	author.seat.applies = func() { // by the author's reader, under the seat's lock
		gathers = append(gathers, batchOf(spread) != nil)
		other.Send(spread)
	}
	three := bytes.Repeat(masked(t, wire.Encode(wire.Update, []byte("u"))), 3)
	if _, err := author.raw.Write(three); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if m := read(t, other.client); m.Kind != wire.Update || string(m.Payload) != "x" {
			t.Fatalf("%+v", m)
		}
	}
	author.seat.mu.Lock()
	defer author.seat.mu.Unlock()
	if len(gathers) != 3 || !gathers[0] || !gathers[1] {
		t.Errorf("with each of three that came at once: %v", gathers)
	}
	if batchOf(wire.NewMessage(wire.Update, nil)) != nil {
		t.Error("a message of nobody is gathered")
	}
}

// Nobody may wait while a session of others waits for its turn.
func TestASessionThatIsFastGathersNothingWhileItWaits(t *testing.T) {
	guard := new(fast)
	author, other := serve(t, setup{guard: guard}), serve(t, setup{})
	spread := wire.NewMessage(wire.Update, []byte("x"))
	spread.From = author.Session
	author.seat.applies = func() { other.Send(spread) }
	waited := make(chan struct{})
	guard.waits = func() { // before each but the first: those before it are on their way
		if m := read(t, other.client); m.Kind != wire.Update {
			t.Errorf("%+v", m)
		}
		waited <- struct{}{}
	}
	if _, err := author.raw.Write(bytes.Repeat(masked(t, wire.Encode(wire.Update, []byte("u"))), 3)); err != nil {
		t.Fatal(err)
	}
	<-waited
	<-waited
	read(t, other.client)
}

// fast is a guard of a session above its rates.
type fast struct {
	free
	begun int
	waits func()
}

func (f *fast) Fast() bool { return true }

func (f *fast) Begin() {
	if f.begun++; f.begun > 1 {
		f.waits()
	}
}

package session

import (
	"bytes"
	"slices"
	"testing"

	"github.com/wsnode/wsnode/relay/wire"
)

func TestAnswersAndTheMessageBehindThemReachTheClientInOrder(t *testing.T) {
	for _, overTLS := range []bool{false, true} {
		s := serve(t, setup{tls: overTLS})
		for _, update := range [][]byte{{1}, bytes.Repeat([]byte{2}, 2*together)} {
			questions := [][]byte{[]byte("one"), []byte("two")}
			if !s.SendAnswers(questions, wire.NewMessage(wire.Update, update)) {
				t.Error("a client that reads is behind")
			}
			clear(questions[0]) // they were lent
			for _, want := range []wire.Received{{Kind: wire.SyncStatus, Payload: []byte("one")}, {Kind: wire.SyncStatus, Payload: []byte("two")}, {Kind: wire.Update, Payload: update}} {
				if m := read(t, s.client); m.Kind != want.Kind || !bytes.Equal(m.Payload, want.Payload) {
					t.Errorf("TLS %v: the client got %s, %q; expected %s, %q", overTLS, m.Kind, m.Payload, want.Kind, want.Payload)
				}
			}
		}
		s.client.CloseNow()
		<-s.ended
	}
}

func TestAMessageBehindAnswersThatFillTheQueueIsNotLost(t *testing.T) {
	s := serve(t, setup{cfg: Config{QueueBytes: 1}})
	s.mu.Lock()
	s.behind = true // until it is drained
	s.mu.Unlock()
	for _, update := range [][]byte{{1}, bytes.Repeat([]byte{2}, 2*together)} {
		if s.SendAnswers([][]byte{{7}, {8}}, wire.NewMessage(wire.Update, update)) {
			t.Error("the queue has no end")
		}
	}
	s.Session.conn.Drain()
	var kinds []wire.Kind
	for range 6 {
		kinds = append(kinds, read(t, s.client).Kind)
	}
	if want := []wire.Kind{wire.SyncStatus, wire.SyncStatus, wire.Update, wire.SyncStatus, wire.SyncStatus, wire.Update}; !slices.Equal(kinds, want) {
		t.Errorf("the client got %v, expected %v", kinds, want)
	}
	s.client.CloseNow()
	<-s.ended
}

// What a client was refused it counts on, and is told that it is saved once it may write
// and has brought it; of any number it was refused, a bounded one.
func TestRefusedMessagesAreCountedUpToABound(t *testing.T) {
	v := &Channel{Encoding: wire.NewHocuspocus("doc")}
	refused := func(n int) {
		for range n {
			v.Due(wire.Update)
			v.Sent(v.Encoding.Encode(wire.PermissionDenied, nil))
		}
	}
	for _, c := range []struct{ refused, acknowledged int }{{3, 3}, {2 * maxOwed, maxOwed}} {
		v.unacknowledged.Store(0)
		refused(c.refused)
		v.Begin()
		v.Resume()
		if due, _ := v.Due(wire.Step2); due != c.acknowledged {
			t.Errorf("refused %d times, it is acknowledged %d, expected %d", c.refused, due, c.acknowledged)
		}
	}
}

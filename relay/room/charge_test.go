package room

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestAQuestionAboutManyClientsIsChargedByWork(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	_, seat := join(t, r)
	for client := range uint64(1000) {
		apply(t, seat, (&writer{client: 10 + client}).insert("x"))
	}
	charged, err := seat.Step1(r.Stat().StateVector)
	if err != nil || charged < clientWork*1000 {
		t.Errorf("charged %d bytes, %v", charged, err)
	}
}

func TestDeleteRangesAreChargedByWork(t *testing.T) {
	const n = 1000
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	_, seat := join(t, r)
	apply(t, seat, (&writer{client: 7}).insert(strings.Repeat("x", 2*n)))
	seat.Worked()
	bomb := binary.AppendUvarint([]byte{0, 1, 7}, n)
	for i := range uint64(n) {
		bomb = append(binary.AppendUvarint(bomb, 2*i), 1)
	}
	apply(t, seat, bomb)
	if work := seat.Worked(); work < 5*len(bomb) {
		t.Errorf("%d bytes of delete ranges are work for %d", len(bomb), work)
	}
	if _, err := seat.Brings(bomb); err != nil || seat.Worked() < len(bomb)/2 {
		t.Errorf("a session that may only read looks for them for nothing: %v", err)
	}
}

func TestAwarenessIsChargedByWork(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	_, seat := join(t, r)
	crowd := make([]awareness.Entry, 2*awareness.MaxEntries)
	for i := range crowd {
		crowd[i] = awareness.Entry{Client: uint64(i), Clock: 1, State: []byte(`{}`)}
	}
	update := awareness.Append(nil, crowd)
	for range 2 { // by buffers that have been used as well
		if err := seat.Awareness(update); err != nil {
			t.Fatal(err)
		}
		if work := seat.Worked(); work != stateWork*awareness.MaxEntries {
			t.Errorf("%d entries, of which half are looked at, are work for %d bytes", len(crowd), work)
		}
	}
}

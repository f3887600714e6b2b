package room

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/test/natstest"
)

// crowd is an update with one letter of each of n clients, from id first on.
func crowd(first, n int) []byte {
	u := binary.AppendUvarint(nil, uint64(n))
	for id := first + n - 1; id >= first; id-- {
		u = binary.AppendUvarint(append(u, 1), uint64(id))
		u = append(u, 0, 4, 1, 1, 'r', 1, 'x')
	}
	return append(u, 0)
}

func TestAnAppIsCountedForTheMemoryThatItTakes(t *testing.T) {
	const clients = 10_000
	p := newPod(t, natstest.Server(t).URL, func(c *Config) { c.MaxAppBytes = clients * 400 })
	r := p.open(t, "epoch")
	s, err := r.Join(newMember(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(crowd(1, clients)); err != nil {
		t.Fatal(err)
	}
	exceeded := (*AppTooLargeError)(nil)
	if _, err := s.Apply(crowd(1+clients, clients)); !errors.As(err, &exceeded) {
		t.Errorf("ten thousand clients take more than their letters: %v", err)
	}
	before := r.content.app.bytes.Load()
	state := []byte(`"0123456789012345678901234567890123456789"`)
	if err := s.Awareness(awareness.Append(nil, []awareness.Entry{{Client: 1, Clock: 1, State: state}})); err != nil {
		t.Fatal(err)
	}
	if got := r.content.app.bytes.Load() - before; got < int64(len(state)) {
		t.Errorf("an awareness state counts for %d bytes", got)
	}
}

// Whoever comes or leaves changes what an app is charged, also where other pods say so: an
// app whose edits are refused would go on being charged for those who have left.
func TestAnAppIsCountedForWhoIsHere(t *testing.T) {
	p := newPod(t, natstest.Server(t).URL, func(c *Config) { c.MaxAppBytes = 1 << 20 })
	r := p.open(t, "epoch")
	charged := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		if is, want := int(r.content.app.bytes.Load()), r.content.store.Stats().Held+r.presence.set.Bytes(); is != want {
			t.Errorf("%d bytes are charged, and the document and who is here take %d", is, want)
		}
		return r.content.counted
	}
	state := bytes.Repeat([]byte("x"), 1000)
	state[0], state[999] = '"', '"'
	entries := func(client uint64) []awareness.Entry {
		return []awareness.Entry{{Client: client, Clock: 1, State: state}}
	}
	_, s := join(t, r)
	if err := s.Awareness(awareness.Append(nil, entries(1))); err != nil {
		t.Fatal(err)
	}
	one := charged()
	r.mu.Lock()
	r.presence.fromRoom(99, entries(2), now())
	r.mu.Unlock()
	two := charged()
	if two < one+1000 {
		t.Errorf("a client of another pod is charged %d bytes", two-one)
	}
	r.mu.Lock()
	r.presence.forget(now(), 99)
	r.mu.Unlock()
	if got := charged(); got > two-1000 {
		t.Errorf("when it is gone, %d bytes of %d are charged", got, two)
	}
	s.Leave()
	if got := charged(); got > one-1000+200 {
		t.Errorf("when all have gone, %d bytes of %d are charged", got, one)
	}
}

package room

import (
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

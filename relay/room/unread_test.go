package room

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/relay/ystore"
	"github.com/wsnode/wsnode/test/natstest"
)

const queueBytes = 1 << 20 // the default of session.Config

// unread is a member whose client never reads: its socket takes nothing, so all that it is
// sent is in its queue, which ends where that of a session does.
type unread struct {
	*member
	queue  []wire.Frame
	queued int
	awaits bool
}

func (m *unread) Send(msg *wire.Message) bool {
	f := msg.In(nil)
	m.queue = append(m.queue, f)
	m.queued += len(f.Bytes())
	return m.queued <= queueBytes || len(m.queue) == 1
}

func (m *unread) Await() { m.awaits = true }

// ignore has clients join that never read, and ask for all of the document behind what
// vector returns again and again. It returns what each holds at most, and what all hold.
func ignore(t *testing.T, r *Room, author *Seat, w *writer, vector func(i int) []byte) (each, together int) {
	t.Helper()
	const clients, questions = 20, 12
	var all []*unread
	for i := range clients {
		m := &unread{member: newMember()}
		s, err := r.Join(m, 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
		for range questions {
			if _, err := s.Step1(vector(i)); err != nil {
				t.Fatal(err)
			}
		}
		if m.awaits {
			s.Thaw() // its queue was empty then; what it is sent now stays
		}
	}
	for range 5 {
		apply(t, author, w.insert(strings.Repeat("typed ", 10)))
	}
	frames := map[*byte]bool{}
	for _, m := range all {
		for _, f := range m.queue {
			if first := &f.Bytes()[0]; !frames[first] {
				frames[first] = true
				together += len(f.Bytes())
			}
		}
		each = max(each, m.queued)
	}
	return each, together
}

// nothingOf is a state vector that has something only of a client that there is not: an
// answer to it is no one else's.
func nothingOf(i int) []byte {
	return append(binary.AppendUvarint([]byte{1}, uint64(1000+i)), 1)
}

func TestWhatClientsDoNotReadIsBounded(t *testing.T) {
	t.Run("a large document", func(t *testing.T) {
		r, seat, w := large(t)
		if each, _ := ignore(t, r, seat, w, nothingOf); each > ystore.MaxMessage+16<<10 {
			t.Errorf("a client holds %d bytes", each)
		}
	})
	t.Run("a large document, from its beginning", func(t *testing.T) {
		r, seat, w := large(t)
		if _, together := ignore(t, r, seat, w, func(int) []byte { return []byte{0} }); together > ystore.MaxMessage+64<<10 {
			t.Errorf("twenty clients hold %d bytes together", together)
		}
	})
	small := func(t *testing.T) (*Room, *Seat, *writer) {
		r := newPod(t, natstest.Server(t).URL).open(t, "e1")
		_, seat := join(t, r)
		w := &writer{client: 7}
		apply(t, seat, w.insert(strings.Repeat("small ", 50<<10)))
		return r, seat, w
	}
	t.Run("a small document", func(t *testing.T) {
		r, seat, w := small(t)
		if each, _ := ignore(t, r, seat, w, nothingOf); each > queueBytes+ystore.MaxMessage {
			t.Errorf("a client holds %d bytes", each)
		}
	})
	t.Run("a small document, from its beginning", func(t *testing.T) {
		r, seat, w := small(t)
		if _, together := ignore(t, r, seat, w, func(int) []byte { return []byte{0} }); together > ystore.MaxMessage+64<<10 {
			t.Errorf("twenty clients hold %d bytes together", together)
		}
	})
}

func TestMembersThatHadFallenBehindShareTheWholeDocument(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	_, author := join(t, r)
	w := &writer{client: 7}
	var all [2]*unread
	var seats [2]*Seat
	for i := range all {
		all[i] = &unread{member: newMember()}
		var err error
		if seats[i], err = r.Join(all[i], 0); err != nil {
			t.Fatal(err)
		}
		all[i].queued = queueBytes
	}
	apply(t, author, w.insert("both are full with this"))
	for i, s := range seats {
		if _, err := s.Step1([]byte{0}); err != nil {
			t.Fatal(err)
		}
		all[i].queue, all[i].queued = nil, 0
		s.Thaw()
	}
	if a, b := all[0].queue, all[1].queue; len(a) != 1 || len(b) != 1 || &a[0].Bytes()[0] != &b[0].Bytes()[0] {
		t.Errorf("%d and %d frames, not one that both share", len(a), len(b))
	}
}

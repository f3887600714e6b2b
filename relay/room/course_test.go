package room

import (
	"strings"
	"testing"

	"github.com/wsnode/wsnode/relay/ystore"
	"github.com/wsnode/wsnode/test/natstest"
)

// slowly makes a member that takes what it is sent only when the test thaws its seat, and
// returns how to: it reports whether more is to come.
func slowly(t *testing.T, r *Room) (m *member, s *Seat, thaw func() (more bool)) {
	m = newMember()
	s, err := r.Join(m, 0)
	if err != nil {
		t.Fatal(err)
	}
	return m, s, func() bool {
		s.Thaw()
		r.mu.Lock()
		defer r.mu.Unlock()
		return s.behind != nil
	}
}

// large is a room with a document of 2 MB.
func large(t *testing.T) (r *Room, seat *Seat, w *writer) {
	r = newPod(t, natstest.Server(t).URL).open(t, "e1")
	_, seat = join(t, r)
	w = &writer{client: 7}
	for range 20 {
		apply(t, seat, w.insert(strings.Repeat("large ", 16<<10)))
	}
	apply(t, seat, w.remove(3))
	return r, seat, w
}

func TestALargeDocumentComesInPiecesAndACutConnectionResumes(t *testing.T) {
	r, seat, w := large(t)
	m, slow, thaw := slowly(t, r)
	if _, err := slow.Step1([]byte{0}); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		thaw()
	}
	apply(t, seat, w.insert("meanwhile"))
	slow.Leave()
	sv, _ := m.state()
	again, slow, thaw := slowly(t, r)
	for range 2 { // it asks twice
		if _, err := slow.Step1([]byte(sv)); err != nil {
			t.Fatal(err)
		}
	}
	for thaw() {
		if again.step2 > 0 {
			t.Fatal("a SyncStep2 before the end")
		}
	}
	if m.step2 != 0 || again.step2 != 2 || max(m.largest, again.largest) > ystore.MaxMessage || m.frames+again.frames > 16 {
		t.Errorf("%d SyncStep2 to 2 SyncStep1; %d and %d frames, the largest of %d bytes", again.step2, m.frames, again.frames, again.largest)
	}
	m.merge(again)
	if !m.has(r.Export()) {
		t.Error("the client has not all")
	}
}

func TestALargeUpdateComesToMembersInPieces(t *testing.T) {
	r, seat, w := large(t)
	m, s, thaw := slowly(t, r)
	if _, err := s.Step1([]byte{0}); err != nil {
		t.Fatal(err)
	}
	for thaw() {
	}
	frames := m.frames
	apply(t, seat, w.insert(strings.Repeat("pasted ", 300<<10)))
	apply(t, seat, w.insert("typed behind it"))
	for thaw() {
	}
	if m.largest > ystore.MaxMessage || m.frames < frames+6 || m.step2 != 1 || !m.has(r.Export()) {
		t.Errorf("%d frames, the largest of %d bytes, and %d SyncStep2", m.frames-frames, m.largest, m.step2)
	}
}

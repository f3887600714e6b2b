package room

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/relay/ystore"
)

// writer types at the end of the root text "text" as one Yjs client, and deletes
// what it typed: the smallest real updates (yjs, V1 encoding).
type writer struct{ client, clock uint64 }

// insert appends n characters as one struct.
func (w *writer) insert(text string) []byte {
	u := []byte{1, 1}
	u = binary.AppendUvarint(u, w.client)
	u = binary.AppendUvarint(u, w.clock)
	if w.clock == 0 {
		u = append(u, 4, 1, 4, 't', 'e', 'x', 't') // string content; parent: the root type "text"
	} else {
		u = append(u, 0x84) // string content with origin
		u = binary.AppendUvarint(u, w.client)
		u = binary.AppendUvarint(u, w.clock-1)
	}
	u = binary.AppendUvarint(u, uint64(len(text)))
	u = append(u, text...)
	w.clock += uint64(len(text))
	return append(u, 0)
}

// remove deletes one character that was typed before.
func (w *writer) remove(clock uint64) []byte {
	u := []byte{0, 1}
	u = binary.AppendUvarint(u, w.client)
	u = append(u, 1)
	u = binary.AppendUvarint(u, clock)
	return append(u, 1)
}

// member is a client that takes everything: it applies what it is sent.
type member struct {
	seat    *Seat
	mu      sync.Mutex
	store   *ystore.Store // what it was sent
	known   *ystore.Store // the same, and what it wrote
	states  awareness.Set
	step1   int
	step2   int
	full    bool // refuse what is sent, as a slow client's queue does
	frames  int
	writes  int // calls that handed frames over
	largest int // message that it was sent, in bytes
	closed  []string
	pings   int
	silent  time.Duration
	saved   []string // answers to its questions
	from    []any    // of its messages
	thaws   sync.WaitGroup
}

func newMember() *member {
	return &member{store: ystore.New(ystore.Limits{}), known: ystore.New(ystore.Limits{})}
}

// learn takes what the member wrote or was sent.
func (m *member) learn(update []byte) {
	if _, err := m.known.Apply(update); err != nil {
		panic(err)
	}
}

func (m *member) Send(msg *wire.Message) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.frames, m.writes = m.frames+1, m.writes+1
	m.from = append(m.from, msg.From)
	m.largest = max(m.largest, len(msg.In(nil).Bytes()))
	switch msg.Kind() {
	case wire.Step1:
		m.step1++
	case wire.SyncStatus:
		m.saved = append(m.saved, string(msg.Payload()))
	case wire.Step2:
		m.step2++
		fallthrough
	case wire.Update:
		if _, err := m.store.Apply(msg.Payload()); err != nil {
			panic(err)
		}
		m.learn(msg.Payload())
	}
	return !m.full
}

func (m *member) Prefetch() {}

func (m *member) SendAnswers(payloads [][]byte, msg *wire.Message) bool {
	m.mu.Lock()
	for _, p := range payloads {
		m.saved = append(m.saved, string(p))
	}
	taken := !m.full
	m.frames += len(payloads)
	if msg == nil {
		m.writes++
	}
	m.mu.Unlock()
	return (msg == nil || m.Send(msg)) && taken
}

// Await takes everything at once.
func (m *member) Await() {
	if m.seat != nil {
		m.thaws.Go(m.seat.Thaw)
	}
}

func (m *member) SendAwareness(msg *wire.Message, entries []awareness.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.from = append(m.from, msg.From)
	m.states.ApplyRoom(1, entries, now())
}

func (m *member) Ping() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pings++
}

func (m *member) Silent() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.silent
}

func (m *member) Close(_ int, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = append(m.closed, reason)
}

// merge gives the member what another was sent.
func (m *member) merge(o *member) {
	if _, err := m.store.Apply(o.store.Encode()); err != nil {
		panic(err)
	}
}

// pending is how many structs lie behind a gap in what the member was sent.
func (m *member) pending() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.store.Stats().Pending
}

// has reports whether the member was sent all that is in the update.
func (m *member) has(update []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	brings, err := m.store.Brings(update)
	if err != nil {
		panic(err)
	}
	return !brings
}

func (m *member) Fail(err error) { m.Close(0, err.Error()) }

func (m *member) state() (stateVector string, deletions uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return string(m.store.StateVector()), m.store.DeleteDigest()
}

func (m *member) present() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.states.Len()
}

func join(t testing.TB, r *Room) (*member, *Seat) {
	t.Helper()
	m := newMember()
	s, err := r.Join(m, 0)
	if err != nil {
		t.Fatal(err)
	}
	m.seat = s
	t.Cleanup(func() {
		s.Leave() // it is asked for no more calls of Thaw then
		m.thaws.Wait()
	})
	if _, err := s.Step1([]byte{0}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the SyncStep1 is answered", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.step2 > 0
	})
	return m, s
}

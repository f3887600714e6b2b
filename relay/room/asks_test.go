package room

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/test/natstest"
)

// withheld is a history whose acknowledgements a test holds back, or which refuses
// what other pods are told nevertheless, as a stream without room does.
type withheld struct {
	History
	mu      sync.Mutex
	hold    bool
	refuse  bool
	open    []func()
	appends int
	refused int
	other   func(subject string, data []byte) // told of what is refused
}

func (h *withheld) Append(subject string, data []byte, done func(uint64, error)) error {
	h.mu.Lock()
	h.appends++
	if h.refuse {
		h.refused++
		other := h.other
		h.mu.Unlock()
		if other != nil {
			other(subject, append([]byte(nil), data...))
		}
		go done(0, errors.New("no room"))
		return nil
	}
	h.mu.Unlock()
	return h.History.Append(subject, data, func(seq uint64, err error) {
		h.mu.Lock()
		if h.hold {
			h.open = append(h.open, func() { done(seq, err) })
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()
		done(seq, err)
	})
}

func (h *withheld) set(hold, refuse bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hold, h.refuse = hold, refuse
}

// release lets the first n acknowledgements go, all if n is negative.
func (h *withheld) release(n int) {
	h.mu.Lock()
	if n < 0 || n > len(h.open) {
		n = len(h.open)
	}
	due := h.open[:n]
	h.open = h.open[n:]
	h.mu.Unlock()
	for _, done := range due {
		done()
	}
}

func (h *withheld) count() (held, appends, refused int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open), h.appends, h.refused
}

func withholding(h *withheld) func(*Config) {
	return func(c *Config) {
		h.History = c.History
		c.History = h
	}
}

// withholds is a room of a stored life with a member, and the history that withholds what it
// appends once it is set.
func withholds(t testing.TB, configure ...func(*Config)) (h *withheld, p *pod, r *Room, m *member, seat *Seat) {
	t.Helper()
	h = new(withheld)
	p = newKeepingPod(t, natstest.Server(t).URL, append(configure, withholding(h))...)
	r = p.mustKeep(t, Brought{Base: oplog.Base{Store: "S"}}, new(atomic.Int64))
	m, seat = join(t, r)
	return h, p, r, m, seat
}

func (m *member) answers() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.saved, " ")
}

func TestAClientIsToldThatItsEditsAreSavedOnceTheyAre(t *testing.T) {
	h := new(withheld)
	r := newPod(t, natstest.Server(t).URL, withholding(h)).open(t, "e1")
	author, seat := join(t, r)
	other, otherSeat := join(t, r)
	seat.Ask([]byte("nothing"))
	if got := author.answers(); got != "nothing" {
		t.Fatalf("answers %q to a question before any edit", got)
	}
	h.set(true, false)
	w := &writer{client: 7}
	apply(t, seat, w.insert("one"))
	seat.Ask([]byte("first"))
	otherSeat.Ask([]byte("reader"))
	eventually(t, "the first append is held back", func() bool { held, _, _ := h.count(); return held == 1 })
	apply(t, seat, w.insert("two")) // somebody always types
	seat.Ask([]byte("second"))
	eventually(t, "the second append is held back", func() bool { held, _, _ := h.count(); return held == 2 })
	if got := author.answers() + other.answers(); got != "nothing" {
		t.Fatalf("answers %q before any acknowledgement", got)
	}
	h.release(1)
	if got := author.answers(); got != "nothing first" {
		t.Errorf("answers %q after the first acknowledgement", got)
	}
	if got := other.answers(); got != "reader" {
		t.Errorf("a member that brought nothing was answered %q", got)
	}
	h.release(-1)
	if got := author.answers(); got != "nothing first second" {
		t.Errorf("answers %q after both acknowledgements", got)
	}
	if unsaved := r.Stat().Unsaved; unsaved != 0 {
		t.Errorf("an edit is said to be unsaved for %v", unsaved)
	}
}

func TestTheAgeOfTheOldestUnsavedEditGrows(t *testing.T) {
	h := new(withheld)
	h.set(false, true)
	r := newPod(t, natstest.Server(t).URL, withholding(h)).open(t, "e1")
	_, seat := join(t, r)
	w := &writer{client: 7}
	apply(t, seat, w.insert("one"))
	eventually(t, "it was refused and tried again", func() bool { _, _, refused := h.count(); return refused > 1 })
	before := r.Stat().Unsaved
	apply(t, seat, w.insert("two"))
	if after := r.Stat().Unsaved; before == 0 || after < before {
		t.Errorf("the oldest edit waits for %v, and after another one for %v", before, after)
	}
	h.set(false, false)
	eventually(t, "it is saved", func() bool { return r.Stat().Unsaved == 0 })
}

func TestWhatAnotherPodPublishedIsSavedWhenThatPodSaysSo(t *testing.T) {
	url := natstest.Server(t).URL
	near, far := new(withheld), new(withheld)
	a, b := newPod(t, url, withholding(near)).open(t, "e1"), newPod(t, url, withholding(far)).open(t, "e1")
	_, seat := join(t, b)
	reader, readerSeat := join(t, a)
	w := &writer{client: 7}
	apply(t, seat, w.insert("known to each other"))
	eventually(t, "the rooms know each other", func() bool { return clockOf(t, reader, 7) > 0 && a.Stat().Peers == 1 })
	durable(t, b)
	readerSeat.Ask([]byte("before"))
	eventually(t, "the first question is answered", func() bool { return reader.answers() == "before" })
	_, appends, _ := near.count()

	far.set(true, false)
	apply(t, seat, w.insert("!"))
	eventually(t, "the other pod's member has it", func() bool { return clockOf(t, reader, 7) == 20 })
	readerSeat.Ask([]byte("after"))
	eventually(t, "its append is held back, and its pod was asked", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		held, _, _ := far.count()
		return held == 1 && b.peers.askers == 1
	})
	if got := reader.answers(); got != "before" {
		t.Fatalf("answers %q while the pod that published it has no acknowledgement", got)
	}
	far.release(-1)
	eventually(t, "the second question is answered", func() bool { return reader.answers() == "before after" })
	if _, now, _ := near.count(); now != appends {
		t.Errorf("the pod that only heard of the edit appended %d messages", now-appends)
	}
}

// refusing are two pods of which the first has an edit of the second that no history has.
func refusing(t *testing.T) (url string, near *withheld, reader *member, seat *Seat) {
	url = natstest.Server(t).URL
	near = new(withheld)
	far := new(withheld)
	a, b := newPod(t, url, withholding(near)).open(t, "e1"), newPod(t, url, withholding(far)).open(t, "e1")
	far.other = func(subject string, data []byte) { a.exchange.Receive(subject, "", data) }
	far.set(false, true)
	_, author := join(t, b)
	reader, seat = join(t, a)
	apply(t, author, (&writer{client: 7}).insert("one"))
	eventually(t, "the other pod's member has it", func() bool { return clockOf(t, reader, 7) == 3 })
	return url, near, reader, seat
}

func TestWhatAnotherPodCannotSaveIsSavedByWhoeverIsAsked(t *testing.T) {
	url, _, reader, seat := refusing(t)
	seat.Ask([]byte("saved?"))
	eventually(t, "the question is answered", func() bool { return reader.answers() == "saved?" })
	late, _ := join(t, newPodWithoutPeers(t, url).open(t, "e1"))
	if got := clockOf(t, late, 7); got != 3 {
		t.Errorf("it was said to be saved, and the history has the client up to %d", got)
	}
}

func TestWhatNobodyCanSaveIsNeverSaidToBe(t *testing.T) {
	_, near, reader, seat := refusing(t)
	near.set(false, true)
	seat.Ask([]byte("saved?"))
	eventually(t, "snapshots were refused", func() bool { _, _, refused := near.count(); return refused > 2 })
	if got := reader.answers(); got != "" {
		t.Errorf("answer %q", got)
	}
}

// newPodWithoutPeers is a pod that hears nothing from others: it has what the
// history has.
func newPodWithoutPeers(t *testing.T, url string) *pod {
	deaf := new(lossy)
	deaf.drops(func(string) bool { return true })
	return newPod(t, url, func(c *Config) { deaf.Bus = c.Bus; c.Bus = deaf })
}

func TestAnotherEpochStartsWithNothingSaved(t *testing.T) {
	for name, move := range map[string]func(*Room) error{
		"rebased":  func(r *Room) error { return r.Rebase(context.Background(), "e2") },
		"restored": func(r *Room) error { return r.Restore(context.Background()) },
		"emptied": func(r *Room) error {
			r.rooms.Emptied(context.Background(), r.rooms.cfg.History.Shard(doc.PinKey()))
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := new(withheld)
			r := newPod(t, natstest.Server(t).URL, withholding(h)).open(t, "e1")
			m, seat := join(t, r)
			apply(t, seat, (&writer{client: 7}).insert("one"))
			durable(t, r)
			h.set(true, false)
			moved := make(chan error, 1)
			go func() { moved <- move(r) }()
			eventually(t, "a snapshot is on its way", func() bool { held, _, _ := h.count(); return held > 0 })
			seat.Ask([]byte("saved?"))
			if got := m.answers(); got != "" {
				t.Errorf("answer %q before the snapshot is acknowledged", got)
			}
			h.set(false, false)
			h.release(-1)
			if err := <-moved; err != nil {
				t.Fatal(err)
			}
			eventually(t, "the question is answered", func() bool { return m.answers() == "saved?" })
		})
	}
}

func TestARelaxedHistoryAndAClosedRoomSayNothing(t *testing.T) {
	url := natstest.Server(t).URL
	relaxed := newPod(t, url, func(c *Config) { c.Relaxed = true }).open(t, "e1")
	m, seat := join(t, relaxed)
	seat.Ask([]byte("saved?"))
	h := new(withheld)
	r := newPod(t, url, withholding(h)).open(t, "e2")
	n, closing := join(t, r)
	h.set(true, false)
	apply(t, closing, (&writer{client: 7}).insert("one"))
	closing.Ask([]byte("saved?"))
	eventually(t, "the append is held back", func() bool { held, _, _ := h.count(); return held == 1 })
	closing.Leave()
	r.Close()
	h.release(-1)
	if got := m.answers() + n.answers(); got != "" {
		t.Errorf("answers %q", got)
	}
}

func TestARelaxedHistoryIsTakenAtItsWordForThoseWhoCount(t *testing.T) {
	h := new(withheld)
	pod := newPod(t, natstest.Server(t).URL, func(c *Config) { c.Relaxed = true }, withholding(h))
	r := pod.open(t, "e1")
	m, seat := join(t, r)
	seat.Counts()
	h.set(true, false)
	apply(t, seat, (&writer{client: 7}).insert("one"))
	seat.Ask([]byte("saved?"))
	eventually(t, "the append is held back", func() bool { held, _, _ := h.count(); return held == 1 })
	if got := m.answers(); got != "" {
		t.Errorf("answer %q before the history has it", got)
	}
	h.release(-1)
	eventually(t, "the question is answered", func() bool { return m.answers() == "saved?" })
}

func TestAMemberThatIsBehindHearsItsAnswersLater(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	m, seat := join(t, r)
	_, author := join(t, r)
	m.mu.Lock()
	m.full = true
	m.mu.Unlock()
	apply(t, author, (&writer{client: 7}).insert("one")) // freezes it
	durable(t, r)
	for range maxAsks + 10 {
		seat.Ask([]byte("x"))
	}
	seat.Ask(make([]byte, maxAskBytes+1))
	if got := m.answers(); got != "" {
		t.Fatalf("answers %q to a member that takes nothing", got)
	}
	m.mu.Lock()
	m.full = false
	m.mu.Unlock()
	seat.Thaw()
	if got, want := m.answers(), strings.TrimSpace(strings.Repeat("x ", maxAsks)); got != want {
		t.Errorf("answers %q, expected %d", got, maxAsks)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if seat.asks != 0 || len(r.asks.open) != 0 {
		t.Errorf("%d and %d questions are open", seat.asks, len(r.asks.open))
	}
}

func BenchmarkEditsThatNobodyAsksAbout(b *testing.B) { benchmarkAsks(b, 0) }

func BenchmarkEditsWithAQuestionEach(b *testing.B) { benchmarkAsks(b, 1) }

// benchmarkAsks is an edit of a document with four members, and a question after
// every n of them; 0: none.
func benchmarkAsks(b *testing.B, every int) {
	r := newPod(b, natstest.Server(b).URL).open(b, "e1")
	_, seat := join(b, r)
	for range 3 {
		join(b, r)
	}
	w := &writer{client: 7}
	updates := make([][]byte, b.N)
	for i := range updates {
		updates[i] = w.insert("x")
	}
	question := []byte{1}
	b.ReportAllocs()
	b.ResetTimer()
	for i, u := range updates {
		if _, err := seat.Apply(u); err != nil {
			b.Fatal(err)
		}
		if every > 0 && i%every == 0 {
			seat.Ask(question)
		}
	}
	b.StopTimer()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.Durable(ctx); err != nil {
		b.Fatal(err)
	}
}

func TestEachMessageOfAMemberIsAcknowledgedOnceItIsDurable(t *testing.T) {
	h := new(withheld)
	r := newPod(t, natstest.Server(t).URL, withholding(h)).open(t, "e1")
	m, seat := join(t, r)
	h.set(true, false)
	w := &writer{client: 7}
	const messages = 2*maxAsks + 10
	for range messages {
		apply(t, seat, w.insert("x"))
		seat.Acknowledge()
	}
	for range 3 { // that bring nothing, but wait for what is there
		seat.Acknowledge()
	}
	eventually(t, "an append is held back", func() bool { held, _, _ := h.count(); return held >= 1 })
	if n := m.acknowledged(); n != 0 {
		t.Fatalf("%d messages are acknowledged before anything is durable", n)
	}
	h.release(-1)
	h.set(false, false)
	eventually(t, "everything is acknowledged", func() bool { return m.acknowledged() >= messages+3 })
	durable(t, r)
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := m.acknowledged(); n != messages+3 || seat.asks != 0 || len(r.asks.open) != 0 {
		t.Errorf("%d acknowledgements for %d messages; %d and %d are open", n, messages+3, seat.asks, len(r.asks.open))
	}
}

func TestAnUpdateThatIsHeldIsNotAcknowledgedBeforeItIsTaken(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	m, seat := join(t, r)
	w := &writer{client: 7}
	first, second := w.insert("one"), w.insert("two")
	if _, err := seat.Answer([]byte{0, 0}); err != nil { // to the SyncStep1
		t.Fatal(err)
	}
	if _, err := seat.Apply(second); err != nil { // opens a gap
		t.Fatal(err)
	}
	seat.Acknowledge()
	r.mu.Lock()
	held := seat.held != nil
	r.mu.Unlock()
	if n := m.acknowledged(); !held || n != 0 {
		t.Fatalf("held: %t, and %d acknowledged", held, n)
	}
	if _, err := seat.Answer(first); err != nil {
		t.Fatal(err)
	}
	seat.Acknowledge()
	eventually(t, "both are acknowledged", func() bool { return m.acknowledged() == 2 })
}

func TestAMemberThatIsBehindIsAcknowledgedEverythingLater(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL, func(c *Config) { c.Relaxed = true }).open(t, "e1")
	m, seat := join(t, r)
	_, author := join(t, r)
	m.mu.Lock()
	m.full = true
	m.mu.Unlock()
	apply(t, author, (&writer{client: 7}).insert("one")) // freezes it
	durable(t, r)
	for range maxAsks + 10 {
		seat.Acknowledge()
	}
	if n := m.acknowledged(); n != 0 {
		t.Fatalf("%d acknowledgements to a member that takes nothing", n)
	}
	m.mu.Lock()
	m.full = false
	m.mu.Unlock()
	seat.Thaw()
	if n := m.acknowledged(); n != maxAsks+10 {
		t.Errorf("%d acknowledgements for %d messages", n, maxAsks+10)
	}
}

// acknowledged is how many of the member's messages are.
func (m *member) acknowledged() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, payload := range m.saved {
		if payload == "" {
			n++
		}
	}
	return n
}

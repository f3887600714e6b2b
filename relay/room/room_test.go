package room

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/ystore"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func now() time.Time { return time.Now() }

var doc = docid.Document{License: "aws-eu-west-1", Tenant: "acme", App: "notes", Name: "todo"}

// pod is a node's rooms on a connection of their own.
type pod struct {
	*Rooms
	bus     *bus.Bus
	history *history.History
	kept    *history.History // of stored lives; nil: there are none
	url     string
}

// patience is how long a test waits for what must happen: it costs nothing where it
// does, and others may keep the machine busy.
const patience = time.Minute

// smallMessages has NATS take 64 KiB at once: what is larger travels in parts, as
// what is larger than 1 MiB does elsewhere.
func smallMessages(o *server.Options) { o.MaxPayload = 64 << 10 }

func newPod(t testing.TB, url string, configure ...func(*Config)) *pod {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	nc, err := bus.Connect(ctx, bus.ConnectConfig{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	p := &pod{url: url}
	if p.bus, err = bus.New(nc, bus.Config{Disturbed: func() { p.Disturbed() }}); err != nil {
		t.Fatal(err)
	}
	if p.history, err = history.Open(ctx, nc, history.Config{Publisher: p.bus}); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Bus: p.bus, History: p.history}
	for _, c := range configure {
		c(&cfg)
	}
	if p.Rooms, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		p.history.Close()
		p.bus.Close()
		p.bus.Conn().Close() // not nc, if a test has ended that
	})
	return p
}

func (p *pod) open(t testing.TB, epoch string) *Room {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := p.Open(ctx, doc, epoch, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func sameState(a, b *member) bool {
	sv, deletions := a.state()
	sv2, deletions2 := b.state()
	return sv == sv2 && deletions == deletions2
}

func apply(t testing.TB, s *Seat, update []byte) {
	t.Helper()
	m := s.member.(*member)
	m.mu.Lock()
	m.learn(update)
	m.mu.Unlock()
	if _, err := s.Apply(update); err != nil {
		t.Fatal(err)
	}
}

func durable(t testing.TB, r *Room) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Durable(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestAnEditReachesTheMembersOfAllPods(t *testing.T) {
	url := natstest.Server(t).URL
	a, b := newPod(t, url).open(t, "e1"), newPod(t, url).open(t, "e1")
	typist, seat := join(t, a)
	local, _ := join(t, a)
	remote, _ := join(t, b)
	w := &writer{client: 7}
	for range 100 {
		apply(t, seat, w.insert("x"))
	}
	apply(t, seat, w.remove(3))
	eventually(t, "the other member of the pod has it", func() bool { return string(a.Stat().StateVector) == first(local.state()) })
	eventually(t, "the other pod's member has it", func() bool { return sameState(local, remote) })
	if got, _ := typist.state(); got != "\x00" {
		t.Errorf("the typist was sent its own edits: state vector %q", got)
	}
}

func first(s string, _ uint64) string { return s }

func TestWhatLiesBehindAGapReachesEveryoneAndTheFillingCompletesIt(t *testing.T) {
	url := natstest.Server(t).URL
	a, b := newPod(t, url).open(t, "e1"), newPod(t, url).open(t, "e1")
	_, seat := join(t, a)
	author, authorSeat := join(t, a)
	w := &writer{client: 7}
	begin, middle, end := w.insert("begin"), w.insert("middle"), w.insert("end")
	apply(t, seat, begin)
	remote, remoteSeat := join(t, b)
	apply(t, seat, end) // the middle reached the other pod
	behind := func(m *member) func() bool { return func() bool { return m.pending() == 1 } }
	eventually(t, "a member has what lies behind the gap", behind(author))
	eventually(t, "a member of the other pod has it", behind(remote))
	late, _ := join(t, a)
	if !behind(late)() {
		t.Error("a late member has not what lies behind the gap")
	}
	apply(t, authorSeat, (&writer{client: 9}).insert("meanwhile"))
	apply(t, remoteSeat, middle)
	for _, m := range []*member{author, late, remote} { // remote too, which wrote only the middle
		eventually(t, "a member has all", func() bool { return clockOf(t, m, 7) == 14 })
	}
	m, _ := join(t, newPod(t, url).open(t, "e1"))
	if got := clockOf(t, m, 7); got != 14 {
		t.Errorf("the history has the client up to %d, expected 14", got)
	}
}

// clockOf is what a member knows of a client.
func clockOf(t *testing.T, m *member, client uint64) uint64 {
	t.Helper()
	sv, _ := m.state()
	known, err := ystore.ReadProgress([]byte(sv))
	if err != nil {
		t.Fatal(err)
	}
	return maps.Collect(known.All())[client]
}

func TestAMalformedUpdateReachesNobody(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	_, seat := join(t, r)
	other, _ := join(t, r)
	frames := other.frames
	if _, err := seat.Apply([]byte{1, 2, 3}); err == nil {
		t.Error("it was taken")
	}
	if other.frames != frames {
		t.Error("it was passed on")
	}
}

func TestADocumentThatIsOverTheLimitsIsLoadedWhole(t *testing.T) {
	url := natstest.Server(t).URL
	limited := newPod(t, url, func(c *Config) {
		c.Limits = ystore.Limits{MaxDeleteRanges: 10, MaxBytes: 400, MaxClients: 2}
	})
	unlimited := newPod(t, url).open(t, "e1")
	_, seat := join(t, unlimited)
	w := &writer{client: 7}
	apply(t, seat, w.insert(strings.Repeat("x", 100)))
	for i := range uint64(50) {
		apply(t, seat, w.remove(2*i))
	}
	for client := range uint64(5) {
		apply(t, seat, (&writer{client: 20 + client}).insert(strings.Repeat("y", 100)))
	}
	if err := unlimited.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	whole, _ := join(t, unlimited)
	unlimited.Close()
	r := limited.open(t, "e1")
	m, seat := join(t, r)
	if !sameState(m, whole) {
		t.Fatal("the history does not give the document back")
	}
	if _, err := seat.Apply(r.Export()); err != nil {
		t.Errorf("a client that has the document is refused: %v", err)
	}
	if _, err := seat.Apply(w.insert("more")); !errors.Is(err, ystore.ErrDocumentTooLarge) {
		t.Errorf("a client that makes the document larger: %v", err)
	}
}

func TestEveryStep1IsAnsweredOnce(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	m, seat := join(t, r)
	w := &writer{client: 1}
	apply(t, seat, w.insert("hello"))
	for _, sv := range [][]byte{{0}, {1, 1, 2}} {
		if _, err := seat.Step1(sv); err != nil {
			t.Fatal(err)
		}
	}
	if m.step1 != 1 || m.step2 != 3 {
		t.Errorf("%d SyncStep1 and %d SyncStep2, want 1 and 3", m.step1, m.step2)
	}
	if _, err := seat.Step1([]byte{9}); err == nil {
		t.Error("a malformed state vector was answered")
	}
}

func TestAFrozenMemberIsSentTheDifferenceLater(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	_, seat := join(t, r)
	slow, slowSeat := join(t, r)
	w := &writer{client: 1}
	apply(t, seat, w.insert("a"))
	slow.full = true
	apply(t, seat, w.insert("b"))
	frames := slow.frames
	for range 50 {
		apply(t, seat, w.insert("c"))
	}
	apply(t, seat, w.remove(0))
	if slow.frames != frames {
		t.Fatalf("%d frames were sent to a full queue", slow.frames-frames)
	}
	slow.full = false
	for _, sv := range [][]byte{{0}, {1, 1, 1}} { // asked while frozen
		if _, err := slowSeat.Step1(sv); err != nil {
			t.Fatal(err)
		}
	}
	slowSeat.Thaw()
	if slow.frames != frames+2 || slow.step2 != 3 {
		t.Errorf("%d frames and %d SyncStep2 after the thaw", slow.frames-frames, slow.step2)
	}
	sv, deletions := slow.state()
	if sv != string(r.Stat().StateVector) || deletions != r.content.store.DeleteDigest() {
		t.Error("the member is not complete")
	}
}

func TestAMemberThatTheEditsBeforeItsAnswerFreezeIsAnsweredLater(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	_, seat := join(t, r)
	slow, slowSeat := join(t, r)
	w := &writer{client: 1}
	r.mu.Lock() // gathered, as in the rooms of a busy pod
	update := w.insert("a")
	if _, err := r.content.store.Apply(update); err != nil {
		t.Fatal(err)
	}
	r.members.gathered.updates, r.members.gathered.from = [][]byte{update}, seat
	r.mu.Unlock()
	slow.full = true
	if _, err := slowSeat.Step1([]byte{0}); err != nil {
		t.Fatal(err)
	}
	slow.full = false
	slowSeat.Thaw()
	if slow.step2 != 2 {
		t.Errorf("%d SyncStep2 for 2 SyncStep1", slow.step2)
	}
}

func TestARoomThatIsClosedSubscribesToNothingMore(t *testing.T) {
	p := newPod(t, natstest.Server(t).URL)
	before := p.bus.Stats().Subscriptions
	r := p.open(t, "e1")
	r.Close()
	if err := r.Rebase(t.Context(), "e2"); !errors.Is(err, ErrClosed) {
		t.Errorf("it went over to another epoch: %v", err)
	}
	if n := p.bus.Stats().Subscriptions; n != before {
		t.Errorf("%d subscriptions are left", n-before)
	}
}

func TestADocumentIsReadFromItsHistory(t *testing.T) {
	url := natstest.Server(t).URL
	small := func(c *Config) { c.CompactMessages = 20 }
	p := newPod(t, url, small)
	a := p.open(t, "e1")
	_, seat := join(t, a)
	w := &writer{client: 1}
	for i := range 200 {
		apply(t, seat, w.insert("x"))
		if i%10 == 9 {
			apply(t, seat, w.remove(uint64(i)))
			durable(t, a)
		}
	}
	eventually(t, "the history was compacted", func() bool { return p.Counters.Compactions.Load() > 0 && a.Stat().Messages < 40 })
	durable(t, a)
	seat.Leave()
	a.Close()
	late, _ := join(t, newPod(t, url).open(t, "e1"))
	sv, deletions := late.state()
	if sv != string(a.content.store.StateVector()) || deletions != a.content.store.DeleteDigest() {
		t.Error("the document came back incomplete")
	}
	other, _ := join(t, newPod(t, url).open(t, "e2"))
	if sv, _ := other.state(); sv != "\x00" {
		t.Error("another epoch holds something of it")
	}
}

func TestLargeUpdatesAndSnapshotsTravelInParts(t *testing.T) {
	url := natstest.Server(t, smallMessages).URL
	p, q := newPod(t, url), newPod(t, url)
	a, b := p.open(t, "e1"), q.open(t, "e1")
	_, seat := join(t, a)
	remote, _ := join(t, b)
	w := &writer{client: 1}
	big := strings.Repeat("0123456789abcdef", 320<<10/16)
	apply(t, seat, w.insert(big))
	apply(t, seat, w.insert("!"))
	eventually(t, "the other pod has it", func() bool { return first(remote.state()) == string(a.Stat().StateVector) })
	durable(t, a)
	if err := a.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	late, _ := join(t, newPod(t, url).open(t, "e1"))
	if first(late.state()) != string(a.Stat().StateVector) {
		t.Error("a late pod is not complete")
	}
}

func TestARefusedAppendIsTriedAgain(t *testing.T) {
	s := natstest.Server(t)
	p := newPod(t, s.URL, func(c *Config) { c.RetryEvery = 100 * time.Millisecond })
	a := p.open(t, "e1")
	_, seat := join(t, a)
	w := &writer{client: 1}
	apply(t, seat, w.insert("before"))
	durable(t, a)
	js := p.bus.Conn()
	if _, err := js.Request("$JS.API.STREAM.DELETE."+history.StreamName(0), nil, patience); err != nil {
		t.Fatal(err)
	}
	apply(t, seat, w.insert("after"))
	durable(t, a)
	if err := a.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	late, _ := join(t, newPod(t, s.URL).open(t, "e1"))
	if first(late.state()) != string(a.Stat().StateVector) {
		t.Error("edits were lost with the stream")
	}
}

func TestABusyPodWritesManyEditsAsOneFrame(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	var members []*member
	for range 5 {
		m, _ := join(t, r)
		members = append(members, m)
	}
	const each = 1000
	var writers [2]writer
	var seats [2]*Seat
	for i := range writers {
		writers[i] = writer{client: uint64(i + 1)}
		_, seats[i] = join(t, r)
	}
	// frames says how many one member got for each edits of both authors.
	frames := func() int {
		members[0].mu.Lock()
		before := members[0].frames
		members[0].mu.Unlock()
		var typing sync.WaitGroup
		for i := range writers {
			typing.Go(func() {
				for range each {
					// Another room of the pod, with more members than the pod can serve
					// one by one at the speed of any machine.
					r.rooms.pace.note(clock()/int64(pacePeriod), 1_000_000, true)
					apply(t, seats[i], writers[i].insert("x"))
				}
			})
		}
		typing.Wait()
		want := string(r.Stat().StateVector)
		for _, m := range members {
			eventually(t, "every member has every edit", func() bool { return first(m.state()) == want })
		}
		members[0].mu.Lock()
		defer members[0].mu.Unlock()
		return members[0].frames - before
	}
	// The pod learns by and by that it is busy; a starved test may look idle to it for a while.
	eventually(t, "a frame holds several edits", func() bool { return frames() <= each })
}

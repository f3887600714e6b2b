package room

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/test/natstest"
)

// lossy drops what a test tells it to.
type lossy struct {
	Bus
	mu       sync.Mutex
	drop     func(subject string) bool
	renewals int
}

func (l *lossy) Subscribe(subject string, h bus.Handler) (*bus.Subscription, error) {
	return l.Bus.Subscribe(subject, bus.HandlerFunc(func(subject, reply string, data []byte) {
		l.mu.Lock()
		drop := l.drop != nil && l.drop(subject)
		l.mu.Unlock()
		if !drop {
			h.Receive(subject, reply, data)
		}
	}))
}

// Renew is counted, and does nothing: the messages stay lost.
func (l *lossy) Renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewals++
}

func (l *lossy) drops(drop func(subject string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop = drop
}

// apart is a document on two pods, of which the second loses messages.
type apart struct {
	*lossy
	near   *Room
	seat   *Seat // of its author
	writer writer
	far    *pod
	remote *member // of the far room
}

func newApart(t *testing.T) *apart {
	url := natstest.Server(t, smallMessages).URL
	quick := func(c *Config) { c.BeaconEvery, c.PeerTimeout = 300*time.Millisecond, 2*time.Second }
	p := &apart{lossy: new(lossy), writer: writer{client: 1}}
	p.far = newPod(t, url, quick, func(c *Config) { p.lossy.Bus = c.Bus; c.Bus = p.lossy })
	p.near = newPod(t, url, quick).open(t, "e1")
	far := p.far.open(t, "e1")
	_, p.seat = join(t, p.near)
	p.remote, _ = join(t, far)
	p.send(t, p.writer.insert("ab"))
	eventually(t, "the pods are linked", p.equal)
	return p
}

// send applies an update at the near room, and waits until it is durable.
func (p *apart) send(t *testing.T, update []byte) {
	t.Helper()
	apply(t, p.seat, update)
	durable(t, p.near)
}

// equal reports whether the member of the far room has what the near room has.
func (p *apart) equal() bool {
	stateVector, deletions := p.remote.state()
	p.near.mu.Lock()
	defer p.near.mu.Unlock()
	return stateVector == string(p.near.content.store.StateVector()) && deletions == p.near.content.store.DeleteDigest()
}

// repairs counts all ways in which a lost message comes after all. The peer's answer is
// the usual one. On a machine that starves the pods it may be so late that the history
// is read first, or that the author's append counts as failed and is published again.
func (p *apart) repairs() int64 {
	far, near := &p.far.Counters, &p.near.rooms.Counters
	return far.Repairs.Load() + far.Rereads.Load() + near.Retries.Load()
}

func TestARoomWhosePeersDoNotAnswerReadsTheHistory(t *testing.T) {
	p := newApart(t)
	p.drops(func(subject string) bool { return !strings.HasPrefix(subject, "wsn.s.") }) // only beacons arrive
	apply(t, p.seat, p.writer.insert("c"))
	p.send(t, p.writer.remove(0))
	eventually(t, "what is missing was found in the history", p.equal)
	eventually(t, "the history was read", func() bool { return p.far.Counters.Rereads.Load() > 0 })
	// It goes on until the questions are answered.
	eventually(t, "a new connection is asked for", func() bool {
		apply(t, p.seat, p.writer.insert("d"))
		p.lossy.mu.Lock()
		defer p.lossy.mu.Unlock()
		return p.renewals > 0
	})
}

func TestRoomsThatLostEachOtherFindEachOtherAgain(t *testing.T) {
	p := newApart(t)
	p.drops(func(string) bool { return true })
	p.send(t, p.writer.insert("c"))
	far := p.far.all()[0]
	eventually(t, "neither knows of the other", func() bool { return p.near.Brief().Peers == 0 && far.Brief().Peers == 0 })
	p.drops(nil)
	eventually(t, "the far room has what was typed meanwhile", p.equal)
}

// What waits behind a gap is in no state vector, and nothing is typed after it.
func TestAnEditBehindAGapThatWasLostIsRepaired(t *testing.T) {
	p := newApart(t)
	var lost atomic.Int32
	p.drops(func(subject string) bool {
		if !strings.HasPrefix(subject, "wsn.u.") {
			return false
		}
		lost.Add(1)
		return true
	})
	ahead := writer{client: 7}
	ahead.insert("a") // which nobody gets
	p.send(t, ahead.insert("b"))
	if got := p.near.Brief().Store.Pending; got == 0 {
		t.Fatal("nothing waits behind a gap")
	}
	eventually(t, "it is lost", func() bool { return lost.Load() > 0 }) // the history may have it earlier
	p.drops(nil)
	far := p.far.all()[0]
	eventually(t, "the far room has what waits", func() bool { return far.Brief().Store.Pending == p.near.Brief().Store.Pending })
	far.mu.Lock()
	defer far.mu.Unlock()
	if mine, theirs := far.content.store.PendingDigest(), p.near.exchange.digest().Pending; mine != theirs {
		t.Errorf("rooms that know the same say %x and %x, and would ask for ever", mine, theirs)
	}
}

// Nothing is typed after the way between them is mended: only a call can cross it.
func TestRoomsThatNeverMetFindEachOther(t *testing.T) {
	url := natstest.Server(t).URL
	var missed [2]atomic.Int32 // edits of the other room
	apart := func(i int) *lossy {
		return &lossy{drop: func(subject string) bool {
			if strings.HasPrefix(subject, "wsn.u.") {
				missed[i].Add(1)
			}
			return true
		}}
	}
	one, other := apart(0), apart(1)
	open := func(l *lossy) (*Room, *Seat, *member) {
		r := newPod(t, url, func(c *Config) { l.Bus = c.Bus; c.Bus = l }).open(t, "e1")
		m, seat := join(t, r)
		return r, seat, m
	}
	a, seatA, memberA := open(one)
	b, seatB, memberB := open(other)
	apply(t, seatA, (&writer{client: 1}).insert("one"))
	apply(t, seatB, (&writer{client: 2}).insert("other"))
	eventually(t, "the edits have passed", func() bool { return missed[0].Load() == 1 && missed[1].Load() == 1 })
	if a.Brief().Peers+b.Brief().Peers > 0 {
		t.Fatal("they have met")
	}
	one.drops(nil)
	other.drops(nil)
	eventually(t, "each member has the other's edit", func() bool { return clockOf(t, memberA, 2) > 0 && clockOf(t, memberB, 1) > 0 })
}

func TestARoomThatIsAloneLooksForOthersForAWhileOnly(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.peers.calls.next
	var called []time.Duration
	for began := now; now.Sub(began) < time.Hour; now = now.Add(tickEvery) {
		if r.peers.callDue(now) {
			called = append(called, now.Sub(began))
		}
	}
	if n := len(called); n < 5 || n > 12 || called[n-1] < 2*time.Minute || called[n-1] > 10*time.Minute {
		t.Errorf("it called after %s", called)
	}
}

func TestALostMessageIsNoticedAndRepaired(t *testing.T) {
	for _, lost := range []string{"insertion", "deletion", "last", "part of a large insertion"} {
		t.Run(lost, func(t *testing.T) {
			p := newApart(t)
			before := p.repairs()
			var dropped atomic.Bool
			p.drops(func(subject string) bool {
				return strings.HasPrefix(subject, "wsn.u.") && dropped.CompareAndSwap(false, true)
			})
			// What is dropped may be a message of the opening that is late on a busy machine,
			// whose loss needs no repair: then another one is.
			for tries := 0; p.repairs() == before && tries < 5; tries++ {
				dropped.Store(true)
				p.send(t, p.writer.insert("x")) // which may be removed
				eventually(t, "it has come", p.equal)
				dropped.Store(false)
				p.loses(t, lost)
				eventually(t, "repaired", p.equal)
				for soon := time.Now().Add(5 * time.Second); p.repairs() == before && time.Now().Before(soon); {
					time.Sleep(time.Millisecond)
				}
			}
			if p.repairs() == before {
				t.Error("no repair is counted")
			}
			if !dropped.Load() {
				t.Error("no message was dropped")
			}
		})
	}
}

// loses sends something, of which the first message is lost.
func (p *apart) loses(t *testing.T, lost string) {
	t.Helper()
	switch lost {
	case "insertion":
		p.send(t, p.writer.insert("c"))
		p.send(t, p.writer.insert("d"))
	case "deletion":
		p.send(t, p.writer.remove(p.writer.clock-1))
		p.send(t, p.writer.insert("d"))
	case "last":
		p.send(t, p.writer.remove(p.writer.clock-1))
	case "part of a large insertion":
		p.send(t, p.writer.insert(strings.Repeat("0123456789abcdef", 192<<10/16)))
	}
}

// begin appends the first part of a message that its room never finishes.
func begin(t *testing.T, r *Room, room oplog.ID, counter uint64) {
	t.Helper()
	data := oplog.Plain.AppendPart(nil, room, counter, oplog.Part{First: counter, Count: 2, Kind: oplog.Snapshot}, []byte("half"))
	appended := make(chan error, 1)
	if err := r.rooms.cfg.History.Append(r.at.now().updates, data, func(_ uint64, err error) { appended <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
}

func TestAMessageThatIsNeverFinishedKeepsNoHistory(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	_, seat := join(t, r)
	w := &writer{client: 1}
	apply(t, seat, w.insert("a"))
	durable(t, r)
	begin(t, r, 99, 1)
	apply(t, seat, w.insert("b"))
	durable(t, r)
	compacted := func() (first uint64) {
		if err := r.backlog.compactOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := r.rooms.cfg.History.LoadFrom(t.Context(), r.at.now().updates, 1, func(seq uint64, _ []byte) error {
			if first == 0 {
				first = seq
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return first
	}
	if first := compacted(); first != 2 {
		t.Fatalf("the history begins at message %d, expected the one that may still be finished", first)
	}
	for key := range r.backlog.unfinished {
		r.backlog.unfinished[key] = now().Add(-unfinishedFor)
	}
	if first := compacted(); first <= 3 {
		t.Errorf("the history begins at message %d: what nobody will finish keeps it", first)
	}

	begin(t, r, 98, 1)
	begin(t, r, 98, 3) // its room went on
	apply(t, seat, w.insert("c"))
	durable(t, r)
	compacted()
	if len(r.backlog.unfinished) != 1 {
		t.Errorf("%d messages may still be finished, expected one", len(r.backlog.unfinished))
	}
}

// The marker that an ended life leaves behind is no room's: a room that goes on in the life
// would wait for its beacons, and leave the storing to it, since its id is the lowest.
func TestTheMarkerOfALifeIsNoPeer(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	mark := oplog.AppendMark(nil, oplog.Mark{UpTo: 1, Purges: true, Ends: true})
	r.exchange.Receive(r.at.now().updates, "", oplog.Kept.Append(nil, oplog.NoRoom, oplog.Stored, 0, mark))
	if !r.Alone() || !r.First() {
		t.Error("the marker is heard as a room")
	}
}

// Of a room that was forgotten no part of a difference is kept: nobody waits for the rest.
func TestOfARoomThatIsNotHeardNoPartsAreKept(t *testing.T) {
	r := newPod(t, natstest.Server(t).URL).open(t, "e1")
	m, _ := join(t, r)
	update := (&writer{client: 7}).insert("difference")
	var parts [][]byte
	oplog.Split(update, (len(update)+1)/2, func(index, count int, piece []byte) {
		parts = append(parts, oplog.AppendDifferencePart(nil, 99, r.id, 1, index, count, piece))
	})
	hears := func() { r.mu.Lock(); defer r.mu.Unlock(); r.exchange.hear(99) }
	r.rooms.Receive("", "", parts[0]) // it is not heard any more
	hears()
	r.rooms.Receive("", "", parts[1])
	if clockOf(t, m, 7) != 0 {
		t.Error("a part was kept of a room that was not heard")
	}
	r.rooms.Receive("", "", parts[0])
	if clockOf(t, m, 7) == 0 {
		t.Error("the difference of a room that is heard is not taken")
	}
}

package awareness

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"
)

var now = time.Unix(1_000_000, 0)

func session(room, id uint64) *Session { return &Session{Owner: Owner{Room: room, Session: id}} }

func state(client, clock uint64) Entry {
	return Entry{Client: client, Clock: clock, State: fmt.Appendf(nil, `{"clock":%d}`, clock)}
}

func left(client, clock uint64) Entry { return Entry{Client: client, Clock: clock} }

func check(t *testing.T, what string, got []Entry, want ...Entry) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
	for i, g := range got {
		if w := want[i]; g.Client != w.Client || g.Clock != w.Clock || !bytes.Equal(g.State, w.State) {
			t.Fatalf("%s: got %v, want %v", what, got, want)
		}
	}
}

func TestOnlyNewerClocksGoOn(t *testing.T) {
	var s Set
	a, b := session(1, 1), session(1, 2)
	news, _ := s.ApplySession(a, []Entry{state(10, 3)}, now)
	check(t, "first", news, state(10, 3))
	news, tombs := s.ApplySession(a, []Entry{state(10, 3)}, now)
	check(t, "the same again", news)
	check(t, "the same again", tombs)
	news, tombs = s.ApplySession(b, []Entry{state(10, 3), state(10, 2)}, now)
	check(t, "what a peer passes on", news)
	check(t, "what a peer passes on", tombs)
	news, _ = s.ApplySession(a, []Entry{state(10, 4)}, now)
	check(t, "newer", news, state(10, 4))
}

func TestClientsLeaveWithTheirSession(t *testing.T) {
	var s Set
	a, b := session(1, 1), session(1, 2)
	s.ApplySession(a, []Entry{state(10, 3)}, now)
	s.ApplySession(b, []Entry{state(20, 1)}, now)
	s.ApplySession(b, []Entry{state(10, 5)}, now) // passed on by b, still a's
	check(t, "removed", s.RemoveSession(a.Owner, now), left(10, 5))
	check(t, "present", s.States(), state(20, 1))
}

func TestAReturningClientIsSentItsTombstone(t *testing.T) {
	var s Set
	a := session(1, 1)
	s.ApplySession(a, []Entry{state(10, 3)}, now)
	s.RemoveSession(a.Owner, now)
	again := session(1, 2)
	news, tombs := s.ApplySession(again, []Entry{state(10, 3)}, now.Add(time.Second))
	check(t, "unchanged clock", news)
	check(t, "unchanged clock", tombs, left(10, 3))
	news, _ = s.ApplySession(again, []Entry{state(10, 4)}, now.Add(time.Second))
	check(t, "raised clock", news, state(10, 4))
	check(t, "its new session owns it", s.RemoveSession(again.Owner, now), left(10, 4))
}

func TestAReturnedClientIsKnownAndOthersCanBeAnnouncedAgain(t *testing.T) {
	var s Set
	a, b := session(1, 1), session(1, 2)
	s.ApplySession(a, []Entry{state(10, 3)}, now)
	later := now.Add(TombstoneFor)
	s.ApplySession(b, []Entry{state(20, 1)}, later)
	if a.Returned || b.Returned {
		t.Fatal("a new client is taken for one that returned")
	}
	s.RemoveSession(b.Owner, later)
	again := session(1, 3)
	s.ApplySession(again, []Entry{state(20, 2)}, later) // it moved its cursor meanwhile
	if !again.Returned {
		t.Fatal("a client that returned is taken for a new one")
	}
	tombstones := s.TombstonesOf(1)
	check(t, "of the first session", tombstones[1], left(10, 3))
	check(t, "of the returned session", tombstones[3], left(20, 2))
	if len(tombstones) != 2 || len(s.TombstonesOf(2)) != 0 {
		t.Errorf("tombstones: %v", tombstones)
	}
}

func TestClientsThatMoveToAnotherRegionTogetherAreTakenForReturned(t *testing.T) {
	for name, c := range map[string]struct {
		clock    uint64
		after    time.Duration
		returned bool
	}{
		"with a past":                    {3, time.Second, true},
		"new, where nobody has a past":   {0, time.Second, false},
		"where the set is old enough":    {3, TombstoneFor, false},
		"at the very moment of the move": {1, 0, true},
	} {
		var s Set
		first, second := session(1, 1), session(1, 2)
		s.ApplySession(first, []Entry{state(10, 7)}, now)
		s.ApplySession(second, []Entry{state(20, c.clock)}, now.Add(c.after))
		if first.Returned || second.Returned != c.returned {
			t.Errorf("%s: the first %v, the second %v", name, first.Returned, second.Returned)
		}
	}
}

func TestANewProviderOvertakesItsOldSession(t *testing.T) {
	var s Set
	old, fresh := session(1, 1), session(1, 2)
	s.ApplySession(old, []Entry{state(10, 7)}, now)
	news, tombs := s.ApplySession(fresh, []Entry{state(10, 0)}, now)
	check(t, "clock 0", news)
	check(t, "clock 0", tombs, left(10, 7))
	news, _ = s.ApplySession(fresh, []Entry{state(10, 8)}, now)
	check(t, "raised", news, state(10, 8))
	check(t, "the old session takes nothing away", s.RemoveSession(old.Owner, now))
}

func TestAClientMovesBetweenPods(t *testing.T) {
	var s Set
	news, _ := s.ApplyRoom(2, []Entry{state(10, 7)}, now)
	check(t, "from another pod", news, state(10, 7))
	here := session(1, 1)
	_, tombs := s.ApplySession(here, []Entry{state(10, 7)}, now)
	check(t, "tombstone", tombs, left(10, 7))
	news, _ = s.ApplySession(here, []Entry{state(10, 8)}, now)
	check(t, "raised", news, state(10, 8))
	news, _ = s.ApplyRoom(2, []Entry{left(10, 7)}, now)
	check(t, "the other pod's removal is older", news)
	check(t, "the other pod owns nothing", s.RemoveRoom(2, now))
}

func TestAClientThatReturnsToAPodThatDoesNotKnowItIsSentItsTombstone(t *testing.T) {
	for _, clock := range []uint64{7, 0} { // it reconnected, or has a new provider
		var here, there Set
		a := session(1, 1)
		here.ApplySession(a, []Entry{state(10, 7)}, now)
		here.RemoveSession(a.Owner, now)

		back := session(2, 1)
		news, _ := there.ApplySession(back, []Entry{state(10, clock)}, now)
		check(t, "there it is new", news, state(10, clock))
		news, tombstones := here.ApplyRoom(2, news, now)
		check(t, "here its clock is old", news)
		check(t, "its pod is told", tombstones, left(10, 7))
		news, _ = there.ApplyRoom(1, tombstones, now)
		check(t, "and tells it", news, left(10, 7))
		news, _ = there.ApplySession(back, []Entry{state(10, 8)}, now)
		check(t, "it raises its clock", news, state(10, 8))
		news, _ = here.ApplyRoom(2, news, now)
		check(t, "and is seen by all", news, state(10, 8))
	}
}

func TestOnlyTheOwnerTakesAClientAway(t *testing.T) {
	var s Set
	a, b := session(1, 1), session(1, 2)
	s.ApplySession(a, []Entry{state(10, 3)}, now)
	s.ApplySession(b, []Entry{state(20, 1)}, now)
	for _, e := range []Entry{left(10, 3), left(10, 4)} {
		news, _ := s.ApplySession(b, []Entry{e}, now)
		check(t, "a peer's timeout", news)
	}
	news, _ := s.ApplySession(a, []Entry{left(10, 3)}, now)
	check(t, "its own farewell", news, left(10, 3))
}

func TestTombstonesExpire(t *testing.T) {
	var s Set
	a := session(1, 1)
	s.ApplySession(a, []Entry{state(10, 3)}, now)
	s.RemoveSession(a.Owner, now)
	later := now.Add(TombstoneFor)
	news, tombs := s.ApplySession(session(1, 2), []Entry{state(10, 0)}, later)
	check(t, "after the tombstone", news, state(10, 0))
	check(t, "after the tombstone", tombs)
}

func TestHostileEntriesAreDropped(t *testing.T) {
	var s Set
	a := session(1, 1)
	s.ApplySession(a, []Entry{state(10, 3)}, now)
	news, _ := s.ApplySession(a, []Entry{{Client: 10, Clock: 3 + MaxClockLead + 1, State: []byte("1")}}, now)
	check(t, "a jammed clock", news)
	many := make([]Entry, 0, 2*MaxClients)
	for i := range uint64(2 * MaxClients) {
		many = append(many, state(100+i, 1))
	}
	if news, _ = s.ApplySession(a, many, now); len(news) != MaxClients-1 {
		t.Errorf("a session introduced %d more clients", len(news))
	}
	big := append(append([]byte{'"'}, bytes.Repeat([]byte{'x'}, MaxStateBytes)...), '"')
	update := Append(nil, []Entry{{Client: 1, Clock: 1, State: []byte("{")}, {Client: 2, Clock: 1, State: big}, {Client: 3, Clock: 1, State: []byte("true")}})
	entries, err := Decode(update, new(Drops))
	if err != nil {
		t.Fatal(err)
	}
	check(t, "invalid JSON and too large", entries, Entry{Client: 3, Clock: 1, State: []byte("true")})
}

func TestADocumentTakesSoManyClients(t *testing.T) {
	s := Set{Most: 2}
	news, _ := s.ApplySession(session(1, 1), []Entry{state(1, 1), state(2, 1), state(3, 1)}, now)
	check(t, "the first two", news, state(1, 1), state(2, 1))
}

func TestMalformedUpdatesAreRefused(t *testing.T) {
	for _, b := range [][]byte{{}, {1}, {1, 1}, {1, 1, 1}, {1, 1, 1, 5, '1'}, {200, 1, 0, 0, 0}} {
		if _, err := Decode(b, new(Drops)); !errors.Is(err, ErrMalformed) {
			t.Errorf("% x: got %v", b, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Append(nil, []Entry{state(1, 2), left(3, 4)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := Decode(b, new(Drops))
		if err != nil {
			return
		}
		again, err := Decode(Append(nil, entries), new(Drops))
		if err != nil || len(again) != len(entries) {
			t.Fatalf("decoded %v, again %v, %v", entries, again, err)
		}
	})
}

func TestComingAndGoingLeavesABoundedNumberOfTombstones(t *testing.T) {
	var s Set
	stays := session(1, 1)
	s.ApplySession(stays, []Entry{state(1, 1)}, now)
	for i := range uint64(10 * maxTombstones) {
		from := session(1, 2+i)
		s.ApplySession(from, []Entry{state(1000+i, 1)}, now)
		s.RemoveSession(from.Owner, now)
	}
	s.ApplySession(stays, []Entry{state(1, 2)}, now)
	if len(s.gone) > maxTombstones || len(s.clients) > maxTombstones+1 {
		t.Errorf("%d tombstones, %d clients are kept", len(s.gone), len(s.clients))
	}
	check(t, "who is there", s.States(), state(1, 2))
	// The same client, again and again.
	s = Set{}
	from := session(1, 1)
	for i := range uint64(5 * maxTombstones) {
		s.ApplySession(from, []Entry{state(7, 2*i+1)}, now)
		s.ApplySession(from, []Entry{left(7, 2*i+2)}, now)
	}
	if len(s.gone) > maxTombstones+1 {
		t.Errorf("%d tombstones of one client", len(s.gone))
	}
}

func TestManyEntriesTakeABoundedAmountOfMemory(t *testing.T) {
	var many []Entry
	for i := range uint64(4 * MaxEntries) {
		many = append(many, state(i, 1))
	}
	update := Append(nil, many)
	entries, err := Decode(update, new(Drops))
	if err != nil || len(entries) != MaxEntries {
		t.Errorf("%d entries of a client's, %v", len(entries), err)
	}
	if entries, err := DecodeAll(update); err != nil || len(entries) != len(many) {
		t.Errorf("%d entries of a pod's, %v", len(entries), err)
	}
	// Announced, and not there.
	lie := append([]byte{0x80, 0x80, 0x80, 0x04}, make([]byte, 24<<20)...)
	if mallocs := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			_, _ = Decode(lie[:len(lie)/8], new(Drops))
		}
	}).AllocedBytesPerOp(); mallocs > 2*MaxEntries*64 {
		t.Errorf("%d bytes are allocated for an update that lies", mallocs)
	}
}

func TestEntriesAreDecodedIntoThoseThatAreNotWantedAnyMore(t *testing.T) {
	many := make([]Entry, 1000)
	for i := range many {
		many[i] = state(uint64(i), 1)
	}
	used, err := Decode(Append(nil, many), new(Drops))
	if err != nil {
		t.Fatal(err)
	}
	few, err := DecodeInto(used, Append(nil, []Entry{state(7, 2)}), new(Drops))
	if err != nil || len(few) != 1 || few[0].Client != 7 || few[0].Clock != 2 {
		t.Fatalf("%+v, %v", few, err)
	}
	if &few[0] != &used[0] {
		t.Error("room was made for entries that there was")
	}
}

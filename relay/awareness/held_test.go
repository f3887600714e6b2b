package awareness

import (
	"bytes"
	"cmp"
	"slices"
	"testing"
	"time"
)

func of(user, id uint64) *Session {
	return &Session{Owner: Owner{Room: 1, Session: id}, User: user}
}

func TestALongLivedTabIsSeenWhereNobodyKnowsIt(t *testing.T) {
	for clock, seen := range map[uint64]bool{MaxClockLead + 1: true, MaxFirstClock: true, MaxFirstClock + 1: false, maxInt: false} {
		var s Set
		news, _ := s.ApplySession(session(1, 1), []Entry{state(10, clock)}, now)
		if got := len(news) == 1; got != seen {
			t.Errorf("a first clock of %d: seen %v", clock, got)
		}
		if dropped := s.Drops.Ahead == 1; dropped == seen {
			t.Errorf("a first clock of %d: counted %+v", clock, s.Drops)
		}
	}
	var s Set
	s.ApplySession(session(1, 1), []Entry{state(10, 1<<30)}, now)
	news, _ := s.ApplySession(session(1, 1), []Entry{state(10, 1<<30+MaxClockLead+1)}, now)
	check(t, "too far ahead of the one known", news)
}

func TestASessionHasSoManyClientsAtATime(t *testing.T) {
	var s Set
	bridge := session(1, 1)
	for visitor := range uint64(10 * MaxClients) {
		news, _ := s.ApplySession(bridge, []Entry{state(100+visitor, 1)}, now)
		check(t, "a visitor", news, state(100+visitor, 1))
		news, _ = s.ApplySession(bridge, []Entry{left(100+visitor, 2)}, now)
		check(t, "leaves", news, left(100+visitor, 2))
	}
	for visitor := range uint64(MaxClients) {
		s.ApplySession(bridge, []Entry{state(9000+visitor, 1)}, now)
	}
	news, _ := s.ApplySession(bridge, []Entry{state(1, 1)}, now)
	check(t, "one too many", news)
	if s.Drops.Many != 1 {
		t.Errorf("counted: %+v", s.Drops)
	}
	// The visitor's own session takes a place of the bridge's over.
	s.ApplySession(session(1, 2), []Entry{state(9000, 2)}, now)
	news, _ = s.ApplySession(bridge, []Entry{state(1, 1)}, now)
	check(t, "in its place", news, state(1, 1))
	s.ApplySession(bridge, []Entry{left(9001, 2)}, now)
	s.ApplySession(bridge, []Entry{state(9001, 3)}, now)
	news, _ = s.ApplySession(bridge, []Entry{state(2, 1)}, now)
	check(t, "who came back has a place again", news)
}

func TestDropsAreCounted(t *testing.T) {
	big := append(append([]byte{'"'}, bytes.Repeat([]byte{'x'}, MaxStateBytes)...), '"')
	var drops Drops
	_, err := Decode(Append(nil, []Entry{{Client: 1, Clock: 1, State: big}, {Client: 2, Clock: 1, State: []byte("{")}, state(3, 1)}), &drops)
	if want := (Drops{Large: 1, Invalid: 1}); err != nil || drops != want {
		t.Errorf("%+v, %v, expected %+v", drops, err, want)
	}
}

func TestAnotherUserNeitherChangesNorTakesAwayWhoIsThere(t *testing.T) {
	for name, entries := range map[string][][]Entry{
		"claims it":        {{state(10, 4)}},
		"claims it again":  {{state(10, 4)}, {state(10, 5)}},
		"overwrites it":    {{state(20, 1)}, {state(10, 4)}},
		"takes it away":    {{state(20, 1)}, {left(10, 3)}, {left(10, 4)}},
		"claims and takes": {{state(10, 4)}, {left(10, 5)}},
	} {
		var s Set
		owner, other := of(1, 1), of(2, 2)
		s.ApplySession(owner, []Entry{state(10, 3), state(11, 3)}, now) // a bridge's are held as well
		for _, e := range entries {
			news, tombstones := s.ApplySession(other, e, now)
			for _, n := range append(news, tombstones...) {
				if n.Client == 10 {
					t.Errorf("%s: %v", name, n)
				}
			}
		}
		check(t, name, []Entry{s.Newest(10, 0)}, state(10, 3))
		if s.Drops.Foreign == 0 {
			t.Errorf("%s: not counted", name)
		}
		news, _ := s.ApplySession(owner, []Entry{state(10, 4)}, now)
		check(t, name+": the owner goes on", news, state(10, 4))
		removed := s.RemoveSession(owner.Owner, now)
		slices.SortFunc(removed, func(a, b Entry) int { return cmp.Compare(a.Client, b.Client) })
		check(t, name+": and its clients leave with it", removed, left(10, 4), left(11, 3))
	}
}

func TestWhoIsHeldByADeadSessionCanBeClaimedOnceThatIsKnown(t *testing.T) {
	var s Set
	ghost, back := of(1, 1), of(2, 2) // a renewed token of one who has no name
	s.ApplySession(ghost, []Entry{state(10, 3)}, now)
	news, tombstones := s.ApplySession(back, []Entry{state(10, 3)}, now)
	check(t, "still held", append(news, tombstones...))
	if !back.Contests {
		t.Fatal("nobody looks whether the owner is alive")
	}
	check(t, "the dead leave", s.RemoveSession(ghost.Owner, now), left(10, 3))
	news, _ = s.ApplySession(back, []Entry{state(10, 4)}, now) // it was told so
	check(t, "back", news, state(10, 4))
	check(t, "the ghost's end", s.RemoveSession(ghost.Owner, now))
}

func TestOneUsersTabsAndSessionsSpeakForEachOther(t *testing.T) {
	var s Set
	old, tab := of(7, 1), of(7, 2)
	s.ApplySession(old, []Entry{state(10, 3)}, now)
	s.ApplySession(tab, []Entry{state(20, 1)}, now)
	news, _ := s.ApplySession(tab, []Entry{state(10, 4)}, now)
	check(t, "passed on by another tab", news, state(10, 4))
	again := of(7, 3)
	_, tombstones := s.ApplySession(again, []Entry{state(10, 4)}, now)
	check(t, "reconnected, its old session not known to be dead", tombstones, left(10, 4))
	news, _ = s.ApplySession(again, []Entry{state(10, 5)}, now)
	check(t, "raised", news, state(10, 5))
	check(t, "the old session takes nothing away", s.RemoveSession(old.Owner, now))
}

func TestOtherPodsHoldWhoIsThereToo(t *testing.T) {
	var here, there Set
	owner := of(1, 1)
	news, _ := here.ApplySession(owner, []Entry{state(10, 3)}, now)
	entries, err := DecodeAll(AppendAll(nil, news))
	if err != nil {
		t.Fatal(err)
	}
	there.ApplyRoom(1, entries, now)
	other, back := of(2, 1), of(1, 2)
	other.Owner.Room, back.Owner.Room = 2, 2
	news, tombstones := there.ApplySession(other, []Entry{state(10, 4)}, now)
	check(t, "another user there", append(news, tombstones...))
	_, tombstones = there.ApplySession(back, []Entry{state(10, 3)}, now)
	check(t, "the same user there", tombstones, left(10, 3))
	// A pod of the version before does not say whose it is.
	old, err := DecodeAll(Append(nil, []Entry{state(30, 3)}))
	if err != nil {
		t.Fatal(err)
	}
	there.ApplyRoom(3, old, now)
	news, _ = there.ApplySession(of(9, 3), []Entry{state(30, 4)}, now)
	check(t, "of an older pod", news, state(30, 4))
}

func alive(uint64) bool { return true }

func TestWhoseTimersRestIsRenewedAndWhoseConnectionIsDeadIsNot(t *testing.T) {
	var s Set
	a := session(1, 1)
	s.ApplySession(a, []Entry{state(10, 3)}, now)
	s.ApplyRoom(2, []Entry{state(20, 1)}, now)                  // another pod's to renew
	s.ApplySession(session(1, 2), []Entry{state(30, 1)}, now)   // renews itself
	s.ApplySession(a, []Entry{state(40, 1), state(41, 1)}, now) // carried: of a, whose own is 10
	check(t, "too early", s.Renew(1, now.Add(RenewAfter-1), alive))
	later := now.Add(RenewAfter)
	s.ApplySession(session(1, 2), []Entry{state(30, 2)}, later.Add(-time.Second))
	check(t, "dead", s.Renew(1, later, func(uint64) bool { return false }))
	later = later.Add(renewEvery)
	renewed := s.Renew(1, later, alive)
	check(t, "alive", renewed, Entry{Client: 10, Clock: 4, State: []byte(`{"clock":3}`)})
	check(t, "once", s.Renew(1, later.Add(2*renewEvery), alive))
}

func TestAnOwnerThatDoesNotKnowOfItsRenewalIsHeard(t *testing.T) {
	renewed := func() (*Set, *Session) {
		s, a := new(Set), session(1, 1)
		s.ApplySession(a, []Entry{state(10, 3)}, now)
		s.Renew(1, now.Add(RenewAfter), alive)
		return s, a
	}
	s, a := renewed()
	news, tombstones := s.ApplySession(a, []Entry{{Client: 10, Clock: 4, State: []byte(`{"clock":3}`)}}, now)
	check(t, "its echo", append(news, tombstones...))
	news, _ = s.ApplySession(a, []Entry{state(10, 5)}, now)
	check(t, "its next", news, state(10, 5))

	s, a = renewed()
	news, _ = s.ApplySession(a, []Entry{state(10, 4)}, now) // crossed with the renewal
	check(t, "crossed", news, Entry{Client: 10, Clock: 5, State: []byte(`{"clock":4}`)})
	news, _ = s.ApplySession(a, []Entry{state(10, 5)}, now) // crossed with that
	check(t, "crossed again", news, Entry{Client: 10, Clock: 6, State: []byte(`{"clock":5}`)})
	news, _ = s.ApplySession(a, []Entry{state(10, 4)}, now)
	check(t, "an old one", news)

	s, a = renewed()
	news, _ = s.ApplySession(a, []Entry{left(10, 4)}, now)
	check(t, "a farewell", news, left(10, 5))
}

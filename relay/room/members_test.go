package room

import "testing"

func TestASeatStandsWhereItsIndexSays(t *testing.T) {
	r := newRoom(&Rooms{}, doc, nil)
	ms := &r.members
	seats := []*Seat{{}, {}, {}, {}}
	for _, s := range seats {
		ms.add(s)
	}
	for _, gone := range []int{1, 3, 0, 2} {
		ms.remove(seats[gone])
		if seats[gone].index != -1 {
			t.Errorf("a seat that left has the index %d", seats[gone].index)
		}
		for i, s := range ms.seats {
			if s.index != i {
				t.Errorf("the seat at %d has the index %d", i, s.index)
			}
		}
	}
	again := new(Seat)
	if ms.add(again); again.aware.Owner.Session != 5 || again.aware.Owner.Room != uint64(r.id) {
		t.Errorf("a fifth session is %+v", again.aware.Owner)
	}
}

func TestGatheredEditsOfSeveralAuthorsGoToAllOfThem(t *testing.T) {
	var g gathered
	one, other := new(Seat), new(Seat)
	g.add([]byte("a"), one)
	g.add([]byte("bc"), one)
	if updates, from := g.take(); len(updates) != 2 || from != one || g.wrote == 0 {
		t.Errorf("%d edits of one author are from %p", len(updates), from)
	}
	g.add([]byte("a"), one)
	g.add([]byte("bc"), other)
	g.add([]byte("d"), one)
	if g.size != 4 {
		t.Errorf("%d bytes are gathered", g.size)
	}
	if updates, from := g.take(); len(updates) != 3 || from != nil {
		t.Errorf("%d edits of two authors are from %p", len(updates), from)
	}
	if updates, _ := g.take(); updates != nil || g.size != 0 {
		t.Errorf("%d edits are sent twice", len(updates))
	}
}

package room

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// books is a room's changes and a history as they really are, beside a watermark.
type books struct {
	w       watermark
	peer    span // what one other pod published
	flying  map[flight][]uint64
	pending []uint64
	kept    []uint64
	owing   bool
	stored  map[uint64]bool // in the present history, acknowledged
	theirs  map[uint64]bool // another pod's
}

func newBooks() *books {
	b := &books{flying: map[flight][]uint64{}, stored: map[uint64]bool{1: true}, theirs: map[uint64]bool{}}
	b.w.init()
	return b
}

// durable is what questions.durable says.
func (b *books) durable() uint64 {
	low := b.w.lowest(b.w.own()+1, b.w.unconfirmed)
	return b.w.lowest(low, b.peer) - 1
}

func (b *books) all() (numbers []uint64) {
	for n := uint64(1); n <= b.w.taken; n++ {
		numbers = append(numbers, n)
	}
	return numbers
}

func (b *books) owe() {
	b.kept, b.owing = nil, true
	b.w.owe()
}

// step does one thing that may happen to a room, and returns what.
func (b *books) step(random *rand.Rand) string {
	switch random.IntN(11) {
	case 0, 1:
		b.w.take()
		b.pending = append(b.pending, b.w.taken)
		return "take"
	case 2:
		s := b.w.hear()
		b.peer = b.peer.with(s)
		b.theirs[s.low] = true
		return "hear"
	case 3: // the other pod says that all is durable that it published
		for n := range b.theirs {
			b.stored[n] = true
		}
		b.peer = b.peer.above(b.w.taken)
		return "told"
	case 4: // or it is gone
		b.w.unconfirmed, b.peer = b.w.unconfirmed.with(b.peer), span{}
		return "gone"
	case 5:
		if b.owing {
			f := b.w.departSnapshot(b.w.owed)
			b.w.owed, b.owing = span{}, false
			b.flying[f] = b.all()
		}
		f := b.w.depart()
		b.flying[f], b.pending = b.pending, nil
		return "publish"
	case 6:
		b.flying[b.w.departSnapshot(span{})] = b.all()
		return "compact"
	case 7, 8:
		for f, numbers := range b.flying {
			delete(b.flying, f)
			b.land(f, numbers, random.IntN(3) > 0, random)
			return "land"
		}
	case 9:
		if !b.owing {
			b.pending, b.kept = append(b.kept, b.pending...), nil
			b.w.retry()
		}
		return "retry"
	case 10:
		if random.IntN(4) == 0 { // another history, or an empty one
			b.w.reopen()
			clear(b.stored)
			return "reopen"
		}
		if b.w.unconfirmed.low != 0 {
			b.owe()
			return "owe"
		}
	}
	return ""
}

func (b *books) land(f flight, numbers []uint64, arrived bool, random *rand.Rand) {
	if arrived {
		if f.life == b.w.life { // else it is in a history that does not count
			for _, n := range numbers {
				b.stored[n] = true
			}
		}
		b.w.acknowledge(f)
		return
	}
	b.w.fail(f)
	switch {
	case f.covers != 0 && f.low == 0: // a compaction, which its caller tries again
	case f.covers != 0:
		b.w.owed = b.w.owed.with(f.span)
		b.owe()
	case f.low != 0:
		b.w.kept = b.w.kept.with(f.span)
		b.kept = append(b.kept, numbers...)
		if b.owing || random.IntN(4) == 0 {
			b.owe()
		}
	}
}

func (b *books) check(t *testing.T, seed int, path []string) {
	t.Helper()
	for n := uint64(1); n <= b.durable(); n++ {
		if !b.stored[n] {
			t.Fatalf("seed %d: %d counts as durable and is not, up to %d of %d, after %v", seed, n, b.durable(), b.w.taken, path)
		}
	}
	landed, snapshots := b.w.landed(), 0
	yet := slices.Concat(b.pending, b.kept)
	for f, numbers := range b.flying {
		if f.covers != 0 {
			snapshots++
		} else {
			yet = append(yet, numbers...)
		}
	}
	for _, n := range yet {
		if n <= landed {
			t.Fatalf("seed %d: %d counts as landed and has yet to be appended, after %v", seed, n, path)
		}
	}
	if snapshots != b.w.snapshots {
		t.Fatalf("seed %d: %d snapshots count as on their way, and %d are, after %v", seed, b.w.snapshots, snapshots, path)
	}
}

func TestTheWatermarkNeverPromisesWhatTheHistoryLacks(t *testing.T) {
	reached := 0
	for seed := range 3000 {
		random := rand.New(rand.NewPCG(uint64(seed), 1))
		b := newBooks()
		var path []string
		for range 60 {
			if what := b.step(random); what != "" {
				path = append(path, fmt.Sprintf("%s:%d", what, b.w.taken))
			}
			b.check(t, seed, path)
		}
		if b.durable() > 1 {
			reached++
		}
		b.settle(random)
		b.check(t, seed, path)
		if b.durable() != b.w.taken || b.w.landed() != b.w.taken {
			t.Fatalf("seed %d: all is settled, and of %d changes %d count as durable and %d as landed, after %v", seed, b.w.taken, b.durable(), b.w.landed(), path)
		}
	}
	if reached < 300 {
		t.Errorf("only %d of 3000 histories promised anything on their way", reached)
	}
}

// settle has everything arrive.
func (b *books) settle(random *rand.Rand) {
	for range 3 {
		for f, numbers := range b.flying {
			delete(b.flying, f)
			b.land(f, numbers, true, random)
		}
		b.w.unconfirmed, b.peer = b.w.unconfirmed.with(b.peer), span{}
		if !b.owing {
			b.pending, b.kept = append(b.kept, b.pending...), nil
			b.w.retry()
		}
		b.owe()
		f := b.w.departSnapshot(b.w.owed)
		b.w.owed, b.owing = span{}, false
		b.flying[f] = b.all()
		d := b.w.depart()
		b.flying[d], b.pending = b.pending, nil
	}
	for f, numbers := range b.flying {
		delete(b.flying, f)
		b.land(f, numbers, true, random)
	}
}

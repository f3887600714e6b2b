package ystore

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"
)

// every returns delete ranges of one id each, step apart.
func every(client, step uint64, n int) []byte {
	var v []uint64
	for i := range uint64(n) {
		v = append(v, i*step, 1)
	}
	return ranges(client, v...)
}

func TestDeleteRangesOfOneUpdateAreOneEditOfALeaf(t *testing.T) {
	const n = 100_000
	start := update(nil, block(1, 0, text(strings.Repeat("x", 2*n))))
	bomb := update(every(1, 2, n))
	s := New(Limits{})
	must(t, s, start)
	before := s.Work()
	must(t, s, bomb)
	// A leaf of 4 KiB is four pieces of text; each range makes two entries of one.
	if work, most := s.Work()-before, n*(rangeWork+3*entryWork)+2*n/1000*editWork; work > most {
		t.Errorf("%d ranges are work for %d bytes, at most %d", n, work, most)
	}
	before = s.Work()
	must(t, s, bomb)
	if work := s.Work() - before; work != n*rangeWork {
		t.Errorf("known ranges are work for %d bytes", work)
	}
}

func TestADeletionInEachOfManyLeavesIsChargedByWork(t *testing.T) {
	const n = 200
	s := New(Limits{})
	for i := range uint64(n) { // each fills a leaf
		must(t, s, update(nil, block(1, i, append([]byte{kindBinary, 1, 1, 't', 0x80, 0x28}, make([]byte, 5<<10)...))))
	}
	before := s.Work()
	bomb := update(every(1, 2, n/2))
	must(t, s, bomb)
	if work := s.Work() - before; work < n/2*editWork {
		t.Errorf("%d bytes are work for %d", len(bomb), work)
	}
}

// All ranges of an update at once come to the same as one after the other.
func TestDeleteRangesTogetherAreThoseOneByOne(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		together, single := busy(), busy()
		var clients []span
		for _, r := range together.list {
			clients = append(clients, span{r.client, 0, r.end + 20})
		}
		for range 3 {
			c := clients[rng.IntN(len(clients))]
			var v []uint64
			for at := rng.Uint64N(5); at < c.to; at += 1 + rng.Uint64N(6) {
				n := 1 + rng.Uint64N(4)
				v = append(v, at, n)
				must(t, single, update(ranges(c.client, at, n)))
				at += n
			}
			must(t, together, update(ranges(c.client, v...)))
			check(t, together)
		}
		if together.DeleteDigest() != single.DeleteDigest() || !bytes.Equal(together.Encode(), single.Encode()) {
			t.Fatal("another document")
		}
	}
}

func BenchmarkDeleteBomb(b *testing.B) {
	const n = 100_000
	start := update(nil, block(1, 0, text(strings.Repeat("x", 2*n))))
	bomb := update(every(1, 2, n))
	b.SetBytes(int64(len(bomb)))
	for b.Loop() {
		s := New(Limits{})
		s.Apply(start)
		s.Apply(bomb)
	}
}

func TestLookingForCirclesIsChargedByWork(t *testing.T) {
	const n = 500
	s := New(Limits{})
	for i := range uint64(n) { // each waits for the next one
		must(t, s, update(nil, block(1000+i, 0, after(1001+i, 0, "x"))))
	}
	before := s.Work()
	must(t, s, update(nil, block(7, 0, after(1000, 0, "x"))))
	if work := s.Work() - before; work < n*entryWork {
		t.Errorf("an update that waits for %d structs is work for %d bytes", n, work)
	}
	before = s.Work()
	must(t, s, update(nil, block(8, 0, after(9, 0, "x"))))
	if work := s.Work() - before; work > runWork+2*waitWork+2*placeWork*(n+2) {
		t.Errorf("an update that waits beside %d structs is work for %d bytes", n, work)
	}
}

func TestANewClientIDIsChargedByWork(t *testing.T) {
	s := New(Limits{})
	for _, clock := range []uint64{0, 1} {
		before := s.Work()
		for client := range uint64(100) {
			u := binary.AppendUvarint([]byte{1, 1}, client)
			u = append(binary.AppendUvarint(u, clock), kindString, 1, 1, 't', 1, 'x') // in a root
			must(t, s, append(u, 0))
		}
		if work := s.Work() - before; clock == 0 && work < 100*runWork || clock > 0 && work >= 100*runWork {
			t.Errorf("100 updates at clock %d are work for %d bytes", clock, work)
		}
	}
}

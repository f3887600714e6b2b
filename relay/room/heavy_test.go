package room

import (
	"bytes"
	"strings"
	"testing"
)

func TestMergingMuchIsDoneByTurns(t *testing.T) {
	heavy := 0
	r := newRoom(&Rooms{cfg: Config{Heavy: func(long func()) {
		heavy++
		long()
	}}}, doc, nil)
	for _, test := range []struct{ letters, turns int }{{10, 0}, {heavyMerge, 1}} {
		heavy = 0
		w := &writer{client: 7}
		word := strings.Repeat("y", test.letters)
		merged := r.log.merge([][]byte{w.insert(word), w.insert(word)})
		if bytes.Count(merged, []byte("y")) != 2*test.letters {
			t.Errorf("of %d letters %d were merged", 2*test.letters, bytes.Count(merged, []byte("y")))
		}
		if heavy != test.turns {
			t.Errorf("%d turns were taken for %d letters", heavy, test.letters)
		}
	}
}

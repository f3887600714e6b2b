package ystore

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"

	"strings"
	"testing"
	"unicode/utf8"
)

// corpus is the folder of the documents that real Yjs made for the tests, and of
// the Node programs that judge with it.
var corpus = filepath.Join("..", "..", "test", "corpus")

// dataFile opens a file of the corpus.
func dataFile(tb testing.TB, name string) *os.File {
	tb.Helper()
	f, err := os.Open(filepath.Join(corpus, "data", name))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	return f
}

type corpusCase struct {
	ID    int      `json:"id"`
	Log   [][]byte `json:"log"`
	Late  [][]byte `json:"late"`
	State []byte   `json:"state"`
	DS    json.RawMessage
	SV    [][2]uint64 `json:"sv"`
	Peers []struct {
		State []byte `json:"state"`
		SV    []byte `json:"sv"`
	} `json:"peers"`
}

func cases(tb testing.TB) []corpusCase {
	tb.Helper()
	z, err := gzip.NewReader(bufio.NewReader(dataFile(tb, "random-open.jsonl.gz")))
	if err != nil {
		tb.Fatal(err)
	}
	var all []corpusCase
	for dec := json.NewDecoder(z); ; {
		var c corpusCase
		if err := dec.Decode(&c); err != nil {
			break
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		tb.Fatal("no cases in random-open.jsonl.gz")
	}
	return all
}

func must(tb testing.TB, s *Store, update []byte) []byte {
	tb.Helper()
	fresh, err := s.Apply(update)
	if err != nil {
		tb.Fatal(err)
	}
	if err := verify(s); err != nil {
		tb.Fatal(err)
	}
	return fresh
}

func TestEveryOrderOfUpdatesGivesTheSameDocument(t *testing.T) {
	for _, c := range cases(t) {
		t.Run(fmt.Sprint(c.ID), func(t *testing.T) {
			s := New(Limits{})
			replica := New(Limits{}) // hears only what was new
			for _, u := range c.Log {
				brings, err := s.Brings(u)
				if err != nil {
					t.Fatal(err)
				}
				fresh := must(t, s, u)
				if brings != (fresh != nil) {
					t.Fatalf("Brings says %v, Apply returns %d bytes", brings, len(fresh))
				}
				if fresh != nil {
					if must(t, replica, fresh) == nil {
						t.Fatal("what was new brings nothing to a replica")
					}
				}
			}
			same(t, "replica fed with what was new", s, replica)
			rnd := rand.New(rand.NewSource(int64(c.ID)))
			for range 3 {
				o := New(Limits{})
				for _, i := range rnd.Perm(len(c.Log)) {
					must(t, o, c.Log[i])
					if rnd.Intn(4) == 0 {
						o.Encode()
					}
				}
				same(t, "other order", s, o)
			}
			loaded := New(Limits{})
			must(t, loaded, s.Encode())
			same(t, "loaded from the state", s, loaded)
			for _, u := range append(c.Log, s.Encode(), loaded.Encode()) {
				if fresh := must(t, loaded, u); fresh != nil {
					t.Fatalf("known update brings %d bytes", len(fresh))
				}
			}
			sv := s.StateVector()
			for _, p := range c.Peers {
				o := New(Limits{})
				must(t, o, p.State)
				d, err := s.Diff(o.StateVector())
				if err != nil {
					t.Fatal(err)
				}
				must(t, o, d)
				back, err := o.Diff(s.StateVector())
				if err != nil {
					t.Fatal(err)
				}
				must(t, s, back)
				if !bytes.Equal(o.StateVector(), s.StateVector()) || o.DeleteDigest() != s.DeleteDigest() || o.PendingDigest() != s.PendingDigest() {
					t.Fatal("peer differs after the exchange")
				}
			}
			merged, err := Merge(c.Log)
			if err != nil {
				t.Fatal(err)
			}
			o := New(Limits{})
			must(t, o, merged)
			for _, u := range c.Log {
				must(t, o, u)
			}
			if !bytes.Equal(o.StateVector(), sv) {
				t.Fatal("merged differs")
			}
		})
	}
}

func same(t *testing.T, what string, a, b *Store) {
	t.Helper()
	if !bytes.Equal(a.StateVector(), b.StateVector()) {
		t.Fatalf("%s: other state vector", what)
	}
	if a.DeleteDigest() != b.DeleteDigest() {
		t.Fatalf("%s: other deletions", what)
	}
	if a.PendingDigest() != b.PendingDigest() {
		t.Fatalf("%s: others wait behind gaps", what)
	}
	a.Encode()
	b.Encode()
	for _, s := range []*Store{a, b} {
		if err := verify(s); err != nil {
			t.Fatal(err)
		}
	}
	if x, y := live(a), live(b); x != y {
		i := 0
		for i < len(x) && i < len(y) && x[i] == y[i] {
			i++
		}
		t.Fatalf("%s: other content from byte %d on:\n%.80q\n%.80q", what, i, x[max(0, i-20):], y[max(0, i-20):])
	}
}

// live spells all content that is known and not deleted. Surrogate pairs are
// spelt as two U+FFFD: Yjs cuts them where somebody inserts or deletes inside,
// and some updates have them whole and others cut.
func live(s *Store) string {
	var b []byte
	for _, r := range s.ordered() {
		b = fmt.Appendf(b, "client %d:", r.client)
		end := uint64(0)
		for l := r.first; l != nil; l = l.next {
			for i := range l.ents {
				var it item
				if l.item(i, &it); !known(it.kind) || deleted(it.kind) {
					continue
				}
				if it.clock != end {
					b = fmt.Appendf(b, " %d:", it.clock)
				}
				end = it.end()
				b = append(b, it.content...)
			}
		}
	}
	var out strings.Builder
	for len(b) > 0 {
		c, n := utf8.DecodeRune(b)
		switch {
		case n == 4:
			out.WriteString("\uFFFD\uFFFD")
		case c == utf8.RuneError && n == 1:
			out.WriteByte(b[0])
		default:
			out.Write(b[:n])
		}
		b = b[n:]
	}
	return out.String()
}

// Whatever waits behind a gap, in whatever pieces it came.
func TestThePendingDigestTellsWhatWaitsBehindGaps(t *testing.T) {
	typed := func(client, clock byte, text string) []byte { // behind what the client typed before
		return append(append([]byte{1, 1, client, clock, 0x84, client, clock - 1, byte(len(text))}, text...), 0)
	}
	whole, pieces, none, other := New(Limits{}), New(Limits{}), New(Limits{}), New(Limits{})
	must(t, whole, typed(1, 5, "abcd"))
	must(t, whole, typed(2, 9, "x"))
	for _, u := range [][]byte{typed(2, 9, "x"), typed(1, 8, "d"), typed(1, 5, "ab"), typed(1, 6, "bc")} {
		must(t, pieces, u)
	}
	must(t, other, typed(1, 5, "abc"))
	must(t, other, typed(2, 9, "x"))
	if d := whole.PendingDigest(); d == 0 || d != pieces.PendingDigest() || d == other.PendingDigest() || none.PendingDigest() != 0 {
		t.Errorf("%x, in pieces %x, of others %x, of none %x", d, pieces.PendingDigest(), other.PendingDigest(), none.PendingDigest())
	}
	fill := []byte{1, 1, 1, 0, 4, 1, 1, 't', 5, '0', '1', '2', '3', '4', 0}
	must(t, whole, fill)
	if d := whole.PendingDigest(); d == 0 || d == pieces.PendingDigest() {
		t.Errorf("after one gap was filled: %x", d)
	}
}

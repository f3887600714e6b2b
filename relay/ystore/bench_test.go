package ystore

import (
	"bytes"
	"fmt"
	"testing"
)

// The typing sessions of the corpus: one author, the same one who reloads the page
// often, and three together.
var traces = []string{"alone", "reloads", "together", "blocks", "shapes"}

func applyAll(tb testing.TB, updates [][]byte) *Store {
	tb.Helper()
	s := New(Limits{})
	for i, u := range updates {
		if _, err := s.Apply(u); err != nil {
			tb.Fatalf("update %d: %v", i, err)
		}
	}
	return s
}

func perUpdate(b *testing.B, updates int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*updates), "ns/update")
}

// Each operation below is one whole log.
func BenchmarkApply(b *testing.B) {
	for _, name := range traces {
		b.Run(name, func(b *testing.B) {
			updates := trace(b, name)
			b.ReportAllocs()
			for b.Loop() {
				applyAll(b, updates)
			}
			perUpdate(b, len(updates))
		})
	}
}

// What it costs to keep the content of what is deleted: time, bytes and memory.
func BenchmarkKeep(b *testing.B) {
	for _, name := range traces {
		for what, keep := range map[string]bool{"dropped": false, "kept": true} {
			b.Run(name+"/"+what, func(b *testing.B) {
				updates := trace(b, name)
				var s *Store
				for b.Loop() {
					s = New(Limits{})
					s.keep = keep
					for _, u := range updates {
						if _, err := s.Apply(u); err != nil {
							b.Fatal(err)
						}
					}
				}
				perUpdate(b, len(updates))
				b.ReportMetric(float64(len(s.Encode())), "bytes")
				b.ReportMetric(float64(s.Stats().Held), "memory-bytes")
			})
		}
	}
}

// A document of which another one has the content that it has lost: all of it is built anew.
func BenchmarkRestore(b *testing.B) {
	bare := applyAll(b, trace(b, "together")).Encode()
	kept := New(Limits{})
	kept.Keep()
	for _, u := range trace(b, "together") {
		kept.Apply(u)
	}
	whole := kept.Encode()
	b.SetBytes(int64(len(whole)))
	for b.Loop() {
		s := New(Limits{})
		s.Keep()
		s.Apply(bare)
		if fresh, err := s.Apply(whole); fresh == nil || err != nil {
			b.Fatal(len(fresh), err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, name := range traces {
		b.Run(name, func(b *testing.B) {
			state := applyAll(b, trace(b, name)).Encode()
			b.SetBytes(int64(len(state)))
			b.ReportAllocs()
			for b.Loop() {
				applyAll(b, [][]byte{state})
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, name := range traces {
		b.Run(name, func(b *testing.B) {
			s := applyAll(b, trace(b, name))
			b.ReportAllocs()
			for b.Loop() {
				s.full, s.deletesEnc = nil, nil
				s.Encode()
			}
			b.ReportMetric(float64(len(s.full)), "bytes")
		})
	}
}

func BenchmarkEncodeCached(b *testing.B) {
	s := applyAll(b, trace(b, traces[0]))
	b.ReportAllocs()
	for b.Loop() {
		s.Encode()
	}
}

// The client lacks the last 10 updates, and the delete set has just changed.
func BenchmarkDiff(b *testing.B) {
	for _, name := range traces {
		b.Run(name, func(b *testing.B) {
			updates := trace(b, name)
			sv := applyAll(b, updates[:len(updates)-10]).StateVector()
			s := applyAll(b, updates)
			b.ReportAllocs()
			for b.Loop() {
				s.deletesEnc = nil
				if _, err := s.Diff(sv); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// An update that is known already, as the bus and reconnects bring them.
func BenchmarkApplyKnown(b *testing.B) {
	updates := trace(b, "together")
	s := applyAll(b, updates)
	b.ReportAllocs()
	for b.Loop() {
		for _, u := range updates {
			if fresh, err := s.Apply(u); fresh != nil || err != nil {
				b.Fatal(len(fresh), err)
			}
		}
	}
	perUpdate(b, len(updates))
}

// Documents of one client that are 1, 10 and 100 times as long: what is done per
// update must not grow with them, what is done per document only in proportion.
func BenchmarkGrowth(b *testing.B) {
	updates := trace(b, "alone")
	for _, times := range []int{1, 10, 100} {
		log := repeat(updates, times)
		stale := applyAll(b, log[:len(log)-10])
		state := applyAll(b, log).Encode()
		b.Run(fmt.Sprintf("apply/%dx", times), func(b *testing.B) {
			for b.Loop() {
				applyAll(b, log)
			}
			perUpdate(b, len(log))
		})
		b.Run(fmt.Sprintf("load/%dx", times), func(b *testing.B) {
			b.SetBytes(int64(len(state)))
			for b.Loop() {
				applyAll(b, [][]byte{state})
			}
		})
		b.Run(fmt.Sprintf("encode/%dx", times), func(b *testing.B) {
			s := applyAll(b, [][]byte{state})
			b.SetBytes(int64(len(state)))
			for b.Loop() {
				s.full, s.deletesEnc = nil, nil
				s.Encode()
			}
		})
		b.Run(fmt.Sprintf("diff/%dx", times), func(b *testing.B) {
			s := applyAll(b, [][]byte{state})
			sv := stale.StateVector()
			b.SetBytes(int64(len(s.deletes())))
			for b.Loop() {
				if _, err := s.Diff(sv); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Strokes far apart, each splitting an item, in a string of the given length.
func BenchmarkSplitLongString(b *testing.B) {
	for _, n := range []int{1 << 14, 1 << 17, 1 << 20} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			start := update(nil, block(1, 0, text(string(bytes.Repeat([]byte("é"), n)))))
			deletes := make([][]byte, n/4)
			for i := range deletes {
				at := uint64(i) * 7919 * 2 % uint64(n)
				deletes[i] = update(ranges(1, at, 1))
			}
			for b.Loop() {
				s := applyAll(b, [][]byte{start})
				for _, u := range deletes {
					s.Apply(u)
				}
			}
			perUpdate(b, len(deletes))
		})
	}
}

// repeat makes a log of several copies of another, one behind the other.
func repeat(updates [][]byte, times int) (out [][]byte) {
	end := uint64(0)
	for _, r := range New(Limits{}).runsAfter(updates) {
		end = max(end, r.end)
	}
	for i := range times {
		for _, u := range updates {
			out = append(out, shift(u, uint64(i)*end))
		}
	}
	return out
}

func (s *Store) runsAfter(updates [][]byte) []*run {
	for _, u := range updates {
		s.Apply(u)
	}
	return s.list
}

// shift moves all clocks of an update.
func shift(u []byte, by uint64) []byte {
	var out []byte
	var it item
	blocks, p := uvarint(u, 0)
	out = appendUvarint(out, blocks)
	for ; blocks > 0; blocks-- {
		var n, client, clock uint64
		n, p = uvarint(u, p)
		client, p = uvarint(u, p)
		clock, p = uvarint(u, p)
		out = appendUvarint(appendUvarint(appendUvarint(out, n), client), clock+by)
		for ; n > 0; n-- {
			p = it.decode(u, p, clock)
			it.origin.clock += by
			it.right.clock += by
			it.parent.clock += by
			out = it.append(out)
		}
	}
	clients, p := uvarint(u, p)
	out = appendUvarint(out, clients)
	for ; clients > 0; clients-- {
		var n, client, clock, length uint64
		client, p = uvarint(u, p)
		n, p = uvarint(u, p)
		out = appendUvarint(appendUvarint(out, client), n)
		for ; n > 0; n-- {
			clock, p = uvarint(u, p)
			length, p = uvarint(u, p)
			out = appendUvarint(appendUvarint(out, clock+by), length)
		}
	}
	return out
}

// BenchmarkQuestion asks what is missing of a document of 131,000 client ids: with a state
// vector of all of them, of one, and of a document of which they only deleted something.
func BenchmarkQuestion(b *testing.B) {
	const clients = 131_000
	written, deleting := New(Limits{}), New(Limits{})
	written.Apply(update(nil, block(1, 0, text("x"))))
	deleting.Apply(update(nil, block(1, 0, text("x"))))
	for i := range uint64(clients) {
		written.Apply(update(nil, block(2+i, 0, after(1, 0, "x"))))
		deleting.Apply(update(ranges(2+i, 0, 1)))
	}
	one := []byte{1, 1, 1}
	for _, q := range []struct {
		name   string
		s      *Store
		vector []byte
	}{{"all", written, written.StateVector()}, {"one", written, one}, {"deletions", deleting, one}} {
		b.Run(q.name, func(b *testing.B) {
			size := 0
			for b.Loop() {
				p, err := ReadProgress(q.vector)
				if err != nil {
					b.Fatal(err)
				}
				q.s.Lacks(p, MaxMessage)
				size = len(q.s.Rest(p, 0))
			}
			b.ReportMetric(float64(len(q.vector)), "question-bytes")
			b.ReportMetric(float64(size), "answer-bytes")
		})
	}
}

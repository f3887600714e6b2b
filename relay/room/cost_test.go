package room

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/test/natstest"
)

// What it costs that clients can be told what is saved, in CPU time and by rounds that
// take turns, so that other work on the machine changes all of them alike.
//
// There is no room without a watermark to compare with. So a round does all that an
// edit does to the watermark once more, beside it: what that costs is what would be saved.

const (
	costMembers = 20
	costEdits   = 4000
	// A member that types five times a second and asks once.
	editsPerQuestion = 5
)

// editsPerBatch is how many edits the outbox takes at once: what so many members write in
// 50 ms, and in a second. In larger batches an edit costs less beside what is measured.
var editsPerBatch = []int{5, 100}

// instant is a history that acknowledges at once, without NATS: the less else an edit costs,
// the more its watermark counts.
type instant struct {
	History
	appends atomic.Int64
}

func (h *instant) Append(_ string, _ []byte, done func(uint64, error)) error {
	done(uint64(h.appends.Add(1)), nil)
	return nil
}

// silentMember takes everything and keeps nothing.
type silentMember struct{ *member }

func (silentMember) Send(m *wire.Message) bool {
	m.In(nil) // as a session does
	return true
}
func (s silentMember) SendAnswers(payloads [][]byte, m *wire.Message) bool {
	for _, p := range payloads {
		wire.Encode(wire.SyncStatus, p) // as a session does
	}
	return m == nil || s.Send(m)
}
func (silentMember) SendAwareness(*wire.Message, []awareness.Entry) {}

// shadow is a watermark that goes through what an edit does to the room's.
type shadow struct {
	watermark
	history  *instant
	appended int64
}

func (s *shadow) edit() {
	s.take()
	if n := s.history.appends.Load(); n != s.appended {
		s.appended = n
		s.acknowledge(s.depart())
		s.own()
	}
}

// cost is a way for an edit to go.
type cost struct {
	name string
	edit func(s *shadow, seat *Seat, n int)
}

var (
	question = []byte{1}
	costs    = []cost{
		{"nobody asks", func(*shadow, *Seat, int) {}},
		{"and once more", func(s *shadow, _ *Seat, _ int) { s.edit() }},
		{"all ask", func(_ *shadow, seat *Seat, n int) {
			if n/costMembers%editsPerQuestion == 0 {
				seat.Ask(question)
			}
		}},
	}
)

// round types into a new room and returns the CPU time of an edit. All of it is done here, by
// one goroutine, so that each round has the same batches: merging costs more than all else.
func (c cost) round(b *testing.B, p *pod, h *instant, epoch string, updates [][]byte, batch int) time.Duration {
	b.Helper()
	r, err := p.Open(b.Context(), doc, epoch, false, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	var seats []*Seat
	for range costMembers {
		seat, err := r.Join(silentMember{newMember()}, 0)
		if err != nil {
			b.Fatal(err)
		}
		seats = append(seats, seat)
	}
	s := shadow{history: h}
	s.init()
	runtime.GC() // of the round before
	began := cpuTime(b)
	for i, u := range updates {
		seat := seats[i%costMembers]
		if _, err := seat.Apply(u); err != nil {
			b.Fatal(err)
		}
		c.edit(&s, seat, i)
		if i%batch == batch-1 {
			r.publish() // as the outbox does, whose window never ends here
		}
	}
	r.mu.Lock()
	r.asks.send()
	open := len(r.asks.open)
	r.mu.Unlock()
	took := (cpuTime(b) - began) / time.Duration(len(updates))
	if open > 0 {
		b.Fatalf("%d questions are open", open)
	}
	p.outbox.mu.Lock()
	p.outbox.waiting = nil // or they would keep the room
	p.outbox.mu.Unlock()
	return took
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkWhatAnswersCost reports by how many per cent an edit is dearer for it that
// somebody could ask what is saved, and for it that all do, once a second.
func BenchmarkWhatAnswersCost(b *testing.B) {
	h := new(instant)
	p := newPod(b, natstest.Server(b).URL, func(c *Config) {
		h.History, c.History = c.History, h
		c.CompactMessages, c.CompactBytes = math.MaxInt32, math.MaxInt32
		c.BatchWindow = time.Hour
	})
	writers := make([]writer, costMembers)
	var updates [][]byte
	for i := range costEdits {
		w := &writers[i%costMembers]
		w.client = uint64(i%costMembers + 1)
		updates = append(updates, w.insert("x"))
	}
	for _, batch := range editsPerBatch {
		b.Run(fmt.Sprintf("batches=%d", batch), func(b *testing.B) {
			compareCosts(b, func(c cost, epoch string) time.Duration { return c.round(b, p, h, epoch, updates, batch) })
		})
	}
}

// compareCosts has the ways take turns.
func compareCosts(b *testing.B, round func(c cost, epoch string) time.Duration) {
	var base []float64
	more := make([][]float64, len(costs)) // than the first of the same turn, in per cent
	for n := range b.N {
		var took [3]float64
		for i := range costs {
			i = (i + n) % len(costs) // none is always the first
			took[i] = float64(round(costs[i], fmt.Sprintf("e%d-%d", n, i)).Nanoseconds())
		}
		base = append(base, took[0])
		for i := range costs {
			more[i] = append(more[i], 100*(took[i]/took[0]-1))
		}
	}
	b.ReportMetric(median(base), "ns/edit")
	for i, c := range costs[1:] {
		b.ReportMetric(median(more[i+1]), "%-"+unit(c.name))
	}
	b.ReportMetric(0, "ns/op") // a round is no operation
}

func unit(name string) string {
	return map[string]string{"and once more": "if-nobody-asks", "all ask": "if-all-ask"}[name]
}

func median[T cmp.Ordered](of []T) T {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

func TestAnEditThatNobodyAsksAboutAllocatesNothingForIt(t *testing.T) {
	h := new(instant)
	s := shadow{history: h}
	s.init()
	edit := func() {
		s.edit()
		h.appends.Add(1) // each is an append of its own
	}
	edit()
	if n := testing.AllocsPerRun(1000, edit); n != 0 {
		t.Errorf("the watermark allocates %v times per edit", n)
	}
}

package load

import (
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A scoreboard is what all clients of a scenario write down.
type scoreboard struct {
	from, until int64 // what arrives or was sent outside is not measured; until 0: open

	sent       int64 // edits
	delivered  int64 // edits at receivers, ever
	measured   int64 // those that arrived between from and until
	duplicated int64
	wrong      int64 // not what anybody typed
	frames     int64
	bytes      int64
	synced     int

	same, across *hdrhistogram.Histogram // microseconds, by whether writer and reader share a node

	errs []error // the first few malformed messages
}

func newScoreboard() *scoreboard {
	return &scoreboard{same: newHistogram(), across: newHistogram()}
}

// newHistogram holds microseconds up to two minutes with three digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, 120_000_000, 3) }

// deliver counts one edit at one receiver.
func (b *scoreboard) deliver(sent, now int64, across bool) {
	b.delivered++
	if now < b.from || b.from == 0 || b.until > 0 && now >= b.until {
		return
	}
	b.measured++
	if sent < b.from {
		return
	}
	h := b.same
	if across {
		h = b.across
	}
	h.RecordValue(max((now-sent)/1000, 1)) // values beyond the range are refused, and then the run has failed anyway
}

func (b *scoreboard) fault(err error) {
	b.wrong++
	if len(b.errs) < 5 {
		b.errs = append(b.errs, err)
	}
}

// faults sums up what no run may have. lost is counted by the scenario.
func (b *scoreboard) faults(lost int64) Faults {
	f := Faults{Lost: lost, Duplicated: b.duplicated, Wrong: b.wrong}
	for _, err := range b.errs {
		f.Notes = append(f.Notes, err.Error())
	}
	return f
}

func latency(name string, h *hdrhistogram.Histogram) []Value {
	if h.TotalCount() == 0 {
		return nil
	}
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	return []Value{
		{name + " p50", "ms", at(50)}, {name + " p90", "ms", at(90)}, {name + " p99", "ms", at(99)},
		{name + " p99.9", "ms", at(99.9)}, {name + " max", "ms", float64(h.Max()) / 1000},
	}
}

// Faults are what makes a run worthless.
type Faults struct {
	Lost         int64    `json:"lost"`         // deliveries that never came
	Duplicated   int64    `json:"duplicated"`   // edits that came again: legal, but a waste
	Wrong        int64    `json:"wrong"`        // malformed messages and characters nobody typed
	TextsDiffer  int      `json:"textsDiffer"`  // documents whose text in the end is not what was typed
	Disconnected int      `json:"disconnected"` // clients the server dropped
	Notes        []string `json:"notes,omitempty"`
}

// Any reports a fault that counts: everything but duplicates.
func (f Faults) Any() bool {
	return f.Lost > 0 || f.Wrong > 0 || f.TextsDiffer > 0 || f.Disconnected > 0
}

func (f Faults) String() string {
	s := fmt.Sprintf("lost %d, duplicated %d, wrong %d, texts that differ %d, dropped clients %d",
		f.Lost, f.Duplicated, f.Wrong, f.TextsDiffer, f.Disconnected)
	for _, note := range f.Notes {
		s += "\n    " + note
	}
	return s
}

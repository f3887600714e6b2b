package admin

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How many records with one message pass at once, and how often one does after
// that. Messages are constants of the program, so the table stays small.
const (
	repeatBurst = 20
	repeatEvery = time.Second
)

// Repeats is a log handler that lets the first records with a message through and
// then one a second: a storm of refused clients, or of documents that cannot be
// made durable, must neither fill a disk nor hide what else happens. The next
// record that passes says how many did not, as "repeats". It may be used
// concurrently.
type Repeats struct {
	slog.Handler
	*repeats
}

// repeats is what a handler and those derived from it share.
type repeats struct {
	whole map[string]bool // messages of which every one is wanted

	mu   sync.Mutex
	seen map[repeatKey]*tally
}

type repeatKey struct {
	level   slog.Level
	message string
}

type tally struct {
	*rate.Limiter
	dropped int
}

// NewRepeats limits what reaches the handler. Records with one of the whole
// messages always do.
func NewRepeats(to slog.Handler, whole ...string) *Repeats {
	r := &repeats{whole: map[string]bool{}, seen: map[repeatKey]*tally{}}
	for _, message := range whole {
		r.whole[message] = true
	}
	return &Repeats{to, r}
}

// Handle passes the record on, or counts it.
func (r *Repeats) Handle(ctx context.Context, record slog.Record) error {
	if r.whole[record.Message] {
		return r.Handler.Handle(ctx, record)
	}
	dropped, pass := r.take(repeatKey{record.Level, record.Message}, record.Time)
	if !pass {
		return nil
	}
	if dropped > 0 {
		record = record.Clone()
		record.AddAttrs(slog.Int("repeats", dropped))
	}
	return r.Handler.Handle(ctx, record)
}

// take reports whether a record may pass, and how many before it did not.
func (r *repeats) take(key repeatKey, now time.Time) (dropped int, pass bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.seen[key]
	if t == nil {
		t = &tally{Limiter: rate.NewLimiter(rate.Every(repeatEvery), repeatBurst)}
		r.seen[key] = t
	}
	if !t.AllowN(now, 1) {
		t.dropped++
		return 0, false
	}
	dropped, t.dropped = t.dropped, 0
	return dropped, true
}

// WithAttrs implements slog.Handler. Records are counted together, whatever
// attributes their logger adds.
func (r *Repeats) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Repeats{r.Handler.WithAttrs(attrs), r.repeats}
}

// WithGroup implements slog.Handler.
func (r *Repeats) WithGroup(name string) slog.Handler {
	return &Repeats{r.Handler.WithGroup(name), r.repeats}
}

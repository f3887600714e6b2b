package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// The marks of a store that is not the expected one. Both match ErrRefused: nothing is
// read or written until an operator acts.
var (
	// ErrUnmarked: the store has no marker.
	ErrUnmarked = fmt.Errorf("%w: it has no marker", ErrRefused)
	// ErrOtherStore: the marker is that of another store.
	ErrOtherStore = fmt.Errorf("%w: it is another store", ErrRefused)
)

// GuardConfig says what a Guard guards.
type GuardConfig struct {
	Store   Store
	License docid.LicenseRegion // whose documents are kept
	// Timeout bounds each call, and is longer by a second for each MiB of a body. 0: the
	// caller's context alone does.
	Timeout time.Duration
	// Changed is told when the store begins to fail, and with nil when it works again.
	// Nil disables it; it must not block.
	Changed func(error)
	// Observe is told of each load and save of a document: how many bytes it was about,
	// how long it took and what came of it. Nil disables it; it must not block.
	Observe func(op Op, bytes int, took time.Duration, err error)
}

// Op is what a Guard observes.
type Op int

// The operations.
const (
	OpLoad Op = iota
	OpSave    // deletions, too
)

// Guard is a store that is used only while it is known to be the expected one. It
// implements Store.
//
// "Absent" is a fact only in the right store: a volume that is not mounted, an emptied
// bucket, a restored database know nothing of any document. So the marker is looked for
// before the first call, and again before the store is believed that a document is
// absent, if nobody has looked for a while.
type Guard struct {
	cfg  GuardConfig
	turn chan struct{} // holds a token while nobody looks

	mu    sync.Mutex // guards all below
	id    string     // expected; "": not known yet
	seen  time.Time  // when the marker was the expected one
	why   error      // the store fails; nil: it works
	since time.Time  // with why
}

// NewGuard guards a store. Until Expect nothing is let through.
func NewGuard(c GuardConfig) *Guard {
	g := &Guard{cfg: c, turn: make(chan struct{}, 1)}
	g.turn <- struct{}{}
	return g
}

// Expect says which store it is.
func (g *Guard) Expect(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.id != id {
		g.id, g.seen = id, time.Time{}
	}
}

// ID returns the id of the expected store, "" if it is not known yet.
func (g *Guard) ID() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.id
}

// Unwrap returns the store itself.
func (g *Guard) Unwrap() Store { return g.cfg.Store }

// Down says why the store fails and since when; nil while it works, as far as its last
// answer says.
func (g *Guard) Down() (since time.Time, why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.since, g.why
}

// lookAgain is how long after a look at the marker the store is believed.
const lookAgain = 10 * time.Second

// Look reads the marker and holds it to what is expected.
func (g *Guard) Look(ctx context.Context) (Identity, error) {
	ctx, stop := g.within(ctx)
	defer stop()
	id, err := Identify(ctx, g.cfg.Store)
	g.mu.Lock()
	expected := g.id
	g.mu.Unlock()
	switch {
	case errors.Is(err, ErrAbsent), errors.Is(err, ErrDeleted):
		err = ErrUnmarked
	case err == nil && !id.Keeps(g.cfg.License):
		err = fmt.Errorf("%w: its marker says that it keeps the documents of %s, not of %s", ErrOtherStore, id.License, g.cfg.License)
	case err == nil && expected != "" && id.ID != expected:
		err = fmt.Errorf("%w: its id is %s, and the registry names %s", ErrOtherStore, id.ID, expected)
	}
	if expected != "" || !errors.Is(err, ErrUnmarked) {
		g.note(ctx, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil && expected != "" && g.id == expected {
		g.seen = time.Now()
	}
	return id, err
}

// sure returns an error unless the marker was the expected one within a time; 0: ever.
func (g *Guard) sure(ctx context.Context, within time.Duration) error {
	known := func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return !g.seen.IsZero() && (within == 0 || time.Since(g.seen) < within)
	}
	if known() {
		return nil
	}
	if g.ID() == "" {
		return fmt.Errorf("%w: no registry names it yet", ErrRefused)
	}
	select {
	case <-g.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { g.turn <- struct{}{} }()
	if known() {
		return nil
	}
	_, err := g.Look(ctx)
	return err
}

// Run looks whether a store that fails works again, until ctx ends.
func (g *Guard) Run(ctx context.Context) {
	ticker := time.NewTicker(lookWhileDown)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if _, why := g.Down(); why != nil && g.ID() != "" {
			_, _ = g.Look(ctx) // notes what it finds
		}
	}
}

const lookWhileDown = 2 * time.Second

// note keeps whether the store works, by what it answered within ctx.
func (g *Guard) note(ctx context.Context, err error) {
	fails := failing(err)
	if fails && errors.Is(context.Cause(ctx), context.Canceled) {
		return // the caller has gone
	}
	g.mu.Lock()
	changed := fails != (g.why != nil)
	if changed {
		g.since = time.Now()
	}
	g.why = nil
	if fails {
		g.why = err
	}
	g.mu.Unlock()
	if !changed || g.cfg.Changed == nil {
		return
	}
	if fails {
		g.cfg.Changed(err)
	} else {
		g.cfg.Changed(nil)
	}
}

// failing tells a store that fails from one that answers about a document.
func failing(err error) bool {
	if err == nil {
		return false
	}
	for _, answer := range []error{ErrAbsent, ErrDeleted, ErrConflict, ErrCorrupt, ErrTooLarge, errors.ErrUnsupported} {
		if errors.Is(err, answer) {
			return false
		}
	}
	return true
}

// errTimeout is the cause of a call's end that took too long.
var errTimeout = errors.New("the store did not answer in time")

// deadline ends a call that takes too long. It stands still while the call waits for
// something else than the store.
type deadline struct {
	timer *time.Timer
	left  time.Duration
}

// within bounds a call by the configured time.
func (g *Guard) within(ctx context.Context) (context.Context, func()) {
	ctx, _, stop := g.bounded(ctx, 0)
	return ctx, stop
}

func (g *Guard) bounded(ctx context.Context, bytes int64) (context.Context, *deadline, func()) {
	if g.cfg.Timeout <= 0 {
		return ctx, nil, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	left := g.cfg.Timeout + time.Duration(bytes>>20)*time.Second
	d := &deadline{time.AfterFunc(left, func() { cancel(errTimeout) }), left}
	return ctx, d, func() { d.timer.Stop(); cancel(nil) }
}

// call makes one call to the store.
func call[T any](ctx context.Context, g *Guard, bytes int64, do func(context.Context) (T, error)) (T, error) {
	ctx, _, stop := g.bounded(ctx, bytes)
	defer stop()
	got, err := do(ctx)
	return got, g.finish(ctx, err)
}

// finish notes what a call came to, and says so if it was too slow.
func (g *Guard) finish(ctx context.Context, err error) error {
	if failing(err) && errors.Is(context.Cause(ctx), errTimeout) {
		err = fmt.Errorf("%w: %w", errTimeout, err)
	}
	g.note(ctx, err)
	return err
}

// Load implements Store. The time in which it waits for memory does not count.
func (g *Guard) Load(ctx context.Context, d docid.Document, reserve Reserve) (Stored, error) {
	if err := g.sure(ctx, 0); err != nil {
		return Stored{}, err
	}
	bounded, limit, stop := g.bounded(ctx, 0)
	defer stop()
	began := time.Now()
	var refused error
	stored, err := g.cfg.Store.Load(bounded, d, func(ctx context.Context, bytes int64) error {
		if limit != nil {
			limit.timer.Stop()
			defer func() { limit.timer.Reset(limit.left + time.Duration(bytes>>20)*time.Second) }()
		}
		refused = reserve.Ask(ctx, bytes)
		return refused
	})
	if refused == nil {
		err = g.finish(bounded, err)
		if err == nil || !errors.Is(context.Cause(ctx), context.Canceled) { // else the caller does not need it any more
			g.observe(OpLoad, len(stored.Body), began, err)
		}
	}
	if errors.Is(err, ErrAbsent) {
		return Stored{}, g.absent(ctx, err)
	}
	return stored, err
}

func (g *Guard) observe(op Op, bytes int, began time.Time, err error) {
	if g.cfg.Observe != nil {
		g.cfg.Observe(op, bytes, time.Since(began), err)
	}
}

// absent believes the store that there is nothing, or says why not.
func (g *Guard) absent(ctx context.Context, err error) error {
	if why := g.sure(ctx, lookAgain); why != nil {
		return why
	}
	return err
}

// Stat implements Store.
func (g *Guard) Stat(ctx context.Context, d docid.Document) (Info, error) {
	if err := g.sure(ctx, 0); err != nil {
		return Info{}, err
	}
	info, err := call(ctx, g, 0, func(ctx context.Context) (Info, error) { return g.cfg.Store.Stat(ctx, d) })
	if errors.Is(err, ErrAbsent) {
		return Info{}, g.absent(ctx, err)
	}
	return info, err
}

// Save implements Store.
func (g *Guard) Save(ctx context.Context, d docid.Document, expect Version, m Meta, body []byte) (Version, error) {
	if err := g.writable(ctx, expect); err != nil {
		return "", err
	}
	began := time.Now()
	version, err := call(ctx, g, int64(len(body)), func(ctx context.Context) (Version, error) {
		return g.cfg.Store.Save(ctx, d, expect, m, body)
	})
	g.observe(OpSave, len(body), began, err)
	return version, err
}

// writable keeps documents from being created in another store.
func (g *Guard) writable(ctx context.Context, expect Version) error {
	if expect == Absent {
		return g.sure(ctx, lookAgain)
	}
	return g.sure(ctx, 0)
}

// Delete implements Store.
func (g *Guard) Delete(ctx context.Context, d docid.Document, expect Version, m Meta) (Version, error) {
	if err := g.writable(ctx, expect); err != nil {
		return "", err
	}
	began := time.Now()
	version, err := call(ctx, g, 0, func(ctx context.Context) (Version, error) { return g.cfg.Store.Delete(ctx, d, expect, m) })
	g.observe(OpSave, 0, began, err)
	return version, err
}

// List implements Store.
func (g *Guard) List(ctx context.Context, q Query) (Page, error) {
	if err := g.sure(ctx, lookAgain); err != nil {
		return Page{}, err
	}
	return call(ctx, g, 0, func(ctx context.Context) (Page, error) { return g.cfg.Store.List(ctx, q) })
}

// Close implements Store.
func (g *Guard) Close() error { return g.cfg.Store.Close() }

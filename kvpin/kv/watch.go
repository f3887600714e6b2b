package kv

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/internal/pause"
)

// How often a watch reads on. What is written is also published to the key's own
// subject: a hint, which says nothing about whether the write succeeds, and which
// permissions may withhold. Keys that expire give none.
const (
	watchHinted   = 5 * time.Second        // while hints come
	watchUnhinted = time.Second            // before the first
	watchDelay    = 30 * time.Millisecond  // from a hint to the look: a write takes its time
	watchAgain    = 250 * time.Millisecond // to another look after one that found nothing
	watchSpacing  = 500 * time.Millisecond // between looks, however many hints come
	// watchRelist is the time between full listings: levels, not edges. It bounds how
	// long a bucket that was deleted and made anew can be taken for the old one.
	watchRelist = 30 * time.Second
)

// Watch reads the filters' keys, and then on from the last revision it has seen, in
// the order of revisions. What it cannot be sure of it reads anew from the start:
// after an error, a reconnect, or when the bucket may be another one.
func (s *NATSStore) Watch(ctx context.Context, filters []string, handle func(Change)) {
	w := &watch{store: s, handle: handle, wake: make(chan struct{}, 1)}
	for _, filter := range filters {
		f := &watched{filter: filter, hints: make(chan struct{}, 1), known: make(map[string]seen)}
		w.filters = append(w.filters, f)
	}
	defer w.unsubscribe()
	w.run(ctx)
}

// subscribe asks for hints on the connection as it is now.
func (w *watch) subscribe() {
	nc := w.store.link.conn.NATS()
	if nc == w.nc {
		return
	}
	w.unsubscribe()
	w.nc = nc
	for _, f := range w.filters {
		sub, err := nc.Subscribe(w.store.base+f.filter, func(*nats.Msg) {
			notify(f.hints)
			notify(w.wake)
		})
		if err == nil { // else there are no hints
			w.subs = append(w.subs, sub)
		}
	}
}

func (w *watch) unsubscribe() {
	for _, sub := range w.subs {
		_ = sub.Unsubscribe() // the connection may be closed already
	}
	w.subs = nil
}

// watch is one Watch; its goroutine owns all of it but the channels.
type watch struct {
	store   *NATSStore
	handle  func(Change)
	filters []*watched
	wake    chan struct{} // holds one notice: a filter has a hint

	nc   *nats.Conn // that the subscriptions are on
	subs []*nats.Subscription

	incarnation uint64
	listed      time.Time // when all filters were last read from the start; zero: to be done
	synced      bool
	hinted      bool
}

// notify leaves a notice in a channel that holds one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// watched is one filter of a watch.
type watched struct {
	filter string
	hints  chan struct{} // holds one
	last   uint64        // revision up to which it was read
	known  map[string]seen
}

// seen is what was last reported of a key.
type seen struct {
	revision uint64
	present  bool
}

func (w *watch) run(ctx context.Context) {
	for wait := time.Duration(0); ctx.Err() == nil; {
		looked := time.Now()
		w.subscribe()
		news, err := w.look(ctx, wait)
		switch {
		case err != nil:
			w.listed = time.Time{}
			pause.Between(ctx, 200*time.Millisecond, 500*time.Millisecond)
			continue
		case wait == watchDelay && !news:
			wait = watchAgain
		case w.hinted:
			wait = watchHinted
		default:
			wait = watchUnhinted
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-w.wake:
			w.hinted = true
			wait = watchDelay
			pause.For(ctx, max(watchDelay, watchSpacing-time.Since(looked)))
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// look reads on: after a hint only those filters that had one.
func (w *watch) look(ctx context.Context, after time.Duration) (news bool, err error) {
	incarnation := w.store.Incarnation()
	if w.listed.IsZero() || time.Since(w.listed) > watchRelist || incarnation != w.incarnation {
		for _, f := range w.filters {
			if err := w.relist(ctx, f); err != nil {
				return false, err
			}
		}
		w.incarnation, w.listed = incarnation, time.Now()
		if !w.synced {
			w.synced = true
			w.handle(Change{Synced: true})
		}
		return true, nil
	}
	for _, f := range w.filters {
		hint := false
		select {
		case <-f.hints:
			hint = true
		default:
		}
		if after == watchDelay && !hint {
			continue
		}
		some, err := w.readOn(ctx, f)
		if err != nil {
			return news, err
		}
		news = news || some
	}
	return news, nil
}

// report tells what is new about a key.
func (w *watch) report(f *watched, e Entry) {
	if was, known := f.known[e.Key]; known && was.revision == e.Revision {
		return
	}
	f.known[e.Key] = seen{e.Revision, e.Present}
	w.handle(Change{Entry: e})
}

// readOn reads from the last revision on, that one included: while it, or a later
// one, is there, the bucket is the same. If there is neither, a marker that was the
// last may have expired, or the bucket is another.
func (w *watch) readOn(ctx context.Context, f *watched) (news bool, err error) {
	found := false
	err = w.store.list(ctx, f.filter, max(f.last, 1), func(e Entry) error {
		found = true
		if e.Revision > f.last {
			news, f.last = true, e.Revision
			w.report(f, e)
		}
		return ctx.Err()
	})
	if err != nil || found || f.last == 0 {
		return news, err
	}
	if behind, err := w.store.leaderHas(ctx, f.filter, f.last); err != nil || behind {
		return false, err
	}
	return true, w.relist(ctx, f)
}

// relist reads a filter from the start, and reports what differs, as deleted what
// is missing.
func (w *watch) relist(ctx context.Context, f *watched) error {
	current := make(map[string]struct{})
	var differ []Entry
	highest := uint64(0)
	err := w.store.list(ctx, f.filter, 1, func(e Entry) error {
		current[e.Key] = struct{}{}
		highest = e.Revision
		switch was, known := f.known[e.Key]; {
		case f.last == 0:
			w.report(f, e)
		case !known || was.revision != e.Revision:
			differ = append(differ, e)
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if highest < f.last {
		// Either this replica is behind, or the bucket is another one.
		if behind, err := w.store.leaderHas(ctx, f.filter, f.last); err != nil || behind {
			return err
		}
	}
	f.last = highest
	for _, e := range differ {
		if was := f.known[e.Key]; was.present && was.revision > e.Revision {
			w.handle(Change{Entry: Entry{Key: e.Key}}) // what was there is gone with its bucket
		}
		w.report(f, e)
	}
	for key, was := range f.known {
		if _, still := current[key]; still {
			continue
		}
		delete(f.known, key)
		if was.present {
			w.handle(Change{Entry: Entry{Key: key}})
		}
	}
	return nil
}

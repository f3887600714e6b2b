package live

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/relay/room"
	"github.com/wsnode/wsnode/relay/storage"
)

// saves say when documents are stored: the first edit of a quiet one after
// Options.StoreFirst, all others StoreInterval apart, and what fails again and again,
// for ever. While a client waits to be told that its edits are stored, they are twelve
// times as close. A document that nobody edits costs nothing here.
type saves struct {
	docs   *Documents
	budget *storage.Budget
	wake   chan struct{}
	slots  slots // of stores under way

	conflicts atomic.Int64 // merged

	mu       sync.Mutex
	due      map[*keeper]time.Time
	unstored map[*keeper]struct{} // those of open documents whose stores lack something: keeper.since
	next     time.Time            // the timer's
	failing  int                  // documents that failed last time
}

const (
	// savesAtOnce is how many documents of a license region a node stores at the same time.
	savesAtOnce = 32
	// slowStore is how many times as long as its last store took a document rests: a
	// large one, or all of them with a slow store.
	slowStore = 20
	// retryMost is the longest time between two attempts.
	retryMost = time.Minute

	// awaitedShare is the part of StoreInterval that stores of a document rest while a client
	// waits for them, and gatherShare that for which they gather what others ask: 5 s and
	// 1 s of a minute.
	awaitedShare = 12
	gatherShare  = 60
)

func (s *saves) init(ds *Documents) {
	s.docs, s.wake, s.due, s.unstored = ds, make(chan struct{}, 1), map[*keeper]time.Time{}, map[*keeper]struct{}{}
	o := &ds.o
	if o.StoreInterval == 0 {
		o.StoreInterval = defaultInterval
	}
	if o.StoreFirst == 0 {
		o.StoreFirst = defaultFirst
	}
	if o.StoreBytes == 0 {
		o.StoreBytes = defaultStoreBytes
	}
	s.budget = storage.NewBudget(o.StoreBytes)
}

// changed is for room.Kept: it is called under the room's lock.
func (s *saves) changed(k *keeper) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k.stored.Clean = false
	if k.since.IsZero() {
		s.lacks(k, time.Now())
	}
	if k.room != nil { // else it is being opened, and what it found is planned then
		s.plan(k)
	}
}

// lacks notes since when the store lacks something of a document; zero: it has all. Callers
// hold mu.
func (s *saves) lacks(k *keeper, since time.Time) {
	k.since = since
	switch {
	case since.IsZero():
		delete(s.unstored, k)
	case k.room != nil && !k.ended:
		s.unstored[k] = struct{}{}
	}
}

// opened takes a keeper's room, which is open.
func (s *saves) opened(k *keeper, r *room.Room) {
	version, since := r.Base().Version, s.docs.payments.takenUp(life{k.doc, k.epoch})
	s.mu.Lock()
	defer s.mu.Unlock()
	k.room = r
	k.stored.Version = version
	k.stored.Clean = k.since.IsZero()
	if !k.stored.Clean {
		s.lacks(k, cmp.Or(since, k.since))
	}
	switch {
	case k.alone: // others may have stored since its history began
		s.lookLocked(k, time.Now())
	case !k.stored.Clean:
		s.plan(k)
	}
}

// plan sets when a document that has changed is stored. Callers hold mu.
func (s *saves) plan(k *keeper) {
	if _, planned := s.due[k]; planned || k.ended || k.paying {
		return
	}
	s.at(k, s.when(k))
}

// unplan takes a document out that is stored now.
func (s *saves) unplan(k *keeper) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.due, k)
}

// replan plans a document that was to be stored now and was not.
func (s *saves) replan(k *keeper) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !k.since.IsZero() {
		s.plan(k)
	}
}

// when is the time for the next store of a document. Callers hold mu.
func (s *saves) when(k *keeper) time.Time {
	first, rest := s.docs.o.StoreFirst, s.docs.o.StoreInterval
	if k.awaited {
		first, rest = min(first, rest/gatherShare), rest/awaitedShare
	}
	at := time.Now().Add(first)
	if rested := k.last.Add(max(rest, slowStore*k.took)); !k.last.IsZero() && rested.After(at) {
		at = rested
	}
	return at
}

// awaits is for room.Kept: it is called under the room's lock. What fails is tried at its
// own pace nevertheless.
func (s *saves) awaits(k *keeper, waits bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k.awaited = waits
	if !waits || k.ended || k.fails > 0 {
		return
	}
	if until := time.Now().Add(s.docs.o.StoreInterval / awaitedShare); k.until.After(until) {
		k.until = until
	}
	at := s.when(k)
	if due, planned := s.due[k]; !planned || at.Before(due) {
		s.at(k, at)
	}
}

// marked is for room.Kept, in the same way: clients wait, and another node has stored what
// it had. It has its time again.
func (s *saves) marked(k *keeper) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.ended {
		return
	}
	k.until = time.Time{}
	s.at(k, time.Now().Add(s.docs.o.StoreInterval/gatherShare)) // the history has the mark by then
}

func (s *saves) at(k *keeper, at time.Time) {
	s.due[k] = at
	if s.next.IsZero() || at.Before(s.next) {
		s.next = at
		s.signal()
	}
}

// saved notes that the store has what the document was.
func (s *saves) saved(k *keeper, version string, took time.Duration, clean bool) {
	changed := k.room.Changed()
	if !k.paying {
		s.docs.payments.stored(life{k.doc, k.epoch}) // should they have looked just before its users came back
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recovered(k)
	k.until = time.Time{}
	if !clean {
		k.last, k.took = time.Now(), took
		k.stored.At = k.last
	}
	if version != "" {
		k.stored.Version = version
	}
	s.lacks(k, time.Time{})
	if changed {
		s.lacks(k, time.Now())
		s.plan(k)
	}
	k.stored.Clean = k.since.IsZero()
	if _, due := s.due[k]; !due && k.awaited && !k.ended { // for what the history has yet to say
		s.at(k, time.Now().Add(s.docs.o.StoreInterval/awaitedShare))
	}
}

// recovered is one line when a burst of failures is over. Callers hold mu.
func (s *saves) recovered(k *keeper) {
	if k.fails == 0 {
		return
	}
	k.fails = 0
	if s.failing--; s.failing == 0 {
		s.docs.o.Log.Info("documents are stored again")
	}
}

// failed has the document tried again.
func (s *saves) failed(k *keeper, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.ended || k.paying {
		return
	}
	if k.fails++; k.fails == 1 {
		if s.failing++; s.failing == 1 {
			s.docs.o.Log.Error("a document cannot be stored; its history keeps it, and this is tried again", "document", k.doc.String(), "err", err)
		}
	}
	wait := min(time.Second<<min(k.fails-1, 10), retryMost, max(s.docs.o.StoreInterval, time.Millisecond))
	s.at(k, time.Now().Add(wait/2+rand.N(wait/2+1)))
}

// end takes a document out whose room closes. A store of it that is under way is broken
// off: whether it happened, the next one finds out. It returns since when the store lacks
// something, as far as is known; zero: it has all.
func (s *saves) end(ctx context.Context, k *keeper) (since time.Time) {
	s.mu.Lock()
	since = k.since
	k.ended = true
	delete(s.due, k)
	delete(s.unstored, k)
	if k.fails > 0 { // it is owed now
		k.fails = 0
		s.failing--
	}
	s.mu.Unlock()
	k.stop()
	select {
	case k.turn <- struct{}{}:
	case <-ctx.Done():
	}
	return since
}

func (s *saves) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var working sync.WaitGroup
	defer working.Wait()
	for {
		due, wait := s.take(time.Now())
		for _, k := range due {
			working.Go(func() {
				defer s.giveSlot(k)
				s.work(ctx, k)
			})
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// take returns the documents that are due and for which there is a slot, which they have
// then, and how long until the next one is. A slot that is given back has the rest looked at.
func (s *saves) take(now time.Time) (due []*keeper, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = now.Add(time.Hour)
	for k, at := range s.due {
		if at.After(now) {
			if at.Before(s.next) {
				s.next = at
			}
			continue
		}
		if !s.slots.try(k.doc.License) {
			continue
		}
		due = append(due, k)
		delete(s.due, k)
	}
	return due, max(s.next.Sub(now), 10*time.Millisecond) // many that are due together are one look
}

// giveSlot gives back what a document took to be stored.
func (s *saves) giveSlot(k *keeper) {
	if s.slots.give(k.doc.License) {
		s.signal()
	}
}

func (s *saves) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *saves) work(ctx context.Context, k *keeper) {
	if s.takeLook(k) {
		s.workLook(ctx, k)
		return
	}
	if !k.room.First() {
		s.ask(ctx, k)
		if !s.wait(k) {
			return
		}
	}
	if err := k.save(ctx); ctx.Err() == nil {
		s.came(k, err)
	}
}

// came follows what came of a store: a document that was deleted is given up, and what
// failed is tried again.
func (s *saves) came(k *keeper, err error) {
	switch {
	case err == nil:
	case errors.Is(err, ErrDeleted):
		s.deleted(k)
	default:
		s.failed(k, err)
	}
}

// deleted gives the document of a keeper up, if that is still open.
func (s *saves) deleted(k *keeper) {
	if d := s.docs.Get(k.doc); d != nil && d.keeper == k {
		s.docs.deleted(d)
	}
}

// ask looks how far another node has stored the document, if clients wait for that.
func (s *saves) ask(ctx context.Context, k *keeper) {
	s.mu.Lock()
	awaited := k.awaited
	s.mu.Unlock()
	if !awaited {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	defer context.AfterFunc(k.ctx, cancel)()
	err := k.room.Reached(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !k.ended && s.docs.ctx.Err() == nil && k.asked.failsAgain(err) {
		s.docs.o.Log.Warn("clients wait to hear that a document is stored, and the history does not say", "document", k.doc.String(), "err", err)
	}
}

// wait leaves the document to the room of another node for a while. It returns true when
// that has had its time.
func (s *saves) wait(k *keeper) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if k.until.IsZero() {
		k.until = now.Add(2 * s.docs.o.StoreInterval)
		if k.awaited {
			k.until = now.Add(s.docs.o.StoreInterval / awaitedShare)
		}
	}
	if !now.Before(k.until) {
		return true
	}
	if !k.ended {
		s.at(k, k.until)
	}
	return false
}

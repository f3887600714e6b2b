package quota

import (
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// app is what this node knows of one app: the sessions here, and, once a token
// has set a limit, the app's record in the registry.
type app struct {
	places *Places
	id     docid.AppID
	key    string

	stopAnswering func() // questions about its usage

	mu sync.Mutex

	// The sessions here, admitted or about to be.
	connections int // of which some may be shared
	shared      map[*Connection]*sessions
	documents   map[string]*local

	// The registry's side. view is the newest record seen, nil until one is; it is
	// sealed. unsettled are the records that were sent while the key was at the
	// revision unsettledAt, and of which at most one has been written or will be: as
	// long as they are there, this node's rights are those that all of them and
	// the view give.
	limited     bool // a token has set a limit
	plan        Plan // of the last token that did
	view        *record
	revision    uint64
	confirmed   time.Time // view was certainly the newest then
	unsettled   []*record
	unsettledAt uint64
	written     time.Time // when a write was last noticed; the key expires without any

	waiting   []*waiter
	dirty     bool // the entry needs a write
	stale     bool // the record must be read
	running   bool // there is a worker
	wake      chan struct{}
	idleSince time.Time
}

// local is a document with sessions here.
type local struct {
	hash hash
	sessions
}

// sessions are those here in a document, or on a shared connection.
type sessions struct {
	all     int
	pending int // of these, such as are only admitted if a write succeeds
}

// open reports whether somebody is in whose admission needs no write any more: what they
// share is counted, whatever becomes of the others.
func (s *sessions) open() bool { return s != nil && s.all > s.pending }

func (s *sessions) enter(given bool) {
	s.all++
	if !given {
		s.pending++
	}
}

// leave reports whether that was the last one.
func (s *sessions) leave(given bool) bool {
	s.all--
	if !given {
		s.pending--
	}
	return s.all == 0
}

// waiter is one session that wants to be admitted.
type waiter struct {
	name    string
	hash    hash
	plan    Plan
	via     *Connection // nil: one of its own
	arrived time.Time

	// Guarded by app.mu.
	taken bool // counted in the app's numbers
	given bool // admitted for good
	over  bool // nobody waits any more
	err   error
	done  chan struct{} // closed when given or err is decided; nil if nobody has to wait
}

func (a *app) me() (self, bool) {
	lease, current := a.places.config.Registry.Lease(a.id.License)
	return self{node: a.places.config.Node, region: a.places.config.Region, lease: lease}, current
}

// admitLocked admits a session if nobody need be asked.
func (a *app) admitLocked(w *waiter) bool {
	if w.plan == (Plan{}) {
		w.given = true
		a.takeLocked(w)
		a.coverLocked(w)
		return true
	}
	if !a.limited {
		a.limited = true
		a.wake = make(chan struct{}, 1)
	}
	a.plan = w.plan
	me, current := a.me()
	if !current || a.view == nil || !a.allowsLocked(a.view, me, w) {
		return false
	}
	for _, write := range a.unsettled {
		if !a.allowsLocked(write, me, w) {
			return false
		}
	}
	w.given = true
	a.takeLocked(w)
	return true
}

// allowsLocked reports whether the record gives this node the right to admit one
// more session.
func (a *app) allowsLocked(r *record, me self, w *waiter) bool {
	e := r.own(me)
	if e == nil {
		return false
	}
	users, open := 0, false
	if doc := a.documents[w.name]; doc != nil {
		users, open = doc.all, doc.open()
	}
	return (w.plan.MaxConnections == 0 || a.shared[w.via].open() || r.mayConnect(e, a.connections, w.plan.MaxConnections)) &&
		(w.plan.MaxDocuments == 0 || open || r.mayOpen(e, len(a.documents), w.hash, w.plan.MaxDocuments)) &&
		(w.plan.MaxUsersPerDoc == 0 || r.mayEnter(e, users, w.hash, w.plan.MaxUsersPerDoc))
}

// takeLocked counts a session: its user in the document, and its connection, unless other
// sessions of the app share that.
func (a *app) takeLocked(w *waiter) {
	w.taken = true
	doc := a.documents[w.name]
	if doc == nil {
		doc = &local{hash: w.hash}
		a.documents[w.name] = doc
	}
	doc.enter(w.given)
	if w.via == nil {
		a.connections++
		return
	}
	on := a.shared[w.via]
	if on == nil {
		on = new(sessions)
		if a.shared == nil {
			a.shared = map[*Connection]*sessions{}
		}
		a.shared[w.via] = on
		a.connections++
	}
	on.enter(w.given)
}

// returnLocked takes it back.
func (a *app) returnLocked(w *waiter) {
	w.taken = false
	if a.documents[w.name].leave(w.given) {
		delete(a.documents, w.name)
	}
	if w.via == nil {
		a.connections--
	} else if a.shared[w.via].leave(w.given) {
		delete(a.shared, w.via)
		a.connections--
	}
	if a.connections == 0 {
		a.idleSince = time.Now()
	}
}

// endLocked ends the wait with what was decided.
func (w *waiter) endLocked(a *app) error {
	w.over = true
	if w.given {
		return nil
	}
	if w.err == nil {
		w.err = ErrUnavailable
	}
	// A write that would admit it may be under way; its worker takes it back.
	a.wakeLocked()
	return w.err
}

// refuse ends the wait with an error.
func (w *waiter) refuse(err error) {
	w.err = err
	close(w.done)
}

// giveLocked ends the wait of a session that is counted already: it is admitted.
func (a *app) giveLocked(w *waiter) {
	a.documents[w.name].pending--
	if w.via != nil {
		a.shared[w.via].pending--
	}
	w.given = true
	close(w.done)
}

// coverLocked has the entry written when sessions that no limit stopped have
// grown beyond it.
func (a *app) coverLocked(w *waiter) {
	if !a.limited || a.view == nil {
		return
	}
	me, _ := a.me()
	doc := a.view.documents[w.hash]
	if e := a.view.own(me); e == nil || !a.coveredLocked(e) || doc != nil && doc.hot > 0 {
		a.dirty = true
		a.kickLocked()
	}
}

// coveredLocked reports whether the entry says no less than what is here, in what
// the plan limits.
func (a *app) coveredLocked(e *entry) bool {
	return (a.plan.MaxConnections == 0 || a.connections <= e.Connections) &&
		(a.plan.MaxDocuments == 0 || len(a.documents) <= e.Documents)
}

// afterLeaveLocked gives a place back at once where others wait for it: where the
// app is nearly full.
func (a *app) afterLeaveLocked() {
	if !a.limited || a.view == nil {
		return
	}
	if a.view.TightConnections > 0 || len(a.view.documents) > 0 {
		a.dirty = true
		a.kickLocked()
	}
}

// linger is how long an app without sessions here keeps its entry: a page that is
// loaded again finds it.
const linger = 2 * time.Second

// Keys of apps expire when nobody touches them for keyTTL, which only happens when
// all nodes have died; one that has an entry writes again after renewAfter.
const (
	keyTTL     = 4 * time.Hour
	emptyTTL   = 10 * time.Second
	renewAfter = 2 * time.Hour
)

// tendLocked finds what needs a write though nobody asked for it.
func (a *app) tendLocked() {
	if !a.limited || a.running {
		return
	}
	me, current := a.me()
	if !current || a.view == nil {
		return
	}
	e := a.view.entry(me.node)
	switch {
	case e == nil:
		a.dirty = a.dirty || a.connections > 0
	case e.Lease != me.lease, time.Since(a.written) > renewAfter, !a.coveredLocked(e):
		a.dirty = true
	case a.connections == 0:
		a.dirty = a.dirty || time.Since(a.idleSince) >= linger
	default:
		a.dirty = a.dirty || hoards(e.Connections, a.connections) || hoards(e.Documents, len(a.documents)) ||
			hoards(e.Users, 0) && hoards(e.Users, a.crowdLocked()) || a.view.asks(e.Seen)
	}
	if a.dirty {
		a.kickLocked()
	}
}

// crowdLocked is the number of sessions in the fullest document here.
func (a *app) crowdLocked() int {
	most := 0
	for _, doc := range a.documents {
		most = max(most, doc.all)
	}
	return most
}

// hoards reports whether so much more is reserved than used that it should be
// given back unasked.
func hoards(reserved, used int) bool { return reserved-used > max(16, used) }

// enteredLocked reports whether the record may have an entry of this node.
func (a *app) enteredLocked() bool {
	node := a.places.config.Node
	return a.limited && (len(a.unsettled) > 0 || a.view != nil && a.view.entry(node) != nil)
}

// emptyLocked reports whether the app can be forgotten.
func (a *app) emptyLocked() bool {
	return a.connections == 0 && len(a.waiting) == 0 && !a.running && !a.enteredLocked()
}

// notice takes in the record that the registry has at a revision.
func (a *app) notice(value []byte, revision uint64) {
	a.mu.Lock()
	news := a.limited && (a.view == nil || revision > a.revision)
	a.mu.Unlock()
	if !news {
		return
	}
	r, err := decodeRecord(value)
	if err != nil {
		a.places.config.Log.Error("cannot read the record of an app's limits", "app", a.id.String(), "err", err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.view != nil && revision <= a.revision {
		return // overtaken meanwhile
	}
	a.setViewLocked(r, revision)
	me, _ := a.me()
	if e := r.own(me); e != nil && r.asks(e.Seen) {
		a.dirty = true
	}
	if a.dirty || len(a.waiting) > 0 {
		a.kickLocked()
	}
}

// setViewLocked takes a newer record. What was unsettled at an older revision is
// decided by that: it happened, and this came after it, or it never will.
func (a *app) setViewLocked(r *record, revision uint64) {
	a.view, a.revision, a.written = r, revision, time.Now()
	if revision != a.unsettledAt {
		a.unsettled = nil
	}
}

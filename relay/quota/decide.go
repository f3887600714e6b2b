package quota

import "time"

// freshness is how old, at most, what is known of a record may be when a session
// is refused by it. Refused clients come again and again: this bounds the reads
// that they cause.
const freshness = 100 * time.Millisecond

// maxListed bounds the documents that a record lists. An app with more is not
// made tight: its documents then count once for each node that has them, which
// may refuse some too many and never admits one too many.
const maxListed = 32768

// relaxBelow is the share of a limit below which an app stops being tight.
const relaxBelow = 0.7

// decision is one look at an app's record: who is admitted, and how the record
// changes by it.
type decision struct {
	app  *app
	me   self
	next *record
	own  entry // this node's entry to be

	stamp uint64 // of the write that this may become
	seen  uint64 // this node's last write; 0: it has no entry
}

// decideLocked judges all that wait and makes this node's entry right. It returns
// the record to write, or nil when the one there is right already. Those who are
// admitted without a write are told at once, as are those who are refused.
func (a *app) decideLocked(view *record, me self, gone map[string]bool) *record {
	a.dirty = false
	a.dropLocked()
	d := &decision{app: a, me: me, next: view.clone(), stamp: view.Writes + 1}
	d.next.Writes = d.stamp
	for node := range gone {
		d.next.remove(node)
	}
	// Clearing up after the dead is not worth a write of its own.
	d.next.changed = false
	d.own = entry{Node: me.node, Lease: me.lease, Region: me.region}
	if e := view.own(me); e != nil {
		d.own = *e
	}
	d.seen, d.own.Seen = d.own.Seen, d.stamp
	d.fitTable()

	waiting := a.waiting[:0]
	for _, w := range a.waiting {
		admit, err := d.judge(w)
		switch {
		case err != nil && time.Since(a.confirmed) > freshness && a.confirmed.Before(w.arrived):
			a.stale = true
			waiting = append(waiting, w)
		case err != nil:
			w.refuse(err)
		default:
			if admit {
				a.takeLocked(w)
			}
			waiting = append(waiting, w)
		}
	}
	clear(a.waiting[len(waiting):])
	a.waiting = waiting
	d.fit()
	// An unsettled write is only settled by another one.
	if d.next.changed || len(a.unsettled) > 0 || time.Since(a.written) > renewAfter && view.own(me) != nil {
		return d.next
	}
	a.admitTakenLocked()
	return nil
}

// admitTakenLocked tells those that found room in what is reserved already.
func (a *app) admitTakenLocked() {
	waiting := a.waiting[:0]
	for _, w := range a.waiting {
		if w.taken {
			a.giveLocked(w)
		} else {
			waiting = append(waiting, w)
		}
	}
	clear(a.waiting[len(waiting):])
	a.waiting = waiting
}

// judge decides about one session: admit it, refuse it (an error), or neither,
// because others must answer first.
func (d *decision) judge(w *waiter) (admit bool, err error) {
	admit = true
	for _, judge := range []func(*waiter) (bool, error){d.judgeConnection, d.judgeDocument, d.judgeUser} {
		ok, err := judge(w)
		if err != nil {
			return false, err
		}
		admit = admit && ok // what must be asked is asked at once
	}
	return admit, nil
}

func (d *decision) judgeConnection(w *waiter) (bool, error) {
	limit := w.plan.MaxConnections
	sum := d.app.connections + d.next.others(d.me.node, func(e *entry) int { return e.Connections })
	if limit == 0 || sum < limit || d.app.shared[w.via] != nil {
		return true, nil
	}
	if d.next.TightConnections == 0 {
		d.next.TightConnections = d.stamp
		d.next.changed = true
	}
	if !d.next.answered(d.me.node, "", d.next.TightConnections) {
		return false, nil
	}
	return false, &ExceededError{Kind: Connections, Limit: limit, Active: sum}
}

func (d *decision) judgeDocument(w *waiter) (bool, error) {
	limit := w.plan.MaxDocuments
	if _, here := d.app.documents[w.name]; limit == 0 || here {
		return true, nil
	}
	if d.next.TightDocuments == 0 {
		sum := len(d.app.documents) + d.next.others(d.me.node, func(e *entry) int { return e.Documents })
		if sum < limit {
			return true, nil
		}
		if sum > maxListed {
			return false, &ExceededError{Kind: Documents, Limit: limit, Active: sum}
		}
		d.next.TightDocuments = d.stamp
		d.next.changed = true
	}
	d.listDocuments()
	if doc := d.next.documents[w.hash]; doc != nil && d.next.counted(doc, d.me.node) {
		return true, nil // wherever it is open
	}
	sum := d.next.distinct(d.me.node)
	if sum < limit {
		return true, nil
	}
	if !d.next.answered(d.me.node, "", d.next.TightDocuments) {
		return false, nil
	}
	return false, &ExceededError{Kind: Documents, Limit: limit, Active: sum}
}

func (d *decision) judgeUser(w *waiter) (bool, error) {
	limit := w.plan.MaxUsersPerDoc
	if limit == 0 {
		return true, nil
	}
	users := 0
	if doc := d.app.documents[w.name]; doc != nil {
		users = doc.all
	}
	doc := d.next.documents[w.hash]
	hot := doc != nil && doc.hot > 0
	if !hot && users < d.reservable(limit) {
		return true, nil
	}
	if !hot {
		d.next.list(w.hash, d.me.node, users)
		doc = d.next.documents[w.hash]
		doc.hot = d.stamp
		d.next.changed = true
	}
	sum := users
	for i := range d.next.Nodes {
		if e := &d.next.Nodes[i]; e.Node != d.me.node && e.Region == d.me.region {
			sum += d.next.usersRight(e, w.hash)
		}
	}
	if sum < limit {
		return true, nil
	}
	if !d.next.answered(d.me.node, d.me.region, doc.hot) {
		return false, nil
	}
	return false, &ExceededError{Kind: Users, Limit: limit, Active: sum}
}

// reservable is how many sessions of any one document this node can reserve under
// a limit.
func (d *decision) reservable(limit int) int {
	return limit - d.next.others(d.me.node, func(e *entry) int {
		if e.Region != d.me.region {
			return 0
		}
		return e.Users
	})
}

// fit makes this node's entry fit what is here, those just admitted included.
func (d *decision) fit() {
	a := d.app
	d.fitTable()
	// Who only looks needs no entry.
	asks := len(a.waiting) > 0 && (d.seen > 0 || d.next.changed)
	if a.connections == 0 && !asks {
		d.next.remove(d.me.node)
		return
	}
	d.relax()
	nodes := len(d.next.Nodes) + 1
	own := &d.own
	room := a.plan.MaxConnections - a.connections - d.next.others(d.me.node, func(e *entry) int { return e.Connections })
	own.Connections = reserve(own.Connections, a.connections, room, nodes, d.next.TightConnections > 0)
	room = a.plan.MaxDocuments - len(a.documents) - d.next.others(d.me.node, func(e *entry) int { return e.Documents })
	own.Documents = reserve(own.Documents, len(a.documents), room, nodes, d.next.TightDocuments > 0)
	most := 0
	for _, doc := range a.documents {
		if listed := d.next.documents[doc.hash]; listed == nil || listed.hot == 0 {
			most = max(most, doc.all)
		}
	}
	own.Users = reserve(own.Users, most, d.reservable(a.plan.MaxUsersPerDoc)-most, nodes, false)
	d.next.setEntry(*own)
}

// reserve says how much to reserve when so much is used, so much was reserved, and
// so much room is left. It stays what it was as long as that makes sense: every
// change is a write.
func reserve(reserved, used, room, nodes int, tight bool) int {
	if tight {
		return used
	}
	block := min(max(room, 0)/(4*nodes), 1024)
	if reserved >= used && reserved <= used+max(room, 0) && (!hoards(reserved, used) || reserved <= used+block) {
		return reserved
	}
	return used + block
}

// fitTable lists what is here in the documents of the table, all of them when
// documents are tight, and takes out what is not here any more. It comes before
// the judging as well: a document that was closed here does not count as open.
func (d *decision) fitTable() {
	a := d.app
	wanted := map[hash]int{}
	for _, doc := range a.documents {
		wanted[doc.hash] = doc.all
	}
	for _, w := range a.waiting {
		if _, here := wanted[w.hash]; !here {
			wanted[w.hash] = 0
		}
	}
	if d.next.TightDocuments > 0 {
		d.listDocuments()
	}
	for h, doc := range d.next.documents {
		sessions, here := wanted[h]
		_, there := doc.users[d.me.node]
		switch {
		case doc.hot > 0 && here && (sessions > 0 || there):
			d.next.list(h, d.me.node, sessions)
		case doc.hot == 0 && sessions > 0 && d.next.TightDocuments > 0:
		default:
			d.next.unlist(h, d.me.node)
		}
	}
}

// listDocuments lists all documents that are open here.
func (d *decision) listDocuments() {
	for _, doc := range d.app.documents {
		if listed := d.next.documents[doc.hash]; listed == nil || listed.users[d.me.node] == 0 {
			d.next.list(doc.hash, d.me.node, max(doc.all, 1))
		}
	}
}

// relax lets the app be loose again where it is far from its limit. Questions are
// answered first: who asks needs to see what the others really use.
func (d *decision) relax() {
	a, r := d.app, d.next
	below := func(stamp uint64, sum, limit int) bool {
		return stamp > 0 && stamp <= d.seen && r.answered(d.me.node, "", stamp) &&
			(limit == 0 || float64(sum) < relaxBelow*float64(limit))
	}
	if below(r.TightConnections, a.connections+r.others(d.me.node, func(e *entry) int { return e.Connections }), a.plan.MaxConnections) {
		r.TightConnections, r.changed = 0, true
	}
	if below(r.TightDocuments, len(a.documents)+r.others(d.me.node, func(e *entry) int { return e.Documents }), a.plan.MaxDocuments) {
		r.TightDocuments, r.changed = 0, true
	}
	for h, doc := range d.next.documents {
		if doc.hot > 0 && d.cool(doc) {
			doc.hot, d.next.changed = 0, true
		}
		if doc.hot == 0 && d.next.TightDocuments == 0 {
			delete(d.next.documents, h)
			d.next.changed = true
		}
	}
}

// cool reports whether a hot document can be counted with the others again: all
// have answered, nobody waits, and what each has of it is within what it reserves
// anyway.
func (d *decision) cool(doc *listed) bool {
	r, limit := d.next, d.app.plan.MaxUsersPerDoc
	if doc.hot > d.seen || !r.answered(d.me.node, "", doc.hot) {
		return false
	}
	sum := 0
	for node, n := range doc.users {
		e := &d.own
		if node != d.me.node {
			e = r.entry(node)
		}
		if e == nil || n == 0 || n > e.Users {
			return false
		}
		sum += n
	}
	return 2*sum <= limit || limit == 0
}

package ystore

import (
	"cmp"
	"slices"
)

// runs are all that is known of a document's ids, by client. Only their methods change leaves
// and ends of a run, so that the totals are what lies in the leaves whenever one of them
// has returned. They know nothing of what a change means: which ids are to be deleted, where
// items lie, what can be integrated.
type runs struct {
	byClient map[uint64]*run
	list     []*run // the same, as they came
	order    []*run // the same, highest client first; shorter when it has to be made
	recent   *run   // the one used last
	other    *run   // the one that another client's struct hung on last

	totals totals
	work   int // see Store.Work
}

// totals counts over all runs of a store.
type totals struct {
	bytes     int // of the leaves' buffers
	held      int // memory of the leaves, what they could still take included
	entries   int // without gaps
	continued int
	deleted   int // tombstones, and ranges deleted ahead of their content
	ahead     int // of those, ranges deleted ahead of their content
	pending   int // structs behind a gap of their client
	given     given
}

func (rs *runs) run(client uint64) *run {
	if r := rs.recent; r != nil && r.client == client {
		return r
	}
	r := rs.byClient[client]
	if r != nil {
		rs.recent = r
	}
	return r
}

// runFor returns the client's run and begins one if there is none.
func (rs *runs) runFor(client uint64) *run {
	if r := rs.run(client); r != nil {
		return r
	}
	r := &run{client: client, head: maxClock}
	rs.byClient[client] = r
	rs.recent = r
	rs.list = append(rs.list, r)
	return r
}

// ordered returns the runs, highest client first: the order of the wire.
func (rs *runs) ordered() []*run {
	if len(rs.order) < len(rs.list) {
		rs.order = append(rs.order, rs.list[len(rs.order):]...)
		slices.SortFunc(rs.order, func(a, b *run) int { return cmp.Compare(b.client, a.client) })
	}
	return rs.order
}

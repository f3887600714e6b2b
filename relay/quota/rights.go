package quota

// self says who a node is in a record.
type self struct {
	node, region, lease string
}

// own returns the node's entry under its present lease, nil if it has none: then
// it has no rights at all.
func (r *record) own(me self) *entry {
	if e := r.entry(me.node); e != nil && e.Lease == me.lease {
		return e
	}
	return nil
}

// tightFor reports whether the entry's documents are in the table.
func (r *record) tightFor(e *entry) bool {
	return r.TightDocuments > 0 && e.Seen >= r.TightDocuments
}

// mayConnect reports whether a node that has so many connections may have one
// more without a write, under that limit.
func (r *record) mayConnect(e *entry, connections, limit int) bool {
	return connections < e.Connections && r.connections <= limit
}

// mayOpen reports whether a node that has so many documents may open this one
// without a write.
func (r *record) mayOpen(e *entry, documents int, h hash, limit int) bool {
	if !r.tightFor(e) {
		return documents < e.Documents && r.perDocument <= limit
	}
	d := r.documents[h]
	return d != nil && d.users[e.Node] > 0 && r.distinct("") <= limit
}

// mayEnter reports whether a node that has so many sessions in the document may
// have one more without a write.
func (r *record) mayEnter(e *entry, sessions int, h hash, limit int) bool {
	return sessions < r.usersRight(e, h) && r.users(e.Region, h) <= limit
}

// usersRight is how many sessions of the document the entry reserves.
func (r *record) usersRight(e *entry, h hash) int {
	if d := r.documents[h]; d != nil && d.hot > 0 && e.Seen >= d.hot {
		return d.users[e.Node]
	}
	return e.Users
}

// users is how many sessions of the document are reserved in a region, where all
// its sessions are.
func (r *record) users(region string, h hash) int {
	sum := 0
	for i := range r.Nodes {
		if e := &r.Nodes[i]; e.Region == region {
			sum += r.usersRight(e, h)
		}
	}
	return sum
}

// counted reports whether the document is in the table for sure: listed as open by
// a node that is bound to its list. Others may have it listed as hot and closed it
// since. The given node counts as bound.
func (r *record) counted(d *listed, node string) bool {
	for n, sessions := range d.users {
		if sessions == 0 {
			continue
		}
		if n == node {
			return true
		}
		if e := r.entry(n); e != nil && r.tightFor(e) {
			return true
		}
	}
	return false
}

// distinct is how many documents there can be at most: those in the table, and
// what nodes reserve that are not bound to their lists. The given node counts as
// bound.
func (r *record) distinct(node string) int {
	sum := 0
	for _, d := range r.documents {
		if r.counted(d, node) {
			sum++
		}
	}
	for i := range r.Nodes {
		if e := &r.Nodes[i]; e.Node != node && !r.tightFor(e) {
			sum += e.Documents
		}
	}
	return sum
}

// others sums a value over all nodes but one.
func (r *record) others(node string, value func(*entry) int) int {
	sum := 0
	for i := range r.Nodes {
		if r.Nodes[i].Node != node {
			sum += value(&r.Nodes[i])
		}
	}
	return sum
}

// answered reports whether all nodes but one, of one region or (empty) of all,
// have written since the stamp.
func (r *record) answered(node, region string, stamp uint64) bool {
	for i := range r.Nodes {
		e := &r.Nodes[i]
		if e.Node != node && (region == "" || e.Region == region) && e.Seen < stamp {
			return false
		}
	}
	return true
}

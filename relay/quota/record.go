package quota

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// record is what the registry holds about an app with limits: one key, changed
// by compare-and-swap only, so that every decision is made against all of it.
//
// Each node has an entry with the places that it has reserved, and never uses
// more than its entry says. What it reserves beyond what it uses lets it admit
// sessions without a write. When an app gets full, the node that finds no place
// left asks the others for what they do not use:
//
//   - connections: the record is made tight; from then on entries say exactly what
//     is used.
//   - documents: the same, and each node lists its documents, so that one that
//     several nodes share counts once. Until then it counts once per node, which
//     is too often and hence safe.
//   - users of a document: an entry reserves so many sessions in any document. A
//     document that needs more is listed as hot, and its sessions are counted
//     exactly.
//
// Who asks stamps the question with the number of the write. A node has answered
// when its entry was written since: its Seen is not below the stamp.
//
// A record that others may look at is sealed, and not changed any more.
type record struct {
	Form             int     `json:"v"`
	Writes           uint64  `json:"writes"`           // number of this write
	TightConnections uint64  `json:"tightConnections"` // stamp; 0: loose
	TightDocuments   uint64  `json:"tightDocuments"`
	Nodes            []entry `json:"nodes"`
	Table            []byte  `json:"table,omitempty"` // documents, encoded

	documents map[hash]*listed
	changed   bool // since it was cloned

	// Sums over all entries, computed when sealed.
	connections, perDocument int
}

// recordForm is the form that this version writes. It also reads the one before,
// once there is one.
const recordForm = 1

// entry is what a node has reserved.
type entry struct {
	Node        string `json:"node"`
	Lease       string `json:"lease"` // the entry counts as long as this is current
	Region      string `json:"region"`
	Seen        uint64 `json:"seen"` // the last write of its node
	Connections int    `json:"connections"`
	Documents   int    `json:"documents"`
	Users       int    `json:"users"` // sessions in any one document that is not hot
}

// listed is a document in the record's table.
type listed struct {
	hot   uint64         // stamp; 0: only listed because documents are tight
	users map[string]int // by node: its sessions if hot, else any positive number
}

// hash stands for a document's name within its app.
type hash uint64

func hashOf(name string) hash {
	sum := sha256.Sum256([]byte(name))
	return hash(binary.BigEndian.Uint64(sum[:]))
}

func newRecord() *record {
	return &record{Form: recordForm, documents: map[hash]*listed{}}
}

// clone returns a copy to change.
func (r *record) clone() *record {
	c := *r
	c.changed = false
	c.Nodes = slices.Clone(r.Nodes)
	c.documents = make(map[hash]*listed, len(r.documents))
	for h, d := range r.documents {
		users := make(map[string]int, len(d.users))
		for node, n := range d.users {
			users[node] = n
		}
		c.documents[h] = &listed{hot: d.hot, users: users}
	}
	return &c
}

// entry returns the node's entry, nil if it has none.
func (r *record) entry(node string) *entry {
	for i := range r.Nodes {
		if r.Nodes[i].Node == node {
			return &r.Nodes[i]
		}
	}
	return nil
}

// setEntry writes a node's entry.
func (r *record) setEntry(e entry) {
	old := r.entry(e.Node)
	switch {
	case old == nil:
		r.Nodes = append(r.Nodes, e)
		r.changed = true
	case *old != e:
		// Having looked again is no news to others unless they asked.
		seen := *old
		seen.Seen = e.Seen
		r.changed = r.changed || seen != e || r.asks(old.Seen)
		*old = e
	}
}

// asks reports whether there is a question that a node that wrote last at that
// stamp has not answered.
func (r *record) asks(seen uint64) bool {
	if r.TightConnections > seen || r.TightDocuments > seen {
		return true
	}
	for _, d := range r.documents {
		if d.hot > seen {
			return true
		}
	}
	return false
}

// remove takes a node out.
func (r *record) remove(node string) {
	for h := range r.documents {
		r.unlist(h, node)
	}
	if i := slices.IndexFunc(r.Nodes, func(e entry) bool { return e.Node == node }); i >= 0 {
		r.Nodes = slices.Delete(r.Nodes, i, i+1)
		r.changed = true
	}
}

// list writes how many sessions the node has in a document of the table, or that
// comes into it; none, but listed, has a node that asks about a hot document.
func (r *record) list(h hash, node string, n int) {
	d := r.documents[h]
	if d == nil {
		d = &listed{users: map[string]int{}}
		r.documents[h] = d
	}
	if old, there := d.users[node]; !there || old != n {
		d.users[node] = n
		r.changed = true
	}
}

// unlist takes the node off a document of the table, and the document with its
// last node.
func (r *record) unlist(h hash, node string) {
	d := r.documents[h]
	if d == nil {
		return
	}
	if _, there := d.users[node]; there {
		delete(d.users, node)
		r.changed = true
	}
	if len(d.users) == 0 {
		delete(r.documents, h)
		r.changed = true
	}
}

// Encoding of the table: per document its hash, the stamp (varuint), the number
// of nodes (varuint), and for each its place in Nodes and its sessions (varuints).

// encode spells the record.
func (r *record) encode() []byte {
	at := map[string]uint64{}
	for i, e := range r.Nodes {
		at[e.Node] = uint64(i)
	}
	table := make([]byte, 0, 12*len(r.documents))
	for h, d := range r.documents {
		table = binary.BigEndian.AppendUint64(table, uint64(h))
		table = binary.AppendUvarint(table, d.hot)
		table = binary.AppendUvarint(table, uint64(len(d.users)))
		for node, n := range d.users {
			table = binary.AppendUvarint(table, at[node])
			table = binary.AppendUvarint(table, uint64(n))
		}
	}
	spelled := *r
	spelled.Table = table
	data, err := json.Marshal(&spelled)
	if err != nil {
		panic(err) // numbers and strings can be spelled
	}
	return data
}

// seal computes the sums; the record is not changed any more.
func (r *record) seal() {
	r.connections, r.perDocument = 0, 0
	for _, e := range r.Nodes {
		r.connections += e.Connections
		r.perDocument += e.Documents
	}
}

var errRecord = errors.New("not a record of limits")

// decodeRecord reads a record; no bytes are an empty one.
func decodeRecord(data []byte) (*record, error) {
	if len(data) == 0 {
		return newRecord(), nil
	}
	r := &record{documents: map[hash]*listed{}}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	if r.Form != recordForm {
		return nil, fmt.Errorf("%w: form %d is not known here", errRecord, r.Form)
	}
	if err := r.decodeTable(); err != nil {
		return nil, err
	}
	r.Table = nil
	r.seal()
	return r, nil
}

func (r *record) decodeTable() error {
	rest := r.Table
	number := func() uint64 {
		n, size := binary.Uvarint(rest)
		if size <= 0 {
			rest = nil
			return 1 << 63
		}
		rest = rest[size:]
		return n
	}
	for len(rest) >= 8 {
		h := hash(binary.BigEndian.Uint64(rest))
		rest = rest[8:]
		d := &listed{hot: number(), users: map[string]int{}}
		for range min(number(), uint64(len(r.Nodes))) {
			node, n := number(), number()
			if node >= uint64(len(r.Nodes)) || n > 1<<31 {
				return fmt.Errorf("%w: bad table", errRecord)
			}
			d.users[r.Nodes[node].Node] = int(n)
		}
		r.documents[h] = d
	}
	if len(rest) != 0 {
		return fmt.Errorf("%w: bad table", errRecord)
	}
	return nil
}

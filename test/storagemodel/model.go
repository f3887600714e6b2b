// Package storagemodel is a model of the storage protocol, small enough that random
// schedules find what is wrong with it: one document, two regions, three nodes, a store.
//
// The protocol read naively loses, revives or blocks within 3 to 9 steps; with all
// rules no schedule is known that breaks it, and without any one of them some do.
// Steps are atomic, but for saves in two phases; seeds in parts, limits and
// acknowledgements are outside the model.
package storagemodel

import "fmt"

// Rule is one that the protocol needs, switched on in a model.
type Rule string

// The rules, by the numbers of docs/storage.md's protocol.
const (
	BaseInSnapshots   Rule = "base in snapshots"    // 1: every snapshot carries its base
	UnbasedLoad       Rule = "unbased load"         // 1: a history without a base is loaded for, and based
	ExpectBody        Rule = "expect body"          // 2: a save expects what its body holds, not the newest version
	Covered           Rule = "covered"              // 3: clean is an epoch with nothing above the S of its last stored
	GenerationZero    Rule = "generation zero"      // 5: creation where nothing was has generation 0
	DeletionTakesPin  Rule = "deletion takes pin"   // 6: a deletion removes the pin, whoever holds it
	GenerationRebase  Rule = "generation at rebase" // 6: a room that comes back to another generation merges nothing
	GenerationRestore Rule = "generation restored"  // 6: a room that restores its pin reads the store's generation first
	Marker            Rule = "marker"               // 7: a purge leaves the last base
	LastLooks         Rule = "last looks"           // 8: who leaves last looks whether all is covered
	OwedPin           Rule = "owed pin"             // 8: an epoch with uncovered history keeps its pin
	HomeFirst         Rule = "home first"           // 8: while the home region lives, others do not take the document
	Notices           Rule = "notices"              // 9: foreign saves are told
	MoveStops         Rule = "move stops"           // 16: all holders that are alive stop before a document moves
	MoveStores        Rule = "move stores"          // 16: and it is stored
	MoveExpectsMark   Rule = "move expects mark"    // 16: its last write expects the mark of its first
	ThawUnmarks       Rule = "thaw unmarks"         // 16: a holder that thaws removes the mark before it goes on
)

// Rules are all of them.
var Rules = []Rule{
	BaseInSnapshots, UnbasedLoad, ExpectBody, Covered, GenerationZero, DeletionTakesPin, GenerationRebase, GenerationRestore, Marker,
	LastLooks, OwedPin, HomeFirst, Notices, MoveStops, MoveStores, MoveExpectsMark, ThawUnmarks,
}

// Node is one of three; the first two are of region 0.
type Node int

const nodes = 3

func (n Node) region() int { return int(n) / 2 }

// String names the node after its region.
func (n Node) String() string { return [nodes]string{"A1", "A2", "B1"}[n] }

// edits is a set of edits.
type edits uint64

func (e edits) has(id int) bool       { return e&(1<<id) != 0 }
func (e edits) within(o edits) bool   { return e&^o == 0 }
func single(id int) edits             { return 1 << id }
func (s nodeSet) has(n Node) bool     { return s&(1<<n) != 0 }
func (s nodeSet) with(n Node) nodeSet { return s | 1<<n }
func (s nodeSet) without(n Node) nodeSet {
	return s &^ (1 << n)
}

type nodeSet uint8

// unknown is the generation of a document that nobody has created yet, without
// GenerationZero.
const unknown = -1

// base is what a history builds on: a version in the store, and its content.
type base struct {
	version, generation int
	body                edits
}

type messageKind int

const (
	seed messageKind = iota
	snapshot
	update
	stored
)

// message is one in the history of an epoch.
type message struct {
	seq  int
	kind messageKind
	body edits // of a seed, a snapshot or an update
	base *base // of a seed or a snapshot; of a stored the version and generation
	upTo int   // of a stored: the last sequence that it covers
}

// object is what the store holds.
type object struct {
	base
	tombstone bool
}

type pin struct {
	region, epoch int
	holders       nodeSet
	owed          bool
	moving        *moving // nil: it is not being moved
}

// room is a live document on a node.
type room struct {
	epoch               int
	content             edits
	version, generation int
	life                int      // of the document, as far as this room knows
	saving              *halfway // a save between its read and its write
	leaving             bool     // leave1 was done
	stopped             bool     // it takes no edits, since the document moves
	marked, rested      bool     // by this node
}

type halfway struct {
	body                 edits
	upTo, epoch, version int
}

// edit is what a client was told is durable.
type edit struct {
	life    int
	deleted bool
}

// Model is a state of the whole.
type Model struct {
	rules   map[Rule]bool
	store   *object
	pin     *pin
	history [2]map[int][]message
	seq     [2]int
	rooms   [nodes]*room
	frozen  nodeSet
	acked   []edit // by id; the first is none

	epochs, versions, generations, life int

	down    bool // writes to the store fail
	wasDown bool // they did once: what is served may be old
	final   bool // nobody comes any more

	violations []string
}

// New returns a model with nothing in it.
func New(rules ...Rule) *Model {
	m := &Model{rules: map[Rule]bool{}, acked: make([]edit, 1)}
	for _, r := range rules {
		m.rules[r] = true
	}
	for r := range m.history {
		m.history[r] = map[int][]message{}
	}
	return m
}

func (m *Model) has(r Rule) bool    { return m.rules[r] }
func (m *Model) awake(n Node) bool  { return !m.frozen.has(n) }
func (m *Model) lives(n Node) bool  { return m.awake(n) && m.rooms[n] != nil }
func (m *Model) ghost() bool        { return m.store != nil && m.store.tombstone }
func (m *Model) newGeneration() int { m.generations++; return m.generations }
func (m *Model) newVersion() int    { m.versions++; return m.versions }
func (m *Model) ack(life int) int {
	m.acked = append(m.acked, edit{life: life})
	return len(m.acked) - 1
}
func (m *Model) violate(text string) { m.violations = append(m.violations, text) }

func (m *Model) regionAwake(region int) bool {
	for n := range Node(nodes) {
		if n.region() == region && m.awake(n) {
			return true
		}
	}
	return false
}

// first is what a writer knows that has loaded nothing.
func (m *Model) first() base {
	if m.store != nil {
		return m.store.base
	}
	if m.has(GenerationZero) {
		return base{}
	}
	return base{generation: unknown}
}

func (m *Model) appendTo(region, epoch int, msg message) {
	m.seq[region]++
	msg.seq = m.seq[region]
	m.history[region][epoch] = append(m.history[region][epoch], msg)
}

// read merges a history. based is nil if no base is in it.
func (m *Model) read(region, epoch int) (content edits, based *base, last int) {
	for _, msg := range m.history[region][epoch] {
		last = msg.seq
		content |= msg.body
		switch {
		case msg.kind == seed, msg.kind == snapshot && m.has(BaseInSnapshots) && msg.base != nil,
			msg.kind == stored && m.has(Marker) && based == nil:
			based = msg.base
		}
	}
	return content, based, last
}

// clean reports whether the store has what the history holds, as far as nodes know.
func (m *Model) clean(region, epoch int) bool {
	h := m.history[region][epoch]
	if len(h) == 0 {
		return true
	}
	if !m.has(Covered) {
		return h[len(h)-1].kind == stored || len(h) == 1 && h[0].kind == seed
	}
	upTo := 0
	for _, msg := range h {
		if msg.kind == stored {
			upTo = max(upTo, msg.upTo)
		}
	}
	var inStore edits
	if m.store != nil {
		inStore = m.store.body
	}
	for _, msg := range h {
		if msg.seq > upTo && (msg.kind == update || msg.kind == snapshot && !msg.body.within(inStore)) {
			return false
		}
	}
	return true
}

type outcome int

const (
	ok outcome = iota
	failed
	otherGeneration
)

// save writes to the store by compare-and-swap; a conflict is merged at once.
func (m *Model) save(body edits, version, generation int) (outcome, base) {
	if m.down {
		return failed, base{}
	}
	if m.store != nil && m.store.version != version {
		if m.store.generation != generation || m.store.tombstone {
			return otherGeneration, base{}
		}
		body |= m.store.body
	}
	if generation == unknown {
		generation = m.newGeneration()
	}
	saved := base{m.newVersion(), generation, body}
	m.store = &object{base: saved}
	if m.has(Notices) && m.pin != nil {
		for n, r := range m.rooms {
			if r != nil && r.epoch == m.pin.epoch && r.generation == generation && m.awake(Node(n)) && !body.within(r.content) {
				r.content |= body
				m.appendTo(m.pin.region, r.epoch, message{kind: snapshot, body: r.content, base: &base{version: saved.version, generation: generation}})
			}
		}
	}
	return ok, saved
}

// served looks for deleted edits in what a room shows.
func (m *Model) served(content edits, where string) {
	for id, e := range m.acked {
		if e.deleted && content.has(id) {
			m.violate("REVIVED " + where)
			return
		}
	}
}

// lost are edits of the present life that content lacks.
func (m *Model) lost(content edits) bool {
	for id, e := range m.acked {
		if id > 0 && !e.deleted && e.life == m.life && !content.has(id) {
			return true
		}
	}
	return false
}

// Settle ends all that goes on: the store is up, all leave, what is owed is stored. Then it
// looks whether the store has what it must have, and nothing is left.
func (m *Model) Settle() {
	m.down = false
	for n := range Node(nodes) {
		m.wake(n, false)
	}
	for n := range Node(nodes) {
		m.goOn(n)
	}
	for n := range Node(nodes) {
		m.leave1(n)
		m.leave2(n)
	}
	m.final = true
	for range 6 {
		m.orphan()
		m.pay(0)
		m.pay(1)
		m.expire()
	}
	var body edits
	if m.store != nil && !m.store.tombstone {
		body = m.store.body
	}
	if m.lost(body) {
		m.violate("LOST acknowledged edits")
	}
	m.served(body, "in the store")
	if m.pin != nil {
		m.violate("PIN left")
	}
}

// String describes the state, for whoever reads a schedule.
func (m *Model) String() string {
	return fmt.Sprintf("store %+v, pin %+v, rooms %+v, histories %+v", m.store, m.pin, m.rooms, m.history)
}

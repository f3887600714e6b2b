package load

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Message types of y-protocols, and Hocuspocus's own.
const (
	messageSync      = 0
	messageAwareness = 1
	messageAuth      = 2
	messageSyncReply = 4 // Hocuspocus: a SyncStep1 that wants no other in return

	syncStep1  = 0
	syncStep2  = 1
	syncUpdate = 2
)

// A client is one connection to one document.
type client struct {
	runner *Runner
	board  *scoreboard
	doc    *document
	index  int    // which of the document's writers it is; -1: it only reads
	node   int    // of the target
	token  string // "": it takes one when it dials

	// What it tells the server. Set before dial.
	stateVector []byte // nil: it has nothing
	state       []byte // what the server lacks if it has nothing; nil: nothing
	awareness   []byte // its awareness update, sent when the connection opens; nil: none
	returns     bool   // it tells what it knows by then instead, whenever it comes back

	// keep is given the answer to SyncStep1, and nothing is looked for in it; nil: it counts as delivered.
	keep func(update []byte) // lent
	// follow is given the answer to SyncStep1 and every edit after it instead; nil: they are counted.
	follow func(update []byte) // lent

	prefix []byte // of every message: Hocuspocus's document name
	ws     webSocket
	next   []uint32 // the clock expected next, by writer
	late   map[id]struct{}
	seen   []uint32 // the awareness clock seen last, by writer
	now    int64    // of the message being read

	hops       int  // redirects followed since it was synced last
	redirected bool // it ended with a redirect to node

	dialed, synced int64 // when; synced is 0 before
	ended          int64 // when it ended, if err is set
	answered       int   // bytes of the SyncStep2
	err            error // why it ended; nil while it lives
}

// across reports whether a writer is on another node. Writers are spread over the nodes in turn.
func (c *client) across(writer int) bool { return writer%len(c.runner.Target.nodes) != c.node }

// newClient prepares a connection of a document's writer, or of a reader (-1).
func (r *Runner) newClient(board *scoreboard, doc *document, index, node int) *client {
	c := &client{runner: r, board: board, doc: doc, index: index, node: node % len(r.Target.nodes)}
	c.next = make([]uint32, len(doc.writers))
	if r.Target.Protocol == Hocuspocus {
		c.prefix = appendBytes(nil, []byte(doc.name))
	}
	return c
}

// dial starts the connection; what the client knew of the document stays.
func (c *client) dial() {
	r := c.runner
	if c.token == "" {
		c.token = r.tokens.next()
	}
	c.err, c.synced, c.redirected, c.dialed = nil, 0, false, r.loop.now()
	c.ws = webSocket{
		request: r.Target.request(c.node, c.doc.name, c.token),
		opened: func(int64) {
			if r.Target.Protocol == Hocuspocus {
				c.sendMessage(messageAuth, appendBytes([]byte{0}, []byte(or(c.token, "none"))))
			}
			vector := c.stateVector
			switch {
			case c.returns:
				vector = c.doc.vector(c.known())
			case vector == nil:
				vector = []byte{0}
			}
			c.sendMessage(messageSync, appendBytes([]byte{syncStep1}, vector))
			if c.awareness != nil {
				c.sendMessage(messageAwareness, appendBytes(nil, c.awareness))
			}
		},
		message: c.message,
		ended: func(err error) {
			c.ended = c.runner.loop.now()
			if c.redirected = c.follows(err); c.redirected && c.synced == 0 {
				c.runner.loop.post(func(int64) { c.dial() }) // it has only been sent on
				return
			}
			if c.err = err; err == nil {
				c.err = errors.New("closed")
			}
		},
	}
	node := &r.Target.nodes[c.node]
	c.ws.sock = r.loop.dial(node.address, node.secure, wsSink{&c.ws})
}

// redirect is the close code of a document that lives in another region, and redirectTo
// what its reason begins with.
const (
	redirect   = 4009
	redirectTo = "REDIRECT:"
	maxHops    = 5
)

// follows reports whether a connection ended with a redirect to another node of the target,
// which is the client's from then on.
func (c *client) follows(ended error) bool {
	var closed *CloseError
	if c.synced > 0 {
		c.hops = 0
	}
	if !errors.As(ended, &closed) || closed.Code != redirect || c.hops == maxHops {
		return false
	}
	u, err := url.Parse(strings.TrimPrefix(closed.Reason, redirectTo))
	if err != nil {
		return false
	}
	at := slices.IndexFunc(c.runner.Target.nodes, func(n node) bool { return n.host == u.Host })
	if at < 0 {
		return false
	}
	c.node = at
	c.hops++
	return true
}

// hangUp ends the connection without a word, as a network does.
func (c *client) hangUp() {
	if c.ws.sock != nil {
		c.ws.sock.abandon()
	}
}

// sendMessage sends a message of a type with the bytes that follow the type.
func (c *client) sendMessage(kind byte, body []byte) {
	m := make([]byte, 0, len(c.prefix)+1+len(body))
	m = append(append(append(m, c.prefix...), kind), body...)
	c.ws.send(opBinary, m)
}

// edit types one character.
func (c *client) edit() {
	var space [128]byte
	now := c.runner.loop.now()
	update := c.doc.appendEdit(space[:0], c.index, now)
	c.sendUpdate(update)
	c.board.sent++
}

// sendUpdate sends an update, unless the client is offline: then the server asks
// for it when the client is back.
func (c *client) sendUpdate(update []byte) {
	if !c.ws.open {
		return
	}
	var space [256]byte
	m := append(append(space[:0], c.prefix...), messageSync, syncUpdate)
	m = appendBytes(m, update)
	var frame [300]byte
	c.ws.sock.write(appendFrame(frame[:0], opBinary, m))
}

// changeState sends the writer's next awareness state.
func (c *client) changeState() {
	c.sendMessage(messageAwareness, appendBytes(nil, c.doc.appendState(nil, c.index, c.runner.loop.now())))
	c.board.sent++
}

// message reads one message of the server.
func (c *client) message(m []byte, now int64) {
	c.board.frames++
	c.board.bytes += int64(len(m))
	c.now = now
	r := reader{data: m}
	if c.prefix != nil {
		r.bytes()
	}
	switch kind := r.uint(); kind {
	case messageSync, messageSyncReply:
		c.sync(&r)
	case messageAwareness:
		c.readAwareness(r.bytes())
	case messageAuth:
		if denied := r.uint() == 0; c.prefix == nil && denied {
			c.ws.sock.fail(fmt.Errorf("permission denied: %s", r.bytes()))
			return
		}
	}
	if r.failed {
		c.board.fault(fmt.Errorf("%s: malformed message of %d bytes", c.doc.name, len(m)))
	}
}

func (c *client) sync(r *reader) {
	kind, body := r.uint(), r.bytes()
	switch kind {
	case syncStep1:
		update := emptyUpdate
		switch {
		case c.returns:
			update = c.doc.diff(c.doc.clocks(body), c.known())
		case c.state != nil && len(body) == 1: // the server has nothing
			update = c.state
		}
		c.sendMessage(messageSync, appendBytes([]byte{syncStep2}, update))
		return
	case syncStep2:
		if c.synced == 0 {
			c.synced, c.answered = c.now, len(body)
			c.board.synced++
		}
		if c.keep != nil {
			c.keep(body)
			return
		}
	}
	if c.follow != nil {
		c.follow(body)
		return
	}
	if err := readUpdate(body, c); err != nil {
		c.board.fault(fmt.Errorf("%s: %w", c.doc.name, err))
	}
}

// visitRun counts the characters of a struct that came in.
func (c *client) visitRun(r *run) {
	index := r.client - c.doc.base
	if index >= uint64(len(c.doc.writers)) || r.content != text {
		c.board.wrong++
		return
	}
	sent := c.doc.writers[index].sent
	for k, char := range r.text {
		clock := r.clock + uint32(k)
		switch {
		case int(clock) >= len(sent) || char != character(int(index), clock):
			c.board.wrong++
		case int(index) == c.index:
			// Some servers send an edit back to who made it. It is no delivery.
		case clock == c.next[index]:
			c.next[index]++
			c.board.deliver(sent[clock], c.now, c.across(int(index)))
			c.catchUp(int(index))
		case clock < c.next[index]:
			c.board.duplicated++
		default:
			c.early(id{r.client, clock}, int(index), sent[clock])
		}
	}
}

// visitDeletion: nobody deletes anything in a live run.
func (c *client) visitDeletion(uint64, uint32, uint32) { c.board.wrong++ }

// early remembers an edit that came before an earlier one of its writer.
func (c *client) early(at id, index int, sent int64) {
	if _, again := c.late[at]; again {
		c.board.duplicated++
		return
	}
	if c.late == nil {
		c.late = make(map[id]struct{})
	}
	c.late[at] = struct{}{}
	c.board.deliver(sent, c.now, c.across(index))
}

func (c *client) catchUp(index int) {
	for len(c.late) > 0 {
		at := id{c.doc.base + uint64(index), c.next[index]}
		if _, ok := c.late[at]; !ok {
			return
		}
		delete(c.late, at)
		c.next[index]++
	}
}

// known is how many characters of each writer the client has without a gap.
func (c *client) known() []uint32 {
	known := slices.Clone(c.next)
	if c.index >= 0 {
		known[c.index] = uint32(len(c.doc.writers[c.index].sent))
	}
	return known
}

// missing is how many characters of other writers have not come.
func (c *client) missing() int64 {
	var n int64
	for i := range c.doc.writers {
		if i != c.index {
			n += int64(len(c.doc.writers[i].sent)) - int64(c.next[i])
		}
	}
	return n - int64(len(c.late))
}

// readAwareness counts the states that came in. A newer state stands for those it overtook.
func (c *client) readAwareness(body []byte) {
	if c.seen == nil {
		c.seen = make([]uint32, len(c.doc.writers))
	}
	r := reader{data: body}
	for n := r.uint(); n > 0 && !r.failed; n-- {
		index, clock := r.uint()-c.doc.base, uint32(r.uint())
		state := r.bytes()
		if r.failed || index >= uint64(len(c.doc.writers)) {
			c.board.wrong++
			return
		}
		states := c.doc.writers[index].states
		if int(index) == c.index || string(state) == "null" || clock <= c.seen[index] || int(clock) > len(states) {
			continue
		}
		for k := c.seen[index]; k < clock; k++ {
			c.board.deliver(states[k], c.now, c.across(int(index)))
		}
		c.seen[index] = clock
	}
}

// unseen is how many awareness states of others have neither come nor been overtaken.
func (c *client) unseen() int64 {
	var n int64
	for i := range c.doc.writers {
		if i != c.index {
			n += int64(len(c.doc.writers[i].states))
			if c.seen != nil {
				n -= int64(c.seen[i])
			}
		}
	}
	return n
}

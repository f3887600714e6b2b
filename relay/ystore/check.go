package ystore

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"
)

// Type references that carry a name.
const (
	typeXMLElement = 3
	typeXMLHook    = 5
	lastType       = 6
	typeWeakLink   = 7 // of Yrs; Yjs has none
)

// kindMove is a struct of Yrs; Yjs has none.
const kindMove = 11

// checker reads an update from strangers. After the first fault it reads zeros
// and empty strings, and keeps the fault.
type checker struct {
	b       []byte
	p       int
	nesting int
	err     error

	// A lenient one reads over what Yrs or too many levels wrote, and notes the first
	// of it in a struct.
	lenient bool
	noted   *UpdateError

	loose  bool // something was not written as we would: it has more bytes than it needs, or bits without meaning
	nested bool // a struct was read that may lie elsewhere than in the list of a root

	it *item // the struct that was read last, as decode would take it apart

	// What that hangs on of other clients.
	causes  [2]id
	ncauses int
}

func (c *checker) fail(at int, what string) { c.refuse(at, Malformed, what) }

func (c *checker) refuse(at int, cause Cause, what string) {
	if c.lenient && cause.partial() {
		if c.noted == nil {
			c.noted = &UpdateError{at, what, cause}
		}
		return
	}
	if c.err == nil {
		c.err = &UpdateError{at, what, cause}
	}
	c.p = len(c.b)
}

func (c *checker) byte() byte {
	if c.p >= len(c.b) {
		c.fail(c.p, "ends too early")
		return 0
	}
	c.p++
	return c.b[c.p-1]
}

func (c *checker) uvarint() uint64 {
	// Most take a byte, clocks two, ids of clients five. Seven bytes cannot exceed 2^53-1.
	p := c.p
	if p < len(c.b) && c.b[p] < 0x80 {
		c.p = p + 1
		return uint64(c.b[p])
	}
	if p+1 < len(c.b) && c.b[p+1] < 0x80 {
		c.p = p + 2
		if c.b[p+1] == 0 {
			c.loose = true
		}
		return uint64(c.b[p]&0x7f) | uint64(c.b[p+1])<<7
	}
	if len(c.b)-p >= 7 {
		b := c.b[p : p+7 : p+7]
		v := uint64(b[0]&0x7f) | uint64(b[1]&0x7f)<<7
		for i, shift := 2, 14; i < len(b); i, shift = i+1, shift+7 {
			v |= uint64(b[i]&0x7f) << (shift & 63) // it is less: this spares the test whether it is
			if b[i] < 0x80 {
				c.p = p + i + 1
				if b[i] == 0 {
					c.loose = true
				}
				return v
			}
		}
	}
	return c.uvarintFrom(p, 0, 0)
}

// uvarintFrom reads on in an integer that began at start, of which v is known.
func (c *checker) uvarintFrom(start int, v uint64, shift int) uint64 {
	for ; c.p < len(c.b); shift += 7 {
		x := uint64(c.b[c.p] & 0x7f)
		if x != 0 && (shift > 52 || x<<shift > maxClock) {
			c.fail(start, "integer above 2^53-1")
			return 0
		}
		v |= x << min(shift, 63)
		c.p++
		if c.b[c.p-1] < 0x80 {
			c.loose = c.loose || x == 0
			return v
		}
	}
	c.fail(len(c.b), "ends too early")
	return 0
}

func (c *checker) bytes() []byte {
	at := c.p
	n := c.uvarint()
	if n > uint64(len(c.b)-c.p) {
		c.fail(at, "length beyond the end")
		return nil
	}
	c.p += int(n)
	return c.b[c.p-int(n) : c.p]
}

func (c *checker) string() []byte {
	b := c.bytes()
	if !utf8.Valid(b) {
		c.fail(c.p-len(b), "invalid UTF-8")
		return nil
	}
	return b
}

// text is string that returns its UTF-16 units, too.
func (c *checker) text() ([]byte, uint64) {
	b := c.bytes()
	n, ok := validUTF16Len(b)
	if !ok {
		c.fail(c.p-len(b), "invalid UTF-8")
	}
	return b, n
}

func (c *checker) id() id {
	client := c.uvarint()
	return id{client, c.uvarint()}
}

// structAt checks the struct of the given client and clock and returns its kind
// and length.
func (c *checker) structAt(client, clock uint64) (kind byte, n uint64) {
	at, it := c.p, c.it
	info := c.byte()
	kind = info & kindBits
	c.ncauses = 0
	it.clock, it.info, it.kind, it.form = clock, info, kind, parentImplied
	switch {
	case c.err != nil:
		return
	case kind == kindMove:
		c.refuse(at, Move, "content of Yrs, which Yjs does not have")
		if c.err == nil {
			c.place(at, info, client, clock)
			c.move()
			n = 1
		}
	case kind > kindSkip:
		c.fail(at, "unknown kind of struct")
		return
	case kind == kindGC:
		c.nested, c.loose = true, c.loose || info != kindGC
		n = c.uvarint()
		it.info, it.content = kind, nil
	case kind == kindSkip:
		// Yjs's mergeUpdates takes a Skip with flags for an item and throws.
		if info != kindSkip {
			c.fail(at, "skip with flags")
		}
		n = c.uvarint()
		it.content = nil
	default:
		c.nested = c.nested || kind == kindType || info&hasSub != 0
		c.place(at, info, client, clock)
		n = c.content(kind)
	}
	if n > maxClock-clock && c.err == nil {
		c.fail(at, "clock above 2^53-1")
	}
	it.len = n
	return
}

// place checks an item's origins or parent.
func (c *checker) place(at int, info byte, client, clock uint64) {
	it := c.it
	if info&hasOrigin != 0 {
		it.origin = c.id()
		c.past(at, it.origin, client, clock, "origin is not in the past")
	}
	if info&hasRight != 0 {
		it.right = c.id()
		c.past(at, it.right, client, clock, "right origin is not in the past")
	}
	if info&(hasOrigin|hasRight) != 0 {
		it.root, it.sub = nil, nil
		return
	}
	if named := c.uvarint(); named == 1 {
		it.form, it.root = parentRoot, c.string()
	} else {
		c.nested, c.loose = true, c.loose || named != 0
		it.form, it.root, it.parent = parentItem, nil, c.id()
		c.past(at, it.parent, client, clock, "parent is not in the past")
	}
	if it.sub = nil; info&hasSub != 0 {
		// A type under that key becomes the prototype of what clients turn the map into:
		// Yjs 14 throws in toJSON. Values that follow it have their key from this one.
		if it.sub = c.string(); string(it.sub) == protoKey {
			c.refuse(at, Harmful, "key __proto__ of a map")
		}
	}
}

// past notes what an item of the given client and clock hangs on. One that names the item
// itself, or a later id of its client, makes Yjs throw in the middle of an update.
func (c *checker) past(at int, on id, client, clock uint64, what string) {
	if on.client != client {
		c.causes[c.ncauses] = on
		c.ncauses++
	} else if on.clock >= clock {
		c.fail(at, what)
	}
}

// protoKey is the property under which JavaScript keeps the prototype of an object.
const protoKey = "__proto__"

func (c *checker) content(kind byte) (n uint64) {
	at := c.p
	n = 1
	switch kind {
	case kindDeleted:
		if n = c.uvarint(); n == 0 {
			c.fail(at, "deleted item without length")
		}
		c.it.content = nil
		return n
	case kindString:
		c.it.content, n = c.text()
		return n
	case kindJSON:
		n = c.uvarint()
		at = c.p
		for i := uint64(0); i < n && c.err == nil; i++ {
			c.json(true)
		}
	case kindAny:
		n = c.uvarint()
		at = c.p
		for i := uint64(0); i < n && c.err == nil; i++ {
			c.any(c.nesting)
		}
	case kindBinary:
		c.bytes()
	case kindEmbed:
		c.json(false)
	case kindFormat:
		c.string()
		c.json(false)
	case kindType:
		switch ref := c.uvarint(); {
		case ref == typeXMLElement || ref == typeXMLHook:
			c.string()
		case ref == typeWeakLink:
			c.refuse(at, WeakLink, "content of Yrs, which Yjs does not have")
			c.weakLink()
		case ref > lastType:
			c.fail(at, "unknown type")
		}
	case kindDoc:
		c.string()
		c.options()
	}
	c.it.content = c.b[at:c.p]
	return n
}

// options checks those of a subdocument. Clients spread them over the guid that
// stands before them and over their defaults, and build a document of them.
func (c *checker) options() {
	at := c.p
	if tag := c.byte(); tag != anyObject {
		c.fail(at, "options of a subdocument are not an object")
	}
	n := c.uvarint()
	for i := uint64(0); i < n && c.err == nil; i++ {
		key := c.string()
		at := c.p
		if at == len(c.b) {
			c.fail(at, "ends too early")
			return
		}
		switch tag := c.b[at]; string(key) {
		case "guid":
			// Clients throw when they encode any other one, or each makes up its own.
			if tag != anyString {
				c.refuse(at, Harmful, "guid of a subdocument is not a string")
			}
		case "gcFilter":
			// A function, which the wire cannot carry: clients would call what stands here.
			if tag != anyUndefined {
				c.refuse(at, Harmful, "gcFilter of a subdocument is not a function")
			}
		case protoKey:
			if tag == anyBytes {
				c.refuse(at, Harmful, "bytes as the prototype of an object")
			}
		}
		c.any(c.nesting - 1)
	}
}

// Tags of lib0's "any" values.
const (
	anyUndefined = 127
	anyString    = 119
	anyObject    = 118
	anyBytes     = 116
)

// any checks a lib0 "any" value (lib0/decoding.js, readAny).
func (c *checker) any(depth int) {
	at := c.p
	if depth == 0 || depth == -lenientNesting {
		c.lenient = c.lenient && depth == 0 // this is read recursively: there is an end to it
		if c.tooDeep(at); c.err != nil {
			return
		}
	}
	switch tag := c.byte(); tag {
	case 127, 126, 121, 120:
	case 125:
		c.varint()
	case 124:
		c.skip(4)
	case 123, 122:
		c.skip(8)
	case 119:
		c.string()
	case 118:
		n := c.uvarint()
		for i := uint64(0); i < n && c.err == nil; i++ {
			c.member(depth - 1)
		}
	case 117:
		n := c.uvarint()
		for i := uint64(0); i < n && c.err == nil; i++ {
			c.any(depth - 1)
		}
	case 116:
		c.bytes()
	default:
		c.fail(at, "unknown kind of value")
	}
}

// member checks a key and a value of an object. Clients assign it: bytes under the
// name of the prototype make an object that they take for bytes and cannot encode.
func (c *checker) member(depth int) {
	key := c.string()
	if c.p < len(c.b) && c.b[c.p] == anyBytes && string(key) == protoKey {
		c.refuse(c.p, Harmful, "bytes as the prototype of an object")
	}
	c.any(depth)
}

// varint checks a signed integer: six bits in the first byte, then seven each.
func (c *checker) varint() {
	start := c.p
	if b := c.byte(); b >= 0x80 {
		c.uvarintFrom(start, uint64(b&0x3f), 6)
	}
}

func (c *checker) skip(n int) {
	if n > len(c.b)-c.p {
		c.fail(c.p, "ends too early")
		return
	}
	c.p += n
}

// json checks a string that clients give to JSON.parse. ContentJSON has the
// word undefined besides.
func (c *checker) json(orUndefined bool) {
	b := c.string()
	at := c.p - len(b)
	switch {
	case c.err != nil || orUndefined && string(b) == "undefined":
	case jsonDepth(b) > c.nesting:
		c.tooDeep(at)
	case !json.Valid(b):
		c.fail(at, "invalid JSON")
	}
}

func jsonDepth(b []byte) int {
	depth, deepest := 0, 0
	quoted := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
			deepest = max(deepest, depth)
		case c == ']' || c == '}':
			depth--
		}
	}
	return deepest
}

func (c *checker) tooDeep(at int) {
	c.refuse(at, TooDeep, fmt.Sprintf("value nested too deeply: more than %d levels", c.nesting))
}

// stateVector reads a state vector, highest client first.
func (c *checker) stateVector() []id {
	n := c.uvarint()
	var sv []id
	for i := uint64(0); i < n && c.err == nil; i++ {
		sv = append(sv, c.id())
	}
	if !slices.IsSortedFunc(sv, descending) {
		slices.SortStableFunc(sv, descending)
	}
	return sv
}

func descending(a, b id) int { return cmp.Compare(b.client, a.client) }

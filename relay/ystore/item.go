package ystore

import "bytes"

// id names one unit of content.
type id struct{ client, clock uint64 }

// How an item names its parent, when it has neither origin.
const (
	parentImplied = iota
	parentRoot
	parentItem
)

// item is one struct, taken apart. Its slices alias the bytes that it was
// decoded from.
type item struct {
	clock, len uint64
	kind       byte
	info       byte // the wire's info byte
	form       byte // one of parentImplied, parentRoot, parentItem
	kept       bool // see entry
	continues  bool
	lineage    lineage
	keyed      bool  // it lies under a key of its type
	on         [2]id // see hangs

	origin, right id
	parent        id     // form parentItem
	root          []byte // form parentRoot
	sub           []byte // with hasSub, when there is no origin

	// raw is the struct in the update that it comes with, where that is how we would write
	// it; nil once the item was changed.
	raw []byte

	// content of a String is its UTF-8, of Any and JSON the elements without
	// their count, of GC, Deleted and gaps nothing, of others the wire's bytes.
	content []byte
}

func (it *item) end() uint64 { return it.clock + it.len }

// deleted reports whether the item's ids are in the delete set.
func (it *item) deleted() bool { return it.kept || deleted(it.kind) }

// size is what the item takes on the wire, from above.
func (it *item) size() int { return len(it.content) + len(it.root) + len(it.sub) + 64 }

// forget lets go of the bytes that the item aliases.
func (it *item) forget() { it.root, it.sub, it.raw, it.content = nil, nil, nil, nil }

// decode reads the struct at b[p:], which must be well-formed, and returns the
// position behind it.
func (it *item) decode(b []byte, p int, clock uint64) int {
	p = it.decodeHead(b, p)
	it.clock, it.len, it.kept, it.continues, it.lineage, it.keyed = clock, 1, false, false, unresolved, false
	var n uint64
	switch start := p; it.kind {
	case kindGC, kindSkip, kindDeleted:
		it.len, p = uvarint(b, p)
		it.content = nil
	case kindString:
		n, p = uvarint(b, p)
		it.content = b[p : p+int(n)]
		it.len = utf16Len(it.content)
		p += int(n)
	case kindAny, kindJSON:
		it.len, p = uvarint(b, p)
		start = p
		for n = it.len; n > 0; n-- {
			p = skipElement(it.kind, b, p)
		}
		it.content = b[start:p]
	default:
		p = skipContent(it.kind, b, p)
		it.content = b[start:p]
	}
	return p
}

// decodeHead reads what stands before the content.
func (it *item) decodeHead(b []byte, p int) int {
	it.info = b[p]
	it.kind = it.info & kindBits
	it.form, it.root, it.sub = parentImplied, nil, nil
	p++
	if it.kind == kindGC || it.kind == kindSkip {
		it.info = it.kind
		return p
	}
	if it.info&hasOrigin != 0 {
		it.origin, p = readID(b, p)
	}
	if it.info&hasRight != 0 {
		it.right, p = readID(b, p)
	}
	if it.info&(hasOrigin|hasRight) != 0 {
		return p
	}
	var n uint64
	if n, p = uvarint(b, p); n == 1 {
		it.form = parentRoot
		n, p = uvarint(b, p)
		it.root = b[p : p+int(n)]
		p += int(n)
	} else {
		it.form = parentItem
		it.parent, p = readID(b, p)
	}
	if it.info&hasSub != 0 {
		n, p = uvarint(b, p)
		it.sub = b[p : p+int(n)]
		p += int(n)
	}
	return p
}

//go:noinline
func readID(b []byte, p int) (at id, _ int) {
	at.client, p = uvarint(b, p)
	at.clock, p = uvarint(b, p)
	return at, p
}

// hangs returns what the struct hangs on, which is valid until it changes.
func (it *item) hangs() []id {
	n := 0
	switch {
	case it.kind == kindGC:
		return nil
	case it.form == parentItem:
		it.on[0] = it.parent
		return it.on[:1]
	default:
		if it.info&hasOrigin != 0 {
			it.on[n] = it.origin
			n++
		}
		if it.info&hasRight != 0 {
			it.on[n] = it.right
			n++
		}
		return it.on[:n]
	}
}

// skipHead returns the position behind what stands before the content.
func skipHead(b []byte, p int) int {
	info := b[p]
	p++
	if info&hasOrigin != 0 {
		p = skipUvarint(b, skipUvarint(b, p))
	}
	if info&hasRight != 0 {
		p = skipUvarint(b, skipUvarint(b, p))
	}
	if info&(hasOrigin|hasRight) != 0 {
		return p
	}
	var n uint64
	if n, p = uvarint(b, p); n == 1 {
		p = skipString(b, p)
	} else {
		p = skipUvarint(b, skipUvarint(b, p))
	}
	if info&hasSub != 0 {
		p = skipString(b, p)
	}
	return p
}

func skipElement(kind byte, b []byte, p int) int {
	if kind == kindAny {
		return skipAny(b, p)
	}
	return skipString(b, p)
}

func skipContent(kind byte, b []byte, p int) int {
	switch kind {
	case kindFormat:
		return skipString(b, skipString(b, p))
	case kindType:
		ref, q := uvarint(b, p)
		if ref == typeXMLElement || ref == typeXMLHook {
			return skipString(b, q)
		}
		return q
	case kindDoc:
		return skipAny(b, skipString(b, p))
	default: // Binary, Embed
		return skipString(b, p)
	}
}

// append appends the struct's canonical wire form. Gaps have none: they are
// written where their length is known, between structs.
func (it *item) append(b []byte) []byte {
	if it.raw != nil {
		return append(b, it.raw...)
	}
	switch it.kind {
	case kindSkip, kindGone:
		return b
	case kindGC:
		return appendUvarint(append(b, kindGC), it.len)
	}
	b = it.appendHead(b)
	switch it.kind {
	case kindDeleted:
		return appendUvarint(b, it.len)
	case kindString:
		return appendString(b, it.content)
	case kindAny, kindJSON:
		b = appendUvarint(b, it.len)
	}
	return append(b, it.content...)
}

func (it *item) appendHead(b []byte) []byte {
	b = append(b, it.info)
	if it.info&hasOrigin != 0 {
		b = appendID(b, it.origin)
	}
	if it.info&hasRight != 0 {
		b = appendID(b, it.right)
	}
	switch it.form {
	case parentRoot:
		b = appendString(append(b, 1), it.root)
	case parentItem:
		b = appendID(append(b, 0), it.parent)
	default:
		return b
	}
	if it.info&hasSub != 0 {
		b = appendString(b, it.sub)
	}
	return b
}

// appendID, appendString and readID are not inlined: what an edit goes through nearly fills
// the processor's cache of instructions.
//
//go:noinline
func appendID(b []byte, at id) []byte {
	return appendUvarint(appendUvarint(b, at.client), at.clock)
}

//go:noinline
func appendString(b, s []byte) []byte {
	return append(appendUvarint(b, uint64(len(s))), s...)
}

var replacement = []byte("\uFFFD")

// trimFront takes the first n ids off: what is left hangs on the id before it,
// as Yjs does when it splits an item. A surrogate pair that is cut leaves
// U+FFFD on both sides, also as in Yjs.
func (it *item) trimFront(client, n uint64) {
	it.raw = nil
	it.content = it.contentFrom(n)
	it.clock += n
	it.len -= n
	if it.kind == kindGC || !known(it.kind) {
		return
	}
	it.info |= hasOrigin
	it.origin = id{client, it.clock - 1}
	it.form = parentImplied
}

// skipTo takes the ids before at off.
func (it *item) skipTo(client, at uint64) {
	if at > it.clock {
		it.trimFront(client, at-it.clock)
	}
}

func (it *item) contentFrom(n uint64) []byte {
	switch it.kind {
	case kindString:
		off, inPair := utf16Offset(it.content, n)
		if inPair {
			return bytes.Join([][]byte{replacement, it.content[off+4:]}, nil)
		}
		return it.content[off:]
	case kindAny, kindJSON:
		return it.content[it.elementOffset(n):]
	}
	return it.content
}

// trimEnd keeps the first n ids.
func (it *item) trimEnd(n uint64) {
	it.raw, it.len = nil, n
	switch it.kind {
	case kindString:
		off, inPair := utf16Offset(it.content, n)
		if inPair {
			it.content = bytes.Join([][]byte{it.content[:off], replacement}, nil)
			return
		}
		it.content = it.content[:off]
	case kindAny, kindJSON:
		it.content = it.content[:it.elementOffset(n)]
	}
}

func (it *item) elementOffset(n uint64) int {
	p := 0
	for ; n > 0; n-- {
		p = skipElement(it.kind, it.content, p)
	}
	return p
}

// strip turns the item into its tombstone. dead says that its parent type is
// gone as well: only then may the tombstone lose its place and become GC.
func (it *item) strip(dead bool) {
	switch it.kind {
	case kindGC, kindGone:
		return
	case kindDeleted:
		if !dead {
			return
		}
	case kindSkip:
		it.kind = kindGone
		return
	}
	if dead {
		it.kind, it.info, it.form, it.lineage, it.keyed = kindGC, kindGC, parentImplied, collected, false
	} else {
		it.kind = kindDeleted
		it.info = it.info&^kindBits | kindDeleted
	}
	it.content, it.raw = nil, nil
}

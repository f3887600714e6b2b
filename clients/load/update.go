package load

import (
	"errors"
	"fmt"
)

// What a struct of a Yjs update holds, as far as documents of single characters go.
type content byte

const (
	text    content = iota // visible characters, ASCII
	deleted                // an item whose content is gone
	gc                     // a range that even lost its place
)

// An id names one character of a document: the Yjs client that wrote it, and that client's clock.
type id struct {
	client uint64
	clock  uint32
}

// A run is a struct of an update: consecutive clocks of one client.
type run struct {
	id
	length      uint32
	content     content
	text        []byte // lent; only of text
	origin      *id    // nil: the document's beginning
	rightOrigin *id    // nil: its end
}

// errForeign is returned for updates that hold what no client of a load run writes.
var errForeign = errors.New("content that nobody wrote")

var errTruncated = errors.New("truncated update")

// A reader takes lib0's encoding apart. After a failure everything reads as zero.
type reader struct {
	data   []byte
	failed bool
}

func (r *reader) byte() byte {
	if len(r.data) == 0 {
		r.failed = true
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

func (r *reader) uint() uint64 {
	var v uint64
	for i, b := range r.data {
		if i == 9 {
			break
		}
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			r.data = r.data[i+1:]
			return v
		}
	}
	r.failed, r.data = true, nil
	return 0
}

// bytes reads a length and that many bytes, which alias the input.
func (r *reader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.data)) {
		r.failed, r.data = true, nil
		return nil
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) id() id { return id{r.uint(), uint32(r.uint())} }

// A visitor is shown the structs and deletions of an update.
type visitor interface {
	visitRun(*run) // lent
	visitDeletion(client uint64, clock, length uint32)
}

// readUpdate walks through a V1 update. Only text, deletions, GC and Skip may be in it.
func readUpdate(update []byte, v visitor) error {
	r := reader{data: update}
	var one run
	var origin, rightOrigin id
	for clients := r.uint(); clients > 0 && !r.failed; clients-- {
		structs := r.uint()
		client, clock := r.uint(), uint32(r.uint())
		for ; structs > 0 && !r.failed; structs-- {
			info := r.byte()
			one = run{id: id{client, clock}}
			switch ref := info & 0x1f; ref {
			case 10: // Skip
				clock += uint32(r.uint())
				continue
			case 0:
				one.content, one.length = gc, uint32(r.uint())
			case 1, 4:
				if info&0x80 != 0 {
					origin = r.id()
					one.origin = &origin
				}
				if info&0x40 != 0 {
					rightOrigin = r.id()
					one.rightOrigin = &rightOrigin
				}
				if info&0xc0 == 0 {
					if r.uint() == 1 {
						r.bytes()
					} else {
						r.id()
					}
				}
				if ref == 1 {
					one.content, one.length = deleted, uint32(r.uint())
				} else {
					one.text = r.bytes()
					one.length = uint32(len(one.text))
				}
			default:
				return fmt.Errorf("%w: content %d", errForeign, ref)
			}
			if one.length == 0 && !r.failed {
				return errors.New("a struct of no length")
			}
			if !r.failed {
				v.visitRun(&one)
			}
			clock += one.length
		}
	}
	for clients := r.uint(); clients > 0 && !r.failed; clients-- {
		client := r.uint()
		for ranges := r.uint(); ranges > 0 && !r.failed; ranges-- {
			clock := uint32(r.uint())
			v.visitDeletion(client, clock, uint32(r.uint()))
		}
	}
	if r.failed {
		return errTruncated
	}
	if len(r.data) > 0 {
		return fmt.Errorf("%d bytes behind the update", len(r.data))
	}
	return nil
}

func appendUint(to []byte, v uint64) []byte {
	for v >= 0x80 {
		to = append(to, byte(v)|0x80)
		v >>= 7
	}
	return append(to, byte(v))
}

func appendID(to []byte, i id) []byte { return appendUint(appendUint(to, i.client), uint64(i.clock)) }

func appendBytes(to, b []byte) []byte { return append(appendUint(to, uint64(len(b))), b...) }

// rootName is the shared text that all documents of a load run consist of.
const rootName = "t"

// appendText appends a text struct, without its id.
func appendText(to []byte, origin, rightOrigin *id, text []byte) []byte {
	info := byte(4)
	if origin != nil {
		info |= 0x80
	}
	if rightOrigin != nil {
		info |= 0x40
	}
	to = append(to, info)
	if origin != nil {
		to = appendID(to, *origin)
	}
	if rightOrigin != nil {
		to = appendID(to, *rightOrigin)
	}
	if info&0xc0 == 0 {
		to = append(to, 1, byte(len(rootName)))
		to = append(to, rootName...)
	}
	return appendBytes(to, text)
}

// appendInsert appends a whole update that inserts text at one place.
func appendInsert(to []byte, at id, origin, rightOrigin *id, text []byte) []byte {
	to = append(to, 1, 1)
	to = appendID(to, at)
	to = appendText(to, origin, rightOrigin, text)
	return append(to, 0)
}

// appendDelete appends a whole update that deletes a range of characters of one client.
func appendDelete(to []byte, at id, length uint32) []byte {
	to = append(to, 0, 1)
	to = appendUint(to, at.client)
	to = append(to, 1)
	to = appendUint(to, uint64(at.clock))
	return appendUint(to, uint64(length))
}

// emptyUpdate holds nothing.
var emptyUpdate = []byte{0, 0}

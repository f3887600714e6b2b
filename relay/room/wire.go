package room

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/wsnode/wsnode/relay/awareness"
)

// Messages between the rooms of a document on different pods. Each begins with
// the format's version and its kind, then the publishing room's id:
//
//	version uint8, kind uint8, room uint64 (little endian), then by kind
//	updates, snapshot:  counter uvarint, Yjs update
//	part:               counter uvarint, first counter of the group uvarint, index uvarint, count uvarint, kind uint8, bytes
//	hello, beacon:      epoch uint64, pod subject, counter uvarint, delete-set digest uint64, state vector
//	answer:             room addressed uint64, then as hello
//	want:               room addressed uint64, pod subject, state vector
//	difference:         room addressed uint64, Yjs update
//	difference part:    room addressed uint64, group uint64, index uvarint, count uvarint, bytes
//	states:             room addressed or epoch uint64, awareness update
//	bye, recall:        epoch uint64
//	who:                0 uint64
//	ask:                room addressed uint64, pod subject, question uvarint
//	saved:              room addressed uint64, question uvarint
//
// An epoch stands as the FNV-1a hash of its name: signals of another life of the
// document are not for this one.
//
// Pod subjects are preceded by their length; what stands last has none.
const (
	wireVersion    = 1
	oldestReadable = 1
)

// Protocol is the version of the messages between the rooms of a document.
const Protocol = wireVersion

type kind uint8

const (
	kindUpdates kind = iota + 1
	kindSnapshot
	kindPart
	kindHello
	kindBeacon
	kindAnswer
	kindWant
	kindDifference
	kindDifferencePart
	kindStates
	kindBye
	kindRecall
	kindWho
	kindAsk
	kindSaved
)

// headerSize is the length of version, kind and room id.
const headerSize = 1 + 1 + 8

// maxHead bounds what stands before the payload of an update or one of its
// parts: the header, up to four uvarints, two ids and a kind.
const maxHead = headerSize + 4*binary.MaxVarintLen64 + 2*8 + 1

// VersionError says that another pod speaks a format that this one does not
// know, which happens when pods more than one version apart share a region.
type VersionError struct{ Version uint8 }

func (e *VersionError) Error() string {
	return fmt.Sprintf("message between pods has format version %d, this pod reads %d to %d: upgrade one version at a time",
		e.Version, oldestReadable, wireVersion)
}

var errWire = errors.New("malformed message between pods")

func appendHeader(dst []byte, k kind, id ID) []byte {
	return binary.LittleEndian.AppendUint64(append(dst, wireVersion, byte(k)), uint64(id))
}

func readHeader(b []byte) (k kind, id ID, rest []byte, err error) {
	if len(b) < headerSize {
		return 0, 0, nil, errWire
	}
	if b[0] < oldestReadable || b[0] > wireVersion {
		return 0, 0, nil, &VersionError{Version: b[0]}
	}
	return kind(b[1]), ID(binary.LittleEndian.Uint64(b[2:])), b[headerSize:], nil
}

// reader takes a message apart; the first failure sticks.
type reader struct {
	b   []byte
	err error
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.err = errWire
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) uint64() uint64 {
	if len(r.b) < 8 {
		r.err = errWire
		return 0
	}
	v := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

func (r *reader) byte() byte {
	if len(r.b) < 1 {
		r.err = errWire
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) string() string {
	n := r.uvarint()
	if r.err != nil || n > uint64(len(r.b)) {
		r.err = errWire
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

// logMessage is what the history stream captures: updates, a snapshot, or a
// part of either.
type logMessage struct {
	room    ID
	counter uint64
	kind    kind
	part    part   // for kindPart
	body    []byte // aliases the message
}

// part places a piece in its group. A group is named by its room and the
// counter of its first piece.
type part struct {
	first        uint64
	index, count int
	kind         kind // of the whole
}

// maxParts bounds a group, so that a hostile count allocates nothing.
const maxParts = 1 << 16

func appendLog(dst []byte, id ID, k kind, counter uint64, body []byte) []byte {
	dst = appendHeader(dst, k, id)
	dst = binary.AppendUvarint(dst, counter)
	return append(dst, body...)
}

func appendPart(dst []byte, id ID, counter uint64, p part, body []byte) []byte {
	dst = appendHeader(dst, kindPart, id)
	for _, v := range [...]uint64{counter, p.first, uint64(p.index), uint64(p.count)} {
		dst = binary.AppendUvarint(dst, v)
	}
	return append(append(dst, byte(p.kind)), body...)
}

func readLog(b []byte) (m logMessage, err error) {
	m.kind, m.room, b, err = readHeader(b)
	if err != nil {
		return m, err
	}
	r := reader{b: b}
	m.counter = r.uvarint()
	switch m.kind {
	case kindUpdates, kindSnapshot:
	case kindPart:
		m.part.first = r.uvarint()
		index, count := r.uvarint(), r.uvarint()
		m.part.kind = kind(r.byte())
		if count > maxParts || index >= count || m.part.kind != kindUpdates && m.part.kind != kindSnapshot {
			return m, errWire
		}
		m.part.index, m.part.count = int(index), int(count)
	default:
		return m, errWire
	}
	m.body = r.b
	return m, r.err
}

// digest tells what a room knows: two rooms with equal digests know the same.
type digest struct {
	pod         string // where the room's pod takes messages
	counter     uint64 // of the room's latest log message
	deletions   uint64
	stateVector []byte
}

func appendDigest(dst []byte, d digest) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(d.pod)))
	dst = append(dst, d.pod...)
	dst = binary.AppendUvarint(dst, d.counter)
	dst = binary.LittleEndian.AppendUint64(dst, d.deletions)
	return append(dst, d.stateVector...)
}

func readDigest(r *reader) digest {
	d := digest{pod: r.string(), counter: r.uvarint(), deletions: r.uint64()}
	d.stateVector = r.b
	return d
}

// appendTo begins a message that is not for the log: for one room on another pod,
// or, on the document's signals, for all rooms of an epoch.
func appendTo(dst []byte, k kind, from ID, to uint64) []byte {
	return binary.LittleEndian.AppendUint64(appendHeader(dst, k, from), to)
}

func epochTag(epoch string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(epoch))
	return h.Sum64()
}

func appendWant(dst []byte, from, to ID, pod string, stateVector []byte) []byte {
	dst = appendTo(dst, kindWant, from, uint64(to))
	dst = binary.AppendUvarint(dst, uint64(len(pod)))
	dst = append(dst, pod...)
	return append(dst, stateVector...)
}

func appendStates(dst []byte, from ID, to uint64, entries []awareness.Entry) []byte {
	return awareness.Append(appendTo(dst, kindStates, from, to), entries)
}

// group collects the parts of one message.
type group struct {
	parts   [][]byte
	missing int
	bytes   int
}

// add takes a part, which it keeps, and returns the whole once it is complete.
func (g *group) add(p part, body []byte) []byte {
	if g.parts == nil {
		g.parts, g.missing = make([][]byte, p.count), p.count
	}
	if p.count != len(g.parts) || g.parts[p.index] != nil {
		return nil
	}
	g.parts[p.index] = append([]byte{}, body...)
	g.bytes += len(body)
	if g.missing--; g.missing > 0 {
		return nil
	}
	whole := make([]byte, 0, g.bytes)
	for _, b := range g.parts {
		whole = append(whole, b...)
	}
	return whole
}

// split cuts a body into pieces of at most size bytes and calls each in order.
func split(body []byte, size int, each func(index, count int, piece []byte)) {
	count := max(1, (len(body)+size-1)/size)
	for i := range count {
		each(i, count, body[i*size:min((i+1)*size, len(body))])
	}
}

// appendAsk appends the question whether everything that a room's own clients wrote
// is durable, which that room answers once it is.
func appendAsk(dst []byte, id, to ID, pod string, question uint64) []byte {
	dst = binary.AppendUvarint(appendTo(dst, kindAsk, id, uint64(to)), uint64(len(pod)))
	return binary.AppendUvarint(append(dst, pod...), question)
}

func appendSaved(dst []byte, id, to ID, question uint64) []byte {
	return binary.AppendUvarint(appendTo(dst, kindSaved, id, uint64(to)), question)
}

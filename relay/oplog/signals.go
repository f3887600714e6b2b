package oplog

import (
	"encoding/binary"

	"github.com/wsnode/wsnode/relay/awareness"
)

// AppendTo begins a message that is not for the log: for one room on another pod,
// or, on the document's signals, for all rooms of an epoch.
func AppendTo(dst []byte, k Kind, from ID, to uint64) []byte {
	return binary.LittleEndian.AppendUint64(appendHeader(dst, k, from), to)
}

// Question is the question, on a document's signals, who has it open. ReadWho reads
// the answer, which AppendWho makes.
func Question() []byte { return AppendTo(nil, Who, NoRoom, 0) }

// AppendWho answers Question with the epoch in which a room has the document open.
func AppendWho(dst []byte, epoch string) []byte {
	return append(append(dst, Version), epoch...)
}

// ReadWho reads a room's answer to Question: the epoch in which the document is live
// in this region.
func ReadWho(answer []byte) (epoch string, ok bool) {
	if len(answer) < 2 || answer[0] < oldestReadable || answer[0] > Version {
		return "", false
	}
	return string(answer[1:]), true
}

// Digest tells what a room knows: two rooms with equal digests know the same.
type Digest struct {
	Pod         string // where the room's pod takes messages
	Counter     uint64 // of the room's latest log message
	Deletions   uint64
	Pending     uint64 // of structs behind gaps; 0: none, or of a version that does not say
	StateVector []byte
}

// AppendDigest appends a digest to what AppendTo began.
func AppendDigest(dst []byte, d Digest) []byte {
	dst = appendString(dst, d.Pod)
	dst = binary.AppendUvarint(dst, d.Counter)
	dst = binary.LittleEndian.AppendUint64(dst, d.Deletions)
	dst = append(dst, d.StateVector...)
	if d.Pending != 0 { // versions before read no further than the state vector
		dst = binary.LittleEndian.AppendUint64(dst, d.Pending)
	}
	return dst
}

// ReadDigest takes a digest, which is all the rest. Its state vector aliases it; whether it
// makes sense is for who reads that.
func ReadDigest(r *Reader) Digest {
	d := Digest{Pod: r.String(), Counter: r.Uvarint(), Deletions: r.Uint64()}
	d.StateVector = r.Rest
	behind := Reader{Rest: r.Rest}
	for n := behind.Uvarint(); n > 0 && behind.Err == nil; n-- {
		behind.Uvarint()
		behind.Uvarint()
	}
	if behind.Err == nil && len(behind.Rest) == 8 {
		d.StateVector = r.Rest[:len(r.Rest)-8]
		d.Pending = behind.Uint64()
	}
	return d
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// AppendWant appends the question for what a state vector lacks.
func AppendWant(dst []byte, from, to ID, pod string, stateVector []byte) []byte {
	return append(appendString(AppendTo(dst, Want, from, uint64(to)), pod), stateVector...)
}

// AppendStates appends awareness states, and whose they are.
func AppendStates(dst []byte, from ID, to uint64, entries []awareness.Entry) []byte {
	return awareness.AppendAll(AppendTo(dst, States, from, to), entries)
}

// AppendStateless appends a text that clients of the document are told.
func AppendStateless(dst []byte, from ID, to uint64, text []byte) []byte {
	return append(AppendTo(dst, Stateless, from, to), text...)
}

// AppendAsk appends the question whether everything that a room's own clients wrote
// is durable, which that room answers once it is.
func AppendAsk(dst []byte, id, to ID, pod string, question uint64) []byte {
	return binary.AppendUvarint(appendString(AppendTo(dst, Ask, id, uint64(to)), pod), question)
}

// AppendSaved appends the answer to an Ask.
func AppendSaved(dst []byte, id, to ID, question uint64) []byte {
	return binary.AppendUvarint(AppendTo(dst, Saved, id, uint64(to)), question)
}

// AppendDifferencePart appends a piece of a difference that NATS does not take at once.
func AppendDifferencePart(dst []byte, id, to ID, group uint64, index, count int, piece []byte) []byte {
	dst = AppendTo(dst, DifferencePart, id, uint64(to))
	dst = binary.LittleEndian.AppendUint64(dst, group)
	dst = binary.AppendUvarint(dst, uint64(index))
	dst = binary.AppendUvarint(dst, uint64(count))
	return append(dst, piece...)
}

// ReadDifferencePart takes the place of a piece, which is the rest. The group is named
// by From and First.
func ReadDifferencePart(r *Reader) (p Part) {
	p.First = r.Uint64()
	index, count := r.Uvarint(), r.Uvarint()
	if r.Err == nil && (count > maxParts || index >= count) {
		r.Err = ErrMalformed
	}
	p.Index, p.Count = int(index), int(count)
	return p
}

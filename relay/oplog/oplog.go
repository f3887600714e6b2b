// Package oplog is what the messages mean that the pods of a region exchange about a
// document, on the bus and in the history: versions, kinds, and messages in parts. It
// knows the bytes and no room, so that a history can be read without one: see Load.
package oplog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
)

// Messages between the rooms of a document on different pods. Each begins with
// the format's version and its kind, then the publishing room's id:
//
//	version uint8, kind uint8, room uint64 (little endian), then by kind
//	updates, snapshot:  counter uvarint, Yjs update; a snapshot of a stored life has its base before the update
//	seed:               counter uvarint, base
//	stored:             counter uvarint, sequence uvarint, flags uint8, base
//	base:               store, generation uint64, version, flags uint8 (2: deleted content is kept), state vector
//	part:               counter uvarint, first counter of the group uvarint, index uvarint, count uvarint, kind uint8, bytes
//	hello, beacon:      epoch uint64, pod subject, counter uvarint, delete-set digest uint64, state vector
//	answer:             room addressed uint64, then as hello
//	want:               room addressed uint64, pod subject, state vector
//	difference:         room addressed uint64, Yjs update
//	difference part:    room addressed uint64, group uint64, index uvarint, count uvarint, bytes
//	states:             room addressed or epoch uint64, awareness update
//	bye, reannounce:        epoch uint64
//	who:                0 uint64
//	ask:                room addressed uint64, pod subject, question uvarint
//	saved:              room addressed uint64, question uvarint
//	stateless:          epoch uint64, text
//
// An epoch stands as the FNV-1a hash of its name: signals of another life of the
// document are not for this one.
//
// Strings and pod subjects are preceded by their length; what stands last has none.
//
// The history of a stored life has version 2, everything else version 1: a pod that
// knows nothing of stores must not take such a history for the whole document.
const (
	// Version is the latest version of messages that this pod reads and writes.
	Version        = 2
	oldestReadable = 1
)

// Format is the version in which a history is written.
type Format uint8

// The formats.
const (
	Plain Format = 1 // of lives that end with their last user
	Kept  Format = 2 // of stored lives
)

// ID names one opening of a document on one pod. It is drawn at random, so that
// a room's counter never continues another's.
type ID uint64

// NoRoom stands for the room in what no room has written: the marker of a life that has
// ended, which has no counter either, and the question who has a document open.
const NoRoom ID = 0

// Kind is what a message is.
type Kind uint8

// The kinds. The history holds the first three, that of a stored life Seed and Stored,
// too; the others go over the bus only.
const (
	Updates Kind = iota + 1
	Snapshot
	Partial
	Hello
	Beacon
	Answer
	Want
	Difference
	DifferencePart
	States
	Bye
	Reannounce
	Who
	Ask
	Saved
	Seed
	Stored
	Stateless
)

// headerSize is the length of version, kind and room id.
const headerSize = 1 + 1 + 8

// MaxHead bounds what stands before the payload of an update or one of its
// parts: the header, up to four uvarints, two ids and a kind.
const MaxHead = headerSize + 4*binary.MaxVarintLen64 + 2*8 + 1

// VersionError says that another pod speaks a format that this one does not
// know, which happens when pods more than one version apart share a region.
type VersionError struct{ Version uint8 }

func (e *VersionError) Error() string {
	return fmt.Sprintf("message between pods has format version %d, this pod reads %d to %d: upgrade one version at a time",
		e.Version, oldestReadable, Version)
}

// KindError says that a history holds what this pod does not know. It must not be passed
// over: what is written without it would take it away.
type KindError struct{ Kind Kind }

func (e *KindError) Error() string {
	return fmt.Sprintf("the history holds a message of kind %d, which this pod does not know: upgrade it", e.Kind)
}

// ErrMalformed is returned for bytes that are no message.
var ErrMalformed = errors.New("malformed message between pods")

func appendHeader(dst []byte, k Kind, id ID) []byte { return Plain.header(dst, k, id) }

func (f Format) header(dst []byte, k Kind, id ID) []byte {
	return binary.LittleEndian.AppendUint64(append(dst, byte(f), byte(k)), uint64(id))
}

// ReadHeader takes the header off a message. Errors are *VersionError or
// ErrMalformed.
func ReadHeader(b []byte) (k Kind, id ID, rest []byte, err error) {
	if len(b) < headerSize {
		return 0, 0, nil, ErrMalformed
	}
	if b[0] < oldestReadable || b[0] > Version {
		return 0, 0, nil, &VersionError{Version: b[0]}
	}
	return Kind(b[1]), ID(binary.LittleEndian.Uint64(b[2:])), b[headerSize:], nil
}

// EpochTag stands for an epoch in signals.
func EpochTag(epoch string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(epoch))
	return h.Sum64()
}

// Reader takes a message apart; the first failure sticks, in Err. Rest is what has
// not been taken yet.
type Reader struct {
	Rest []byte
	Err  error
}

// Uvarint takes a number.
func (r *Reader) Uvarint() uint64 {
	v, n := binary.Uvarint(r.Rest)
	if n <= 0 {
		r.Err = ErrMalformed
		return 0
	}
	r.Rest = r.Rest[n:]
	return v
}

// Uint64 takes a number of fixed length.
func (r *Reader) Uint64() uint64 {
	if len(r.Rest) < 8 {
		r.Err = ErrMalformed
		return 0
	}
	v := binary.LittleEndian.Uint64(r.Rest)
	r.Rest = r.Rest[8:]
	return v
}

func (r *Reader) byte() byte {
	if len(r.Rest) < 1 {
		r.Err = ErrMalformed
		return 0
	}
	v := r.Rest[0]
	r.Rest = r.Rest[1:]
	return v
}

// String takes a string.
func (r *Reader) String() string {
	n := r.Uvarint()
	if r.Err != nil || n > uint64(len(r.Rest)) {
		r.Err = ErrMalformed
		return ""
	}
	s := string(r.Rest[:n])
	r.Rest = r.Rest[n:]
	return s
}

// Package awareness keeps who is in a document: the awareness states of its
// clients, with their clocks, owners and tombstones. The encoding is that of
// y-protocols (https://github.com/yjs/y-protocols/blob/master/awareness.js).
package awareness

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
)

// Bounds on what clients may send; an entry beyond them is dropped.
const (
	MaxStateBytes = 64 << 10 // bytes of JSON in one state
	MaxClients    = 64       // clients that one session may introduce
	MaxEntries    = 16384    // entries of one update: clients pass on what they hear
	MaxClockLead  = 1 << 20  // how far a clock may run ahead: a clock of 2^53-1 would jam its owner
)

// maxInt is the largest integer that JavaScript holds.
const maxInt = 1<<53 - 1

// ErrMalformed is returned for bytes that are not an awareness update.
var ErrMalformed = errors.New("malformed awareness update")

// Entry is the state of one client at one clock. State is the client's JSON, and
// nil once the client has left.
type Entry struct {
	Client uint64
	Clock  uint64
	State  []byte
}

// Decode reads an awareness update of a client. The states of its entries alias the
// update. Entries whose state is not JSON or exceeds MaxStateBytes, and those beyond
// MaxEntries, are dropped; a truncated update is refused as a whole.
func Decode(update []byte) ([]Entry, error) { return decode(update, MaxEntries) }

// DecodeAll is Decode for what another pod sends, which has taken it: it may be about
// any number of clients.
func DecodeAll(update []byte) ([]Entry, error) { return decode(update, math.MaxInt) }

// firstEntries bounds what is allocated for entries that are only announced: an entry
// takes a dozen times as much memory as it needs at least on the wire.
const firstEntries = 64

func decode(update []byte, most int) ([]Entry, error) {
	n, rest, err := uvarint(update)
	if err != nil {
		return nil, err
	}
	if n > uint64(len(rest))/3 { // an entry takes at least three bytes
		return nil, ErrMalformed
	}
	entries := make([]Entry, 0, min(n, firstEntries))
	for range n {
		var e Entry
		var size uint64
		if e.Client, rest, err = uvarint(rest); err != nil {
			return nil, err
		}
		if e.Clock, rest, err = uvarint(rest); err != nil {
			return nil, err
		}
		if size, rest, err = uvarint(rest); err != nil {
			return nil, err
		}
		if size > uint64(len(rest)) {
			return nil, ErrMalformed
		}
		e.State, rest = rest[:size:size], rest[size:]
		if len(entries) >= most || len(e.State) > MaxStateBytes || !json.Valid(e.State) {
			continue
		}
		if string(e.State) == "null" {
			e.State = nil
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Append appends the encoding of the entries as an awareness update.
func Append(dst []byte, entries []Entry) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(entries)))
	for _, e := range entries {
		state := e.State
		if state == nil {
			state = null
		}
		dst = binary.AppendUvarint(dst, e.Client)
		dst = binary.AppendUvarint(dst, e.Clock)
		dst = binary.AppendUvarint(dst, uint64(len(state)))
		dst = append(dst, state...)
	}
	return dst
}

var null = []byte("null")

func uvarint(b []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v > maxInt {
		return 0, nil, ErrMalformed
	}
	return v, b[n:], nil
}

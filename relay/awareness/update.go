// Package awareness keeps who is in a document: the awareness states of its
// clients, with their clocks, owners and tombstones. The encoding is that of
// y-protocols (https://github.com/yjs/y-protocols/blob/master/awareness.js).
package awareness

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"

	"github.com/wsnode/wsnode/relay/wire"
)

// Bounds on what clients may send; an entry beyond them is dropped.
const (
	MaxStateBytes = 64 << 10 // bytes of JSON in one state
	MaxClients    = 64       // clients that one session may have at a time
	MaxEntries    = 16384    // entries of one update: clients pass on what they hear
	MaxClockLead  = 1 << 20  // how far a clock may run ahead of the one known: a clock of 2^53-1 would jam its owner
	MaxFirstClock = 1 << 52  // of a client that is not known: a tab that stays open raises its clock for weeks
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
	User   uint64 // whose session introduced it, between pods; see Session.User
}

// Drops counts entries of clients that were dropped, by why.
type Drops struct {
	Large   int // over MaxStateBytes
	Invalid int // not JSON
	Many    int // beyond MaxEntries, MaxClients or Set.Most
	Ahead   int // clocks beyond MaxClockLead or MaxFirstClock
	Foreign int // about a client that another user's session holds
}

// Decode reads an awareness update of a client. The states of its entries alias the
// update. Entries whose state is not JSON or exceeds MaxStateBytes, and those beyond
// MaxEntries, are dropped and counted; a truncated update is refused as a whole.
func Decode(update []byte, drops *Drops) ([]Entry, error) { return DecodeInto(nil, update, drops) }

// DecodeInto is Decode into entries that are not wanted any more, which are overwritten.
func DecodeInto(used []Entry, update []byte, drops *Drops) ([]Entry, error) {
	entries, _, err := decode(used, update, MaxEntries, drops)
	return entries, err
}

// DecodeAll reads what AppendAll has written on another pod, which has judged it: it may
// be about any number of clients. Pods of the version before do not say whose they are.
func DecodeAll(update []byte) ([]Entry, error) {
	var drops Drops
	entries, users, err := decode(nil, update, math.MaxInt, &drops)
	if err == nil && drops == (Drops{}) && len(users) == 8*len(entries) {
		for i := range entries {
			entries[i].User = binary.LittleEndian.Uint64(users[8*i:])
		}
	}
	return entries, err
}

// firstEntries bounds what is allocated for entries that are only announced: an entry
// takes a dozen times as much memory as it needs at least on the wire.
const firstEntries = 64

func decode(used []Entry, update []byte, most int, drops *Drops) (entries []Entry, rest []byte, err error) {
	n, rest, err := wire.Uvarint(update)
	if err != nil || n > uint64(len(rest))/3 { // an entry takes at least three bytes
		return nil, nil, ErrMalformed
	}
	if entries = used[:0]; entries == nil {
		entries = make([]Entry, 0, min(n, firstEntries))
	}
	for range n {
		var e Entry
		if e, rest, err = readEntry(rest); err != nil {
			return nil, nil, err
		}
		switch {
		case len(entries) >= most:
			drops.Many++
			continue
		case len(e.State) > MaxStateBytes:
			drops.Large++
			continue
		case !json.Valid(e.State):
			drops.Invalid++
			continue
		}
		if string(e.State) == "null" {
			e.State = nil
		}
		entries = append(entries, e)
	}
	return entries, rest, nil
}

// readEntry reads an entry, whose state is the bytes that stand there.
func readEntry(b []byte) (e Entry, rest []byte, err error) {
	if e.Client, b, err = wire.Uvarint(b); err == nil {
		e.Clock, b, err = wire.Uvarint(b)
	}
	if err == nil {
		e.State, rest, err = wire.Bytes(b)
	}
	if err != nil {
		return Entry{}, nil, ErrMalformed
	}
	return e, rest, nil
}

// AppendAll appends the encoding for other pods, which are told whose the clients are:
// behind the update, where pods of the version before do not look.
func AppendAll(dst []byte, entries []Entry) []byte {
	dst = Append(dst, entries)
	for _, e := range entries {
		dst = binary.LittleEndian.AppendUint64(dst, e.User)
	}
	return dst
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
		dst = wire.AppendBytes(dst, state)
	}
	return dst
}

var null = []byte("null")

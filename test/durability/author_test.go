package durability

import (
	"encoding/binary"
	"slices"

	"github.com/wsnode/wsnode/relay/wire"
)

// author makes the updates of a Yjs client that types ASCII behind its own last
// character, all of it into the text named "text".
type author struct {
	client, clock uint64
}

// contentString is the content reference of a string, hasOrigin the bit of the
// info byte for an origin (yjs/src/structs/Item.js).
const (
	contentString = 4
	hasOrigin     = 0x80
)

func (a *author) insert(text string) []byte {
	u := make([]byte, 0, len(text)+64)
	u = append(u, 1, 1) // one client, one struct
	u = binary.AppendUvarint(u, a.client)
	u = binary.AppendUvarint(u, a.clock)
	if a.clock == 0 {
		u = append(u, contentString, 1) // its parent is named
		u = wire.AppendBytes(u, []byte("text"))
	} else {
		u = append(u, contentString|hasOrigin)
		u = binary.AppendUvarint(u, a.client)
		u = binary.AppendUvarint(u, a.clock-1)
	}
	u = wire.AppendBytes(u, []byte(text))
	a.clock += uint64(len(text))
	return append(u, 0) // no deletions
}

// message is a sync message of a kind.
func message(kind byte, u []byte) []byte {
	return wire.AppendBytes(slices.Grow([]byte{0, kind}, len(u)+8), u)
}

// kindUpdate is the kind of a message with an edit (y-protocols/sync.js).
const kindUpdate = 2

// known reads how many characters of an author a state vector covers.
func known(stateVector []byte, client uint64) (clock uint64) {
	n, b, err := wire.Uvarint(stateVector)
	for ; err == nil && n > 0; n-- {
		var id, at uint64
		if id, b, err = wire.Uvarint(b); err == nil {
			at, b, err = wire.Uvarint(b)
		}
		if id == client {
			return at
		}
	}
	return 0
}

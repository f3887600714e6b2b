package frontdoor

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"

	"github.com/wsnode/wsnode/relay/wire"
)

// Kinds of honest clients, by which abusers are judged: as many that do as much of what
// clients are for.
const (
	writers  = "writers"  // write as fast as the node takes it
	visitors = "visitors" // come, look and go
)

// honest has the same form as abuses.
func (u *unfair) honest() []abuse {
	return []abuse{
		{"nobody", 0, "", nil},
		{"4 who write as fast as they may", 4, writers, u.write},
		{"300 who come and go", 300, visitors, u.visit},
	}
}

// write writes a document of its own as fast as the node takes it, a paragraph at a time
// behind the one before.
func (u *unfair) write(s *siege, conn net.Conn) error {
	if err := u.enter(s, conn, fmt.Sprint("honest-", rand.Int())); err != nil {
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, conn) }() // ends with the connection
	w := newWriter()
	paragraph := strings.Repeat("honest work. ", 80)
	for s.ctx.Err() == nil {
		if err := sendAll(conn, appendFrame(nil, final|opBinary, w.write(paragraph))); err != nil {
			return err
		}
	}
	return nil
}

// visit opens a document, and leaves when it is there.
func (u *unfair) visit(s *siege, conn net.Conn) error {
	client, err := takeOver(conn, handshake(u.Addr, "visited", s.token, anyAddress()))
	if err == nil {
		err = sendAll(client, appendFrame(nil, final|opBinary, askAll))
	}
	if err == nil {
		err = client.waitHolds("\x00\x01")
	}
	return err
}

// writer is a Yjs client that types at the end of a text.
type writer struct {
	client uint32
	clock  uint64
}

func newWriter() *writer { return &writer{client: rand.Uint32()} }

// hasLeft says in a struct's first byte that it names what it stands behind.
const hasLeft = 0x80

// write is a message with an update that appends ASCII text.
func (w *writer) write(text string) []byte {
	update := binary.AppendUvarint([]byte{1, 1}, uint64(w.client)) // one client, one struct
	update = binary.AppendUvarint(update, w.clock)
	if w.clock == 0 {
		update = wire.AppendBytes(append(update, contentString, 1), []byte("text"))
	} else {
		update = binary.AppendUvarint(append(update, contentString|hasLeft), uint64(w.client))
		update = binary.AppendUvarint(update, w.clock-1)
	}
	update = wire.AppendBytes(update, []byte(text))
	w.clock += uint64(len(text))
	return wire.AppendBytes([]byte{0, 2}, append(update, 0)) // no deletions
}

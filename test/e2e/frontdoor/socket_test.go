package frontdoor

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/wsnode/wsnode/relay/wire"
)

// patience bounds what must happen on a busy machine.
const patience = 2 * time.Minute

// socket is a WebSocket whose client says whatever a test wants, byte by byte.
type socket struct {
	net.Conn
	in *bufio.Reader
}

// frame kinds and bits of RFC 6455.
const (
	opContinuation = 0x0
	opBinary       = 0x2
	opClose        = 0x8
	final          = 0x80
	compressed     = 0x40 // RSV1 of permessage-deflate
)

// handshake is the request that opens a document, as a proxy passes it on for a client
// of the address.
func handshake(host, document, token, address string) string {
	return fmt.Sprintf("GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+
		"Authorization: Bearer %s\r\nX-Forwarded-For: %s\r\n\r\n", document, host, token, address)
}

// dialTCP connects and bounds whatever follows. Closing the connection resets it, or there
// would soon be no ports left.
func dialTCP(address string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	return conn, errors.Join(conn.SetDeadline(time.Now().Add(patience)), conn.(*net.TCPConn).SetLinger(0))
}

// goodAddress is where the good clients of open sockets come from.
const goodAddress = "192.0.2.1"

// open connects and sends a handshake by send, which may be slow about it; nil sends it
// as anybody does.
func open(address, request string, send func(net.Conn, []byte) error) (*socket, error) {
	conn, err := dialTCP(address)
	if err != nil {
		return nil, err
	}
	if send == nil {
		send = sendAll
	}
	s := &socket{conn, bufio.NewReader(conn)}
	if err := s.shake(request, send); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// takeOver makes a WebSocket of a connection.
func takeOver(conn net.Conn, request string) (*socket, error) {
	s := &socket{conn, bufio.NewReader(conn)}
	return s, s.shake(request, sendAll)
}

func (s *socket) shake(request string, send func(net.Conn, []byte) error) error {
	if err := send(s.Conn, []byte(request)); err != nil {
		return err
	}
	answer, err := http.ReadResponse(s.in, nil)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return &answeredError{answer.StatusCode}
	}
	return nil
}

// answeredError is returned for a handshake that was answered, but not by a WebSocket.
type answeredError struct{ status int }

func (e *answeredError) Error() string {
	return fmt.Sprintf("the handshake was answered with %d", e.status)
}

func sendAll(conn net.Conn, data []byte) error {
	_, err := conn.Write(data)
	return err
}

// sendBytes sends each byte in a TCP segment of its own.
func sendBytes(conn net.Conn, data []byte) error {
	for i := range data { // Go's connections do not wait for more (TCP_NODELAY)
		if _, err := conn.Write(data[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

// appendFrame appends a client's frame; its mask of zeros changes nothing.
func appendFrame(to []byte, first byte, payload []byte) []byte {
	to = append(to, first)
	switch n := len(payload); {
	case n < 126:
		to = append(to, 0x80|byte(n))
	case n < 1<<16:
		to = binary.BigEndian.AppendUint16(append(to, 0x80|126), uint16(n))
	default:
		to = binary.BigEndian.AppendUint64(append(to, 0x80|127), uint64(n))
	}
	return append(append(to, 0, 0, 0, 0), payload...)
}

// fragments cuts a message into frames of so many bytes.
func fragments(message []byte, size int) (frames []byte) {
	first := byte(opBinary)
	for len(message) > size {
		frames = appendFrame(frames, first, message[:size])
		first, message = opContinuation, message[size:]
	}
	return appendFrame(frames, first|final, message)
}

// closed is how a server closed a WebSocket.
type closed struct {
	code   int
	reason string
}

func (c closed) Error() string { return fmt.Sprintf("closed with %d %q", c.code, c.reason) }

// read returns the next message of the server.
func (s *socket) read() ([]byte, error) {
	for {
		opcode, payload, err := s.readFrame()
		switch {
		case err != nil:
			return nil, err
		case opcode == opClose && len(payload) >= 2:
			return nil, closed{int(binary.BigEndian.Uint16(payload)), string(payload[2:])}
		case opcode < opClose:
			return payload, nil
		}
	}
}

func (s *socket) readFrame() (opcode byte, payload []byte, err error) {
	var head [2]byte
	if _, err = io.ReadFull(s.in, head[:]); err != nil {
		return 0, nil, err
	}
	length := uint64(head[1])
	switch length {
	case 126:
		var short uint16
		err = binary.Read(s.in, binary.BigEndian, &short)
		length = uint64(short)
	case 127:
		err = binary.Read(s.in, binary.BigEndian, &length)
	}
	if err != nil {
		return 0, nil, err
	}
	if length > 1<<30 {
		return 0, nil, fmt.Errorf("a frame of %d bytes", length)
	}
	payload = make([]byte, length)
	_, err = io.ReadFull(s.in, payload)
	return head[0] & 0x0f, payload, err
}

// waitHolds reads until a message holds the text.
func (s *socket) waitHolds(text string) error {
	for {
		message, err := s.read()
		if err != nil {
			return fmt.Errorf("waiting for %.40q: %w", text, err)
		}
		if bytes.Contains(message, []byte(text)) {
			return nil
		}
	}
}

// waitClosed reads until the server has closed the WebSocket, and says how.
func (s *socket) waitClosed() (closed, error) {
	for {
		if _, err := s.read(); err != nil {
			var how closed
			if errors.As(err, &how) {
				return how, nil
			}
			return closed{}, err
		}
	}
}

// askAll asks for the whole document.
var askAll = []byte{0, 0, 1, 0}

// contentString is the content reference of a string (yjs/src/structs/Item.js).
const contentString = 4

// insertion is a message with an update of a new Yjs client that inserts ASCII text.
func insertion(client uint32, text string) []byte {
	update := binary.AppendUvarint([]byte{1, 1}, uint64(client)) // one client, one struct
	update = append(update, 0, contentString, 1)                 // its clock, and that its parent is named
	update = wire.AppendBytes(update, []byte("text"))
	update = wire.AppendBytes(update, []byte(text))
	update = append(update, 0) // no deletions
	return wire.AppendBytes([]byte{0, 2}, update)
}

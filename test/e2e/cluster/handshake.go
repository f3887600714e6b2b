package cluster

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// Handshake is the outcome of a WebSocket handshake as it went over the wire.
type Handshake struct {
	Status int // of the HTTP answer; 101 when the WebSocket was opened
	Header http.Header
	Code   int // close code; 0 when the server sent data first
	Reason string
}

// step1 is the SyncStep1 of a client that has nothing, with which those of y-websocket
// begin, as a frame whose mask is zero.
var step1 = []byte{0x82, 0x84, 0, 0, 0, 0, 0, 0, 1, 0}

// handshakePatience bounds how long a node may take to answer on a machine that is busy.
const handshakePatience = 2 * time.Minute

// Shake makes a WebSocket handshake with exactly this request target, which no
// URL parser has touched, begins as a client of y-websocket, and reads until the server
// closes the WebSocket or sends a data frame.
func Shake(tb testing.TB, addr, target string, header http.Header) Handshake {
	tb.Helper()
	conn, err := net.DialTimeout("tcp", addr, handshakePatience)
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(handshakePatience))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", target, addr)
	header.Write(conn)
	fmt.Fprint(conn, "\r\n")

	r := bufio.NewReader(conn)
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		tb.Fatalf("handshake %q: %v", target, err)
	}
	defer response.Body.Close()
	h := Handshake{Status: response.StatusCode, Header: response.Header}
	if h.Status != http.StatusSwitchingProtocols {
		return h
	}
	_, _ = conn.Write(step1) // what became of it is read
	for {
		opcode, payload, err := readFrame(r)
		if err != nil {
			tb.Fatalf("handshake %q: read frame: %v", target, err)
		}
		switch {
		case opcode == 8 && len(payload) >= 2:
			h.Code, h.Reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
			return h
		case opcode < 8:
			return h
		}
	}
}

// readFrame reads one frame as servers send it, unmasked (RFC 6455, 5.2).
func readFrame(r io.Reader) (opcode byte, payload []byte, err error) {
	var head [2]byte
	if _, err = io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	length := uint64(head[1] & 0x7f)
	switch length {
	case 126:
		var short uint16
		err = binary.Read(r, binary.BigEndian, &short)
		length = uint64(short)
	case 127:
		err = binary.Read(r, binary.BigEndian, &length)
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, length)
	_, err = io.ReadFull(r, payload)
	return head[0] & 0x0f, payload, err
}

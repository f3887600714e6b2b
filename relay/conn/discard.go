package conn

import (
	"errors"
	"io"
)

// refusedBytes is how much of a refused client is read, its request included if that was
// refused: what it sent before it knew, and no flood.
const refusedBytes = 256 << 10

var errFlood = errors.New("a refused client goes on sending")

// discard reads a message that nobody wants any more to its end, and returns its size. A
// client that sends very much after its refusal is not read any further: it is told why
// all the same, and what it sends stays in its socket until the connection has ended.
func (c *Conn) discard(message io.Reader) (size int, err error) {
	if c.readTo == 0 {
		c.readTo = c.socket.in.Load() + refusedBytes
	}
	buffer := buffers.Get().(*[]byte)
	defer putBuffer(buffer)
	for {
		if c.socket.in.Load() >= c.readTo {
			return size, c.ignore()
		}
		n, err := message.Read((*buffer)[:cap(*buffer)])
		size += n
		if err == io.EOF {
			return size, nil
		}
		if err != nil {
			return size, err
		}
	}
}

// ignore reads nothing until the connection has ended.
func (c *Conn) ignore() error {
	for c.keepalive != nil && !c.socket.hasClosed() && c.keepalive.ctx.Err() == nil {
		c.keepalive.pause(linger / 4)
	}
	return errFlood
}

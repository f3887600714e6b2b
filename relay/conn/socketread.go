package conn

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// A reader that waits holds no buffer, and can be told to look up from waiting.

// Read notes when the client was heard.
func (c *socket) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for n == 0 && c.wasKicked(err) {
		n, err = c.Conn.Read(p)
	}
	if n > 0 {
		c.lastIn.Store(clock(time.Now()))
		c.in.Add(int64(n))
	}
	return n, err
}

var longAgo = time.Unix(1, 0)

// kick makes the reader look up from waiting: if it is between messages, it is parked.
// The mark and the deadline change together, or a reader that was late for one kick
// would take the deadline of the next for the end.
func (c *socket) kick() {
	c.kicking.Lock()
	defer c.kicking.Unlock()
	c.kicked = true
	_ = c.Conn.SetReadDeadline(longAgo)
}

// wasKicked reports whether a read failed because of a kick only.
func (c *socket) wasKicked(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.kicking.Lock()
	defer c.kicking.Unlock()
	kicked := c.kicked
	c.kicked = false
	return kicked && c.Conn.SetReadDeadline(time.Time{}) == nil
}

// errPark is returned to a reader that is to end, and its connection to be parked.
var errPark = errors.New("nothing to read for now")

// readBuffer is the size of the buffers that connections share, in bytes: an edit
// takes a tenth of it, and larger messages are read past it.
const readBuffer = 4 << 10

var readBuffers = sync.Pool{New: func() any { b := make([]byte, readBuffer); return &b }}

// readPooled waits until there is something to read, and only then takes a buffer
// from readBuffers for it. It fails with errPark instead where that is allowed and
// the reader was kicked, or has only just been woken. It is for one goroutine at a
// time.
func (c *socket) readPooled(mayPark bool) (buf *[]byte, data []byte, err error) {
	if c.raw == nil {
		return nil, nil, syscall.EOPNOTSUPP
	}
	c.noWait = c.waking && mayPark
	for {
		if err = c.raw.Read(c.attemptRead); !c.wasKicked(err) {
			break
		}
		if mayPark {
			return nil, nil, errPark
		}
	}
	buf, c.buf = c.buf, nil
	if err == nil {
		err = c.readErr
	}
	if err == nil && c.readN == 0 {
		err = io.EOF
	}
	if err != nil {
		if buf != nil {
			readBuffers.Put(buf)
		}
		return nil, nil, err
	}
	c.lastIn.Store(clock(time.Now()))
	c.in.Add(int64(c.readN))
	return buf, (*buf)[:c.readN], nil
}

func (c *socket) tryRead(fd uintptr) (done bool) {
	if c.buf == nil {
		c.buf = readBuffers.Get().(*[]byte)
	}
	c.readN, c.readErr = readNow(int(fd), *c.buf)
	if c.readErr == syscall.EAGAIN {
		readBuffers.Put(c.buf)
		c.buf = nil
		if c.noWait {
			c.readErr = errPark
		}
		return c.noWait
	}
	return true
}

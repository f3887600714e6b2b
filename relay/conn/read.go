package conn

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// proceed reads until the connection ends or is parked.
func (c *Conn) proceed() {
	c.parked.Store(false)
	err := c.read()
	for err == errPark {
		c.parked.Store(true)
		c.socket.waking = true
		if c.keepalive.parking.Load().park(c) {
			return
		}
		c.parked.Store(false)
		c.socket.waking = false
		err = c.read()
	}
	c.keepalive.remove(c)
	c.end()
	how := Closed{Code: 1006, Reason: "connection lost"}
	if said := (*closeError)(nil); errors.As(err, &said) {
		how = Closed{Code: said.code, Reason: said.reason}
	}
	c.closed.CompareAndSwap(nil, &how)
	closed := *c.closed.Load()
	closed.Err = c.endRefusal()
	c.ended(closed)
}

var errText = errors.New("text frame")

// read handles messages until reading fails.
func (c *Conn) read() error {
	in := &c.in
	defer c.Flush()
	for {
		if !in.another() || c.closed.Load() != nil || c.refusal.Load() != nil {
			c.Flush()
		}
		kind, err := in.next()
		switch {
		case err != nil:
		case c.closed.Load() != nil: // only the client's close frame is awaited
			_, err = c.discard(in)
		case c.refusal.Load() != nil:
			var n int
			n, err = c.discard(in)
			c.slow(c.guard.Received(n))
		case kind != ws.OpBinary:
			c.Reject(int(ws.StatusUnsupportedData), "Text frames are not supported", errText, false)
			_, err = c.discard(in)
		default:
			err = c.message(in)
		}
		if err != nil {
			return err
		}
	}
}

// reasonTryAgain is what all clients are told whom the node cannot serve now.
const reasonTryAgain = "Try again later"

// message reads one message and handles it. Only a failed read is returned.
func (c *Conn) message(r *frames) error {
	buffer := buffers.Get().(*[]byte)
	defer putBuffer(buffer)
	defer c.forget()
	var limit *tooLargeError
	message, err := c.readMessage(r, (*buffer)[:0])
	*buffer = message
	switch {
	case errors.As(err, &limit):
		*buffer = nil
		c.forget()
		c.Reject(int(ws.StatusMessageTooBig), limit.Error(), limit, false)
		_, err = c.discard(r)
		return err
	case errors.Is(err, ErrCrowded):
		*buffer = nil // others may use the room while the rest is discarded
		c.forget()
		c.Close(statusTryAgain, reasonTryAgain)
		_, err = c.discard(r)
		return err
	case err != nil:
		return err
	}
	c.messages.in.Add(1)
	if r.another() {
		c.gather()
	}
	c.slow(c.handler.Message(message))
	return nil
}

// statusTryAgain is in the registry of close codes that RFC 6455 began.
const statusTryAgain = 1013

// slow lets time pass before more is read.
func (c *Conn) slow(wait time.Duration) {
	if wait > 0 {
		c.Flush()
		c.keepalive.pause(wait)
		c.socket.lastIn.Store(clock(time.Now())) // not its fault
	}
}

// pause slows a client down: what it sends meanwhile waits in its socket.
func (k *Keepalive) pause(d time.Duration) {
	timer := time.NewTimer(min(d, maxPause))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-k.ctx.Done():
	}
}

// maxPause keeps a connection that is slowed down from looking dead to itself.
const maxPause = 10 * time.Second

// tooLargeError names the limit that a message exceeds.
type tooLargeError struct{ limit int }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("Message too large: limit %d bytes", e.limit)
}

// readMessage reads a message into buf, growing it as bytes arrive: a length that
// is only announced costs nothing.
func (c *Conn) readMessage(r *frames, buf []byte) ([]byte, error) {
	var t *transfer
	for {
		if len(buf) == cap(buf) {
			buf = grow(buf, r.announced())
		}
		if t == nil && len(buf) >= readBuffer && !r.whole() {
			t = c.begin(buf)
		}
		if t != nil && !c.account(t, cap(buf), max(0, r.announced()-int64(cap(buf)-len(buf)))) {
			return buf, ErrCrowded
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if t != nil {
			t.got.Add(int64(n))
		}
		if len(buf) > c.cfg.Unmeasured+framing {
			if limit := c.handler.Limit(buf); len(buf) > limit+framing {
				return buf, &tooLargeError{limit: limit}
			}
		}
		if err == io.EOF {
			if t != nil {
				t.got.Store(allCame)
			}
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// grow makes room for more of a message, of which so many bytes are announced; negative:
// nobody knows. It doubles, but for the last time: else a large message is copied many
// times. It is copied in pieces, since the collector, and with it everybody, waits for the
// end of a copy.
func grow(buf []byte, announced int64) []byte {
	n := len(buf)
	more := max(n, readBuffer)
	if announced < 0 {
		more = max(n/4, readBuffer)
	} else if announced < int64(more) {
		more = int(announced) + 1 // to read the end
	}
	grown := make([]byte, n+more)
	for at := 0; at < n; at += copyMost {
		copy(grown[at:], buf[at:min(n, at+copyMost)])
	}
	return grown[:n]
}

// copyMost bounds one copy, in bytes.
const copyMost = 256 << 10

// framing is what a message may have besides what is limited: how it is encoded.
const framing = 16

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// maxKeptBuffer keeps a rare large message from staying in memory.
const maxKeptBuffer = 256 << 10

func putBuffer(b *[]byte) {
	if n := cap(*b); n > 0 && n <= maxKeptBuffer {
		buffers.Put(b)
	}
}

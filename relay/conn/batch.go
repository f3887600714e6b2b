package conn

import "sync"

// Batch gathers what the messages of one client have others sent, while more of them lie
// whole in its buffer: each socket is written by one system call what came of all of them,
// instead of by one for each. An edit and the cursor behind it mostly come together, and
// what a busy node did not get to read piles up.
//
// Nothing waits for a message that is still to come: a batch is open only while its reader
// handles what one read brought. It is flushed before that reader waits for anything, a
// pause or more bytes; and whoever else writes to a socket writes what it holds first.
type Batch struct {
	mu      sync.Mutex
	open    bool
	sockets []*socket // that hold something
}

var batches = sync.Pool{New: func() any { return new(Batch) }}

// maxKeptBatch keeps a rare large batch from staying in memory, in sockets.
const maxKeptBatch = 1024

// add notes a socket that holds something. false: the batch is over.
func (b *Batch) add(s *socket) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open {
		b.sockets = append(b.sockets, s)
	}
	return b.open
}

// Batch is what is written for the messages of this connection's client; nil: nothing is
// gathered. It may be given to WriteWith by anybody at any time.
func (c *Conn) Batch() *Batch { return c.batch.Load() }

// gather has what is written for the client's messages wait for Flush. It is called by the
// reader.
func (c *Conn) gather() {
	if c.batch.Load() != nil {
		return
	}
	b := batches.Get().(*Batch)
	b.mu.Lock()
	b.open = true
	b.mu.Unlock()
	c.batch.Store(b)
}

// Flush writes what was gathered for the client's messages. It is called by the reader, as
// is the handler's Message, before it waits for anything.
func (c *Conn) Flush() {
	b := c.batch.Load()
	if b == nil {
		return
	}
	c.batch.Store(nil)
	b.mu.Lock()
	b.open = false
	sockets := b.sockets
	b.sockets = nil
	b.mu.Unlock()
	for i, s := range sockets {
		s.flush()
		sockets[i] = nil
	}
	if cap(sockets) > maxKeptBatch {
		sockets = nil
	}
	b.mu.Lock() // somebody may still have the batch, though it is over
	b.sockets = sockets[:0]
	b.mu.Unlock()
	batches.Put(b)
}

// WriteWith is Write for what a client's message has others sent, whose Batch it is given,
// or nil.
func (c *Conn) WriteWith(b *Batch, frame []byte) (behind bool) {
	if b == nil || c.tls {
		return c.Write(frame)
	}
	return c.socket.writeWith(b, frame)
}

// writeWith is writeShared, but what the socket would be tried for waits for the end of
// the batch.
func (c *socket) writeWith(b *Batch, p []byte) (behind bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.err != nil {
		return c.writing && !c.closing
	}
	if c.writing || len(c.rest) == 0 && !b.add(c) {
		_ = c.write(p, true) // that the connection failed is found out by its reader
		return c.writing
	}
	c.out.Add(int64(len(p)))
	c.rest = append(c.rest, p)
	return false
}

// flush writes what a batch holds.
func (c *socket) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.writing && c.err == nil && len(c.rest) > 0 {
		_ = c.writeHeld() // that the connection failed is found out by its reader
	}
}

// together bounds, in bytes, what is copied to be written in one system call: to copy more
// costs as much as another.
const together = 4 << 10

var togetherPool = sync.Pool{New: func() any { b := make([]byte, 0, together); return &b }}

// writeHeld tries the socket for what it holds, and has the rest drained. Callers hold mu.
func (c *socket) writeHeld() error {
	held := c.rest
	buffer := togetherPool.Get().(*[]byte)
	defer togetherPool.Put(buffer)
	for len(held) > 0 && c.raw != nil {
		all, frames := held[0], 1
		if len(held) > 1 && len(all) < together {
			all = (*buffer)[:0]
			for frames = 0; frames < len(held) && len(all)+len(held[frames]) <= together; frames++ {
				all = append(all, held[frames]...)
			}
		}
		n, err := c.tryWrite(all)
		if err != nil {
			return c.failed(err)
		}
		for n > 0 && n >= len(held[0]) {
			n -= len(held[0])
			held = held[1:]
			frames--
		}
		if frames > 0 { // the socket is full
			held[0] = held[0][n:]
			break
		}
	}
	if c.rest = held; len(held) == 0 {
		c.rest = nil
		return nil
	}
	c.writing = true
	go c.drain()
	return nil
}

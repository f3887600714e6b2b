// Package conn is WebSocket connections: frames, messages, writes that never block,
// parking without a goroutine while nothing comes, pings. What is in the messages is
// its Handler's.
package conn

import (
	"cmp"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// Conn is a WebSocket that has been accepted. It is told its Handler by Attach, before
// anything is sent, and reads by Run; or is refused.
//
// Write, Close, End and what only looks may be called concurrently.
type Conn struct {
	// What Prefetch has fetched for a write stands together. In a document with many members
	// the nearer caches have none of it when their turn comes, and each line takes its time.
	socket    *socket      // static
	keepalive *Keepalive   // static after Attach
	lastData  atomic.Int64 // when a message was sent, by clock and the second
	messages  struct{ out, in atomic.Int64 }
	tls       bool // static

	pings int32 // that were due; owned by Keepalive

	// Static after Accept, or after Attach.
	top     net.Conn // what frames are written to: socket, or the TLS connection on it
	cfg     *Config
	handler Handler
	since   int64        // by clock
	ended   func(Closed) // set by Run

	parked atomic.Bool // it has no goroutine

	// Owned by the reader.
	in     frames
	guard  Guard
	share  *Share // of unfinished messages, but for what a Sharer says; nil: none
	readTo int64  // of the bytes of the client, once nobody wants any more; 0: not yet

	batch    atomic.Pointer[Batch]    // open while more of the client's messages are buffered; set by the reader
	transfer atomic.Pointer[transfer] // the message being read, if it has not come whole; set by the reader
	queued   atomic.Int64             // bytes that wait for the socket at the handler
	refusal  atomic.Pointer[refusal]  // once set, nothing is taken any more
	closed   atomic.Pointer[Closed]
}

// Config holds what is the same for all connections of a node. Zero values mean the
// defaults written beside them.
type Config struct {
	MaxIncomingBytes int           // 1 GiB: unfinished large messages of all connections together, of which an app gets a share, and as much of answers that wait for their clients; negative: any number
	LargestMessage   int           // 256 MiB: the share of an app holds one of these
	Unmeasured       int           // 64 KiB: a message up to this is never too large; of others Handler.Limit says
	WriteTimeout     time.Duration // 30 s without any progress ends the connection
	RefuseAfter      time.Duration // 3 s: how long a client that would come back with the same is kept first; negative: not at all

	incoming *atomic.Int64 // bytes that unfinished large messages take
	answers  *atomic.Int64 // bytes that were made for one client and wait for its socket
	refused  *atomic.Int64 // connections that are kept before they are closed
}

// SetDefaults fills in the zero values.
func (c *Config) SetDefaults() {
	c.MaxIncomingBytes = cmp.Or(c.MaxIncomingBytes, 1<<30)
	c.LargestMessage = cmp.Or(c.LargestMessage, 256<<20)
	c.Unmeasured = cmp.Or(c.Unmeasured, 64<<10)
	c.RefuseAfter = cmp.Or(c.RefuseAfter, 3*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 30*time.Second)
	c.incoming, c.answers, c.refused = new(atomic.Int64), new(atomic.Int64), new(atomic.Int64)
}

// Handler is what a connection is for.
type Handler interface {
	// Message takes a binary message, whose bytes are the caller's again when it
	// returns. It is called by the reader, and says how long that is to pause: what the
	// client sends meanwhile waits in its socket.
	Message(message []byte) (pause time.Duration)
	// Limit returns how large a message may be that begins so, in bytes. It is called by
	// the reader, for those above Config.Unmeasured.
	Limit(head []byte) int
	// Drained is called by the goroutine that drains the connection, each time the
	// socket has taken everything: the handler writes what waited. false: nothing did.
	Drained() (more bool)
	// KeepAlive is called when no message has been sent for 20 s, to send one: clients
	// take a connection for dead on which none arrives, whatever the pings do.
	KeepAlive()
}

// Sharer is a Handler whose messages are not all of one app.
type Sharer interface {
	// ShareOf returns the share of the app whose message begins so; nil: that of Attach.
	ShareOf(head []byte) *Share
}

// Guard judges what a client does besides sending messages. It is called by the reader,
// and returns how long that is to pause.
type Guard interface {
	Framed(control bool) time.Duration // a frame that is no message: a control frame, or one more of a message in fragments
	Received(cost int) time.Duration   // bytes that nobody wants any more
}

// Attach tells the connection what it is for. share is that of its app, or nil.
func (c *Conn) Attach(cfg *Config, keepalive *Keepalive, handler Handler, guard Guard, share *Share) {
	c.cfg, c.keepalive, c.handler, c.guard, c.share = cfg, keepalive, handler, guard, share
	c.since = clock(time.Now())
	c.lastData.Store(keepalive.now.Load())
	c.socket.direct(c, cfg.WriteTimeout)
}

// Run reads until the connection ends, and then calls ended with how, once. It may
// return before that: a connection that has nothing to read is parked without a goroutine,
// and ended is called by another one.
func (c *Conn) Run(ended func(Closed)) {
	c.ended = ended
	c.keepalive.add(c)
	c.proceed()
}

// Prefetch reads what a write needs from memory, and does nothing. Of several connections
// the processor waits for all together then, and not for each when its turn comes.
func (c *Conn) Prefetch() {
	_ = c.lastData.Load()
	_ = c.socket.out.Load() // both ends of what a write touches
	_ = c.socket.in.Load()
}

// Write writes a frame that nobody will change, and reports whether the socket is
// behind: then it will be handed over, but what comes after it had better wait until
// Handler.Drained is called. It never blocks.
func (c *Conn) Write(frame []byte) (behind bool) {
	if !c.tls {
		behind, _ = c.socket.writeShared(frame)
		return behind
	}
	_, _ = c.top.Write(frame) // that the connection failed is found out by its reader
	return c.socket.behind()
}

// WriteLent is Write for frames that are the caller's again when it returns.
func (c *Conn) WriteLent(frames []byte) (behind bool) {
	_, _ = c.top.Write(frames) // that the connection failed is found out by its reader
	return c.socket.behind()
}

// Sent notes that a message was written, or will be.
func (c *Conn) Sent() {
	if now := c.keepalive.now.Load(); c.lastData.Load() != now { // to look is cheaper than to store
		c.lastData.Store(now)
	}
	c.messages.out.Add(1)
}

// Queue adds to the bytes that wait at the handler for the socket, and returns how many do.
func (c *Conn) Queue(bytes int) (queued int) { return int(c.queued.Add(int64(bytes))) }

// Drain has Handler.Drained called by the draining goroutine, though nothing may be
// waiting for the socket.
func (c *Conn) Drain() { c.socket.startDrain() }

// Close sends a close frame and ends the connection when the client has answered,
// or after a second. Only the first call counts. It does not block; somebody
// must be reading, or the client's answer is not seen.
func (c *Conn) Close(code int, reason string) {
	if !c.closed.CompareAndSwap(nil, &Closed{Code: code, Reason: reason, Ours: true}) {
		return
	}
	c.writeLast(closeFrame(code, reason))
	time.AfterFunc(linger, c.end)
}

// linger is how long a client may take to answer a close frame.
const linger = time.Second

// End cuts the connection without waiting for the client. It does not block.
func (c *Conn) End() { _ = c.socket.Close() }

// Closed says how a connection was ended.
type Closed struct {
	Code   int // the WebSocket close code; 1006 when the client just went away
	Reason string
	Ours   bool // this node ended it
	// Err is what the client sent that ended the connection, if that was why: what Reject
	// was told.
	Err error
}

// Silent is for how long nothing has come from the client.
func (c *Conn) Silent() time.Duration {
	return time.Duration(clock(time.Now()) - c.socket.lastIn.Load())
}

// Stats are a connection's figures for operators.
type Stats struct {
	Since               time.Time
	FramesIn, FramesOut int64
	BytesIn, BytesOut   int64
	Queued              int // bytes that wait for a slow client
	RoundTrip           time.Duration
}

// Stats returns the connection's figures as they are now.
func (c *Conn) Stats() Stats {
	s := Stats{Since: began.Add(time.Duration(c.since)), Queued: c.Queue(0), RoundTrip: c.socket.roundTrip()}
	s.FramesIn, s.FramesOut, s.BytesIn, s.BytesOut = c.Traffic()
	return s
}

// Traffic returns the counts among the Stats, at less cost.
func (c *Conn) Traffic() (framesIn, framesOut, bytesIn, bytesOut int64) {
	return c.messages.in.Load(), c.messages.out.Load(), c.socket.in.Load(), c.socket.out.Load()
}

// answer answers the client's close frame with its own code, unless it is an answer
// itself.
func (c *Conn) answer(code int) {
	if c.closed.Load() == nil {
		c.writeLast(closeFrame(code, ""))
	}
}

// violated ends a connection whose client does not speak the protocol.
func (c *Conn) violated(err error) error {
	c.Close(int(ws.StatusProtocolError), err.Error())
	// What is unread would reset the connection, and the frame might be lost.
	if n, _ := io.CopyN(io.Discard, c.top, refusedBytes); n == refusedBytes {
		_ = c.ignore()
	}
	return err
}

// writeLast writes the close frame, after which nothing is written.
func (c *Conn) writeLast(frame []byte) {
	if !c.tls {
		c.socket.writeLast(frame)
	} else { // over TLS the frame becomes a record on its way down
		_, _ = c.top.Write(frame)
		c.socket.finish()
	}
}

// end closes the connection without further ceremony.
func (c *Conn) end() { _ = c.top.Close() }

// MaxReason is how many bytes a close frame's reason holds.
const MaxReason = 123

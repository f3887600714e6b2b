package conn

import (
	"errors"
	"sync/atomic"
)

// Share is what the connections of one app on a node hold together: of what all clients
// share, no app gets more than a part. A nil Share counts nothing.
type Share struct {
	incoming atomic.Int64 // bytes that unfinished messages take
	answers  atomic.Int64 // bytes that were made for one client and wait for its socket
}

// ErrCrowded is returned for a message that is more than the node can take in now.
var ErrCrowded = errors.New("too many large messages at once")

// uncounted is the size up to which an unfinished message is not accounted for: those
// are bounded by the number of connections.
const uncounted = 16 << 10

// A message that has not come whole must go on coming: slowBytes of it within as many
// beats of the keepalive as slowBeats, which is 17 kbit/s. Beats are counted and not time,
// so that nobody pays for a process that stood still.
const (
	slowBytes = 64 << 10
	slowBeats = 30
)

// transfer is a message that has not come whole.
type transfer struct {
	held  int64        // bytes accounted for; owned by the reader
	share *Share       // for which; nil: none. Owned by the reader
	got   atomic.Int64 // bytes that have come; allCame at the end

	// Owned by the keepalive: a stretch of time, and what had come when it began.
	beats int
	from  int64
}

// allCame is instead of the bytes of a message that has come whole and is being handled.
const allCame = -1

// late reports whether too little came in a stretch that ends with this beat.
func (t *transfer) late() bool {
	got := t.got.Load()
	if got == allCame {
		return false
	}
	if t.beats == 0 {
		t.from = got
	}
	if t.beats++; t.beats <= slowBeats {
		return false
	}
	slow := got-t.from < slowBytes
	t.beats, t.from = 1, got
	return slow
}

// begin notes that the message being read has not come whole, which begins so.
func (c *Conn) begin(head []byte) *transfer {
	t := &transfer{share: c.share}
	if s, ok := c.handler.(Sharer); ok {
		if share := s.ShareOf(head); share != nil {
			t.share = share
		}
	}
	c.transfer.Store(t)
	return t
}

// account counts what the message being read takes, and reports whether the node can
// bear that and what is announced of it beyond: each may become as large as a document, and
// whoever sends it may stop half way. What is only announced is not counted, but who finds
// no room is told before sending it. An app gets its share only, so that others can still
// send large messages; what is of ordinary size is taken from everybody whose app has not
// used its share up.
func (c *Conn) account(t *transfer, size int, announced int64) bool {
	if size <= uncounted {
		return true
	}
	more := int64(size) - t.held
	if more == 0 {
		return true
	}
	t.held += more
	total, ofApp := c.cfg.incoming.Add(more), int64(0)
	if t.share != nil {
		ofApp = t.share.incoming.Add(more)
	}
	if c.cfg.MaxIncomingBytes < 0 {
		return true
	}
	return ofApp+announced <= c.cfg.appIncoming() &&
		(int64(size)+announced <= maxKeptBuffer || total+announced <= int64(c.cfg.MaxIncomingBytes))
}

// appIncoming is an app's share of MaxIncomingBytes: a quarter, and not less than one
// message of the largest size, with the room that its growing buffer takes.
func (c *Config) appIncoming() int64 {
	return max(int64(c.MaxIncomingBytes)/4, int64(c.LargestMessage)/4*5+1<<20)
}

// forget is called when a message has been handled, or never will be.
func (c *Conn) forget() {
	t := c.transfer.Load()
	if t == nil {
		return
	}
	c.transfer.Store(nil)
	if t.held > 0 {
		c.cfg.incoming.Add(-t.held)
		if t.share != nil {
			t.share.incoming.Add(-t.held)
		}
		t.held = 0
	}
}

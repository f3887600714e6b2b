package carry

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/session"
	"github.com/wsnode/wsnode/relay/wire"
)

// Link is a client at its document's home: session.Stream. Its channel says which wire the
// client speaks: no Encoding is y-websocket's, whose clients ask by themselves whether all
// is saved; for the others the link asks, and acknowledges what they sent.
//
// Two goroutines work for it from Start on, one for each direction, until it has ended.
type Link struct {
	// Static after Dial.
	carrier  *Carrier
	ws       *websocket.Conn
	conn     *conn.Conn // the client's
	via      *session.Channel
	readOnly bool
	first    []byte // the home's first message
	ctx      context.Context
	cancel   context.CancelFunc
	sent     chan struct{} // closed when nothing more is written to the home; made by Start
	id       uint64        // in Carrier.links; set by Start

	left   atomic.Bool  // the client has
	ended  atomic.Bool  // the channel was told
	heard  atomic.Int64 // when something last came from the home, in ns since began
	up     toHome
	down   toClient
	asking asking

	mu    sync.Mutex
	step1 []byte // the home's SyncStep1, for a client that wants another
}

func newLink(c *Carrier, r Request) *Link {
	l := &Link{carrier: c, conn: r.Conn, via: r.Channel, readOnly: r.ReadOnly}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.up.init(c.cfg.QueueBytes, c.cfg.MaxMessageBytes)
	l.down.init(c.cfg.QueueBytes)
	l.hear()
	return l
}

var began = time.Now()

func (l *Link) hear() { l.heard.Store(int64(time.Since(began))) }

// Charge has what waits for the home counted for the client's app, too. It is called before
// Start.
func (l *Link) Charge(share *conn.Share) {
	l.up.owe = func(bytes int) bool { return l.conn.Owe(share, bytes) }
}

// Start begins to relay. spawn runs a goroutine that the caller waits for.
func (l *Link) Start(spawn func(func())) {
	l.via.Begin()
	l.id = l.carrier.links.Add(l)
	l.sent = make(chan struct{})
	spawn(func() {
		defer close(l.sent)
		l.send()
	})
	spawn(func() {
		err := l.receive()
		l.over(err)
		l.up.close()
		<-l.sent
		l.up.drop()
		_ = l.ws.CloseNow()
		l.carrier.links.Remove(l.id)
	})
}

// leaveWithin is how long what the client sent last has to reach the home, and then the
// home to answer the close.
const leaveWithin = 2 * time.Second

// Leave ends the link because the client has left the document. It may take a while.
func (l *Link) Leave() {
	l.left.Store(true)
	l.Detach()
	cutting := time.AfterFunc(leaveWithin, func() { _ = l.ws.CloseNow() })
	<-l.sent
	cutting.Reset(leaveWithin)
	_ = l.ws.Close(websocket.StatusNormalClosure, "")
	cutting.Stop()
	l.cancel()
}

// Detach is for session.Stream. What the client sent before still goes to the home.
func (l *Link) Detach() {
	l.down.detach(l.conn)
	l.up.close()
}

// over ends the link for what came from the home, or did not come any more.
func (l *Link) over(err error) {
	defer l.cancel()
	if l.left.Load() || l.ended.Swap(true) {
		return
	}
	code, reason := closecode.Restart, closecode.ReasonRestart
	if ended := endOf(err); ended != nil && (ended.Final() || ended.Code == closecode.Redirect) {
		code, reason = ended.Code, ended.Reason
	}
	l.via.End(l, code, reason, err)
}

// End ends the link with what its client is told, soon. It does not block.
func (l *Link) End(code int, reason string) { l.over(&EndedError{code, reason}) }

// Cut cuts the client's connection without waiting for it. It does not block.
func (l *Link) Cut() { l.conn.End() }

// Traffic returns what went through the link's channel, messages and bytes.
func (l *Link) Traffic() (framesIn, framesOut, bytesIn, bytesOut int64) { return l.via.Traffic() }

// Fail is for session.Stream.
func (l *Link) Fail(err error) { l.over(err) }

// LimitOf is for session.Stream.
func (l *Link) LimitOf(kind wire.Kind) int {
	if kind == wire.Step2 {
		return l.carrier.cfg.MaxDocumentBytes
	}
	return l.carrier.cfg.MaxMessageBytes
}

// plain reports whether the client speaks y-websocket's wire.
func (l *Link) plain() bool { return l.via.Encoding == nil }

// Take is for session.Stream: a message of the client goes to the home. While the home is
// behind it waits, and so does whoever reads the client's socket.
func (l *Link) Take(m wire.Received, size int) (pause time.Duration) {
	l.via.Received(size)
	switch m.Kind {
	case wire.Awareness:
		l.via.Own.Note(m.Payload)
	case wire.SyncStatus:
		if l.plain() {
			l.asking.note(m.Payload)
		}
	case wire.Step1, wire.Step2, wire.Update, wire.QueryAwareness, wire.Stateless:
	default:
		return 0
	}
	due := 0
	if !l.plain() {
		var greeting bool
		if due, greeting = l.via.Due(m.Kind); greeting {
			// What the client sent before is not acknowledged any more: it counts from there.
			l.asking.forget()
			l.up.forget()
			l.mu.Lock()
			step1 := l.step1
			l.mu.Unlock()
			l.write(wire.Step1, step1)
		}
		if l.readOnly && m.Kind == wire.Update {
			l.acknowledge(due, false)
			return 0
		}
	}
	l.conn.Flush() // before it may wait
	pause, bears := l.up.put(encode(m), due)
	if !bears {
		l.End(closecode.TryAgain, closecode.ReasonTryAgain)
	}
	return pause
}

// encode is a message as y-websocket's clients send it.
func encode(m wire.Received) []byte {
	switch m.Kind {
	case wire.QueryAwareness:
		return []byte{typeQueryAwareness}
	case wire.Stateless:
		return wire.EncodeStateless(m.Payload).Content()
	}
	return wire.Encode(m.Kind, m.Payload).Content()
}

const typeQueryAwareness = 3 // of y-protocols

// Resume is for session.Stream: the client is brought up to what the home has, the home is
// told who it is, and asked again what the home before left open.
func (l *Link) Resume() error {
	l.via.Resume()
	if own := l.via.Own.Update(); own != nil {
		l.up.put(wire.Encode(wire.Awareness, own).Content(), 0)
	}
	l.up.put(wire.Encode(wire.Step1, []byte{0}).Content(), 0)
	return nil
}

// Drain is for session.Stream.
func (l *Link) Drain() {
	if l.down.waits() {
		l.conn.Drain()
	}
}

// Drained is for session.Stream.
func (l *Link) Drained() (more bool) { return l.down.drained(l.conn) }

// write sends the client a message.
func (l *Link) write(kind wire.Kind, payload []byte) {
	var f wire.Frame
	if e := l.via.Encoding; e != nil {
		f = e.Encode(kind, payload)
	} else {
		f = wire.Encode(kind, payload)
	}
	l.carrier.toClients.Add(int64(len(f.Bytes())))
	l.down.write(l.conn, l.via, f)
}

// acknowledge tells the client that so many messages are saved, or never will be.
func (l *Link) acknowledge(n int, taken bool) {
	kind := wire.SyncStatus
	if !taken {
		kind = wire.PermissionDenied
	}
	for range n {
		l.write(kind, nil)
	}
}

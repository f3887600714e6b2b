package carry

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wsnode/wsnode/internal/pause"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/session"
	"github.com/wsnode/wsnode/relay/wire"
)

// Host is the node, as a carried client of y-websocket sees it.
type Host interface {
	// Admit takes the client into its document, wherever that is now. Before the client
	// is sent anything, it calls granted.
	Admit(ctx context.Context, via *session.Channel, granted func()) (Seat, error)
	// Answer says what the client is told of an error.
	Answer(err error) (code int, reason string)
	// Draining reports whether the node takes no clients any more.
	Draining() bool
}

// Seat is a client in a document, here or at another home.
type Seat interface {
	Stream() session.Stream
	// Leave gives it back, and may take a while.
	Leave(how conn.Closed)
}

// Client is a client of y-websocket whose document was elsewhere when it came. It is its
// connection's Handler. While its home changes it sees nothing but another exchange of
// SyncStep1.
//
// Lock order: taking, Room.mu, mu, and those of streams.
type Client struct {
	conn  *conn.Conn
	host  Host
	guard conn.Guard
	spawn func(func()) // runs a goroutine that the owner waits for
	via   session.Channel

	ctx    context.Context // ends with the connection
	cancel context.CancelFunc

	// taking is held while a message is given to the stream, and from before a stream says
	// anything until it has begun.
	taking  sync.Mutex
	resumes bool     // it was in its document before; guarded by taking
	again   [][]byte // questions for the stream, behind the next SyncStep2; guarded by taking

	mu     sync.Mutex
	ended  *conn.Closed // nil: it has not
	seat   Seat         // nil: it is on its way to a home
	early  *ending
	paced  pause.Backoff
	former *Link // the link before, which may have left questions unanswered; nil: none has
}

// ending is the end of a stream that comes before its seat is known.
type ending struct {
	stream session.Stream
	code   int
	reason string
}

// NewClient makes the handler of a connection. spawn runs a goroutine that whoever calls
// it waits for.
func NewClient(c *conn.Conn, host Host, guard conn.Guard, spawn func(func())) *Client {
	cl := &Client{conn: c, host: host, guard: guard, spawn: spawn}
	cl.paced.First, cl.paced.Most = pauses[0], giveUpAfter/2
	cl.ctx, cl.cancel = context.WithCancel(context.Background())
	cl.via.End = cl.end
	return cl
}

// giveUpAfter is how long a client is kept whose home cannot be reached.
const giveUpAfter = 10 * time.Second

// pauses are the times between two attempts; the last is for all that follow.
var pauses = []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second}

// Enter takes the client to its document. ok is false if it cannot be; code and reason say
// why. It is called before the connection runs.
func (cl *Client) Enter() (code int, reason string, ok bool) {
	for began, i := time.Now(), 0; ; i++ {
		let := false
		seat, err := cl.host.Admit(cl.ctx, &cl.via, func() {
			cl.taking.Lock() // what comes from now on is for the stream that begins
			let = true
		})
		if err == nil {
			cl.begin(seat)
		}
		if let {
			cl.taking.Unlock()
		}
		if err == nil {
			return 0, "", true
		}
		code, reason = cl.host.Answer(err)
		wait := pauses[min(i, len(pauses)-1)]
		switch {
		case code != closecode.TryAgain && code != closecode.Restart, errors.Is(err, ErrAstray):
			return code, reason, false
		case cl.host.Draining():
			return closecode.Restart, closecode.ReasonRestart, false
		case time.Since(began)+wait > giveUpAfter:
			return closecode.TryAgain, closecode.ReasonTryAgain, false
		}
		if !pause.Between(cl.ctx, wait/2, wait) {
			return closecode.TryAgain, closecode.ReasonTryAgain, false
		}
	}
}

// begin gives the client its seat. Callers hold taking.
func (cl *Client) begin(seat Seat) {
	s := seat.Stream()
	cl.mu.Lock()
	if cl.ended != nil {
		how := *cl.ended
		cl.mu.Unlock()
		seat.Leave(how)
		return
	}
	cl.seat = seat
	cl.paced.In()
	early := cl.early
	cl.early = nil
	if cl.former != nil {
		cl.again = append(cl.again, cl.former.asking.left()...)
		cl.former = nil
	}
	cl.mu.Unlock()
	s.Drain() // what was sent by joining may wait
	resumes := cl.resumes
	cl.resumes = true
	switch {
	case early != nil && early.stream == s:
		cl.end(s, early.code, early.reason, nil)
	case resumes:
		if err := cl.resume(s); err != nil {
			s.Fail(err)
		}
	}
}

// resume goes on in another stream. A session of this node knows nothing of the channel.
func (cl *Client) resume(s session.Stream) error {
	if _, here := s.(*session.Session); here {
		if own := cl.via.Own.Update(); own != nil {
			s.Take(wire.Received{Kind: wire.Awareness, Payload: own}, len(own))
		}
	}
	return s.Resume()
}

// Message is for conn.Handler.
func (cl *Client) Message(message []byte) (pause time.Duration) {
	m, err := wire.Decode(message)
	if err != nil {
		cl.conn.Reject(closecode.Malformed, "Malformed frame", err, false)
		return cl.guard.Received(len(message))
	}
	if !cl.taking.TryLock() {
		cl.conn.Flush() // before it waits for a stream that begins
		cl.taking.Lock()
	}
	defer cl.taking.Unlock()
	cl.mu.Lock()
	seat := cl.seat
	cl.mu.Unlock()
	if seat == nil {
		cl.missed(m)
		return cl.guard.Received(len(message))
	}
	s := seat.Stream()
	pause = s.Take(m, len(message))
	if m.Kind == wire.Step2 {
		for _, payload := range cl.again {
			s.Take(wire.Received{Kind: wire.SyncStatus, Payload: payload}, len(payload))
		}
		cl.again = nil
	}
	return max(pause, cl.guard.Received(len(message)))
}

// missed notes a message that came while there is no home. Callers hold taking.
func (cl *Client) missed(m wire.Received) {
	cl.via.Missed(m)
	if m.Kind == wire.SyncStatus && len(cl.again) < maxNotes {
		cl.again = append(cl.again, append([]byte(nil), m.Payload...))
	}
}

// end is for session.Channel: the stream's end, by whomever.
func (cl *Client) end(s session.Stream, code int, reason string, _ error) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	switch {
	case cl.ended != nil:
		return
	case cl.seat == nil:
		cl.early = &ending{s, code, reason} // begin will see it
		return
	case cl.seat.Stream() != s:
		return
	}
	seat := cl.seat
	cl.seat = nil
	s.Detach()
	cl.former, _ = s.(*Link)
	how := conn.Closed{Code: code, Reason: reason, Ours: true}
	goesOn := code == closecode.TryAgain || code == closecode.Restart || code == closecode.Redirect
	switch {
	case !goesOn:
		cl.conn.Close(code, reason)
	case cl.host.Draining():
		cl.conn.Close(closecode.Restart, closecode.ReasonRestart)
		goesOn = false
	}
	wait := cl.paced.Next() // a home that takes the client in may end it each time
	cl.spawn(func() {
		seat.Leave(how)
		if !goesOn || !pause.Between(cl.ctx, wait/2, wait) {
			return
		}
		if code, reason, ok := cl.Enter(); !ok {
			cl.conn.Close(code, reason)
		}
	})
}

// End is the end of the connection: everything is given back.
func (cl *Client) End(how conn.Closed) {
	cl.cancel()
	cl.mu.Lock()
	cl.ended = &how
	seat := cl.seat
	cl.seat = nil
	cl.mu.Unlock()
	if seat != nil {
		seat.Leave(how)
	}
}

// Limit is for conn.Handler.
func (cl *Client) Limit(head []byte) int {
	cl.mu.Lock()
	seat := cl.seat
	cl.mu.Unlock()
	if seat == nil {
		return maxUnseated
	}
	if wire.BeginsStep2(head) {
		return seat.Stream().LimitOf(wire.Step2)
	}
	return seat.Stream().LimitOf(wire.Unknown)
}

// maxUnseated bounds a message that nobody takes.
const maxUnseated = 256 << 20

// Drained is for conn.Handler.
func (cl *Client) Drained() (more bool) {
	cl.mu.Lock()
	seat := cl.seat
	cl.mu.Unlock()
	return seat != nil && seat.Stream().Drained()
}

// KeepAlive is for conn.Handler.
func (cl *Client) KeepAlive() {
	cl.conn.Sent()
	cl.conn.Write(wire.KeepAlive.Bytes())
}

package mux

import (
	"errors"
	"sync"
	"time"

	"github.com/wsnode/wsnode/internal/pause"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/session"
	"github.com/wsnode/wsnode/relay/wire"
)

// Times between two attempts to get into a document that cannot be served now.
const (
	retryFirst = 500 * time.Millisecond
	retryMost  = 5 * time.Second
)

// document is a document of the connection, from its token to its end: pending while the
// client is let in, then open. A fault that passes makes it pending again, and the client
// does not notice.
type document struct {
	mux     *Mux
	address string
	channel session.Channel

	// taking is held while a message is given to the session: by begin until the document is
	// open, then by the reader. They take it under Mux.mu, when nobody else gives any: only
	// awaitDelivery, which takes it without, may have it for a moment.
	taking sync.Mutex

	// Guarded by Mux.mu. One that is not in Mux.documents any more has ended.
	token   string
	tokens  int           // that came
	fresh   chan struct{} // closed when another token comes; nil while none was asked for
	modern  bool          // the provider is of version 3 or later, and knows Leave
	judging bool          // another token is being judged; one at a time is, the latest
	since   time.Time
	again   pause.Backoff
	seat    Seat // nil: it is not in the document
	open    bool // messages go to the seat's session; else they are held
	held    []wire.Received
	scope   string // that was granted; "": none
	resumes bool   // it was open before
	joins   bool   // it is being let in: what comes is for the stream that begins
	ending  *ending
}

// ending is the end of a session that comes before its seat is known.
type ending struct {
	stream session.Stream
	how    conn.Closed
}

// authenticate takes a token for a document. It is called with mu, and unlocks it.
func (x *Mux) authenticate(d *document, address, token string, versioned bool) {
	defer x.mu.Unlock()
	switch {
	case x.ended != nil:
	case d == nil && (x.pending >= maxPending || x.entering >= maxEntering || len(x.documents) >= maxDocuments):
		x.spawn(func() { x.giveUp(closecode.TryAgain, closecode.ReasonTryAgain) })
	case d == nil:
		// Version 2 sends no empty token.
		d = &document{mux: x, address: address, token: token, since: time.Now(), modern: versioned || token == ""}
		d.again.First, d.again.Most = retryFirst, retryMost
		d.channel = session.Channel{Encoding: wire.NewHocuspocus(address), End: d.end}
		x.documents[address] = d
		x.pending++
		x.address = address
		x.count()
		x.entering++
		x.spawn(func() {
			d.enter()
			x.mu.Lock()
			x.entering--
			x.mu.Unlock()
		})
	default:
		d.token = token
		d.tokens++
		if d.fresh != nil {
			close(d.fresh)
			d.fresh, d.modern = nil, true // as it did what it was asked for
		}
		if d.open && !d.judging {
			d.judging = true
			x.spawn(d.confirm)
		}
	}
}

func (d *document) request() (r Request, tokens int) {
	x := d.mux
	x.mu.Lock()
	defer x.mu.Unlock()
	return Request{Name: wire.AddressedTo(d.address), Token: d.token, Channel: &d.channel, Granted: d.granted}, d.tokens
}

// granted tells the client that it is in, unless it knows.
func (d *document) granted(readOnly bool) {
	scope := "read-write"
	if readOnly {
		scope = "readonly"
	}
	x := d.mux
	x.mu.Lock()
	defer x.mu.Unlock()
	x.welcomed, d.joins = true, true
	if d.scope != scope && x.documents[d.address] == d {
		d.scope = scope
		x.write(d.address, wire.Granted, []byte(scope))
	}
}

// enter tries until the client is in the document, or never will be.
func (d *document) enter() {
	x := d.mux
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		request, tokens := d.request()
		seat, err := x.host.Admit(x.ctx, request)
		if err == nil {
			d.begin(seat, tokens)
			return
		}
		d.failed()
		code, reason := x.host.Answer(err)
		switch {
		case x.ctx.Err() != nil || d.over():
			return
		case code == closecode.Restart && x.host.Draining():
			x.giveUp(code, reason)
			return
		case code == closecode.Token && d.renew(tokens):
			wait = retryFirst / 2
			continue
		case !passes(code):
			if d.refuse(tokens, reason) {
				return
			}
			continue // another token came meanwhile
		case x.stuck():
			x.giveUp(closecode.TryAgain, closecode.ReasonTryAgain)
			return
		}
		if !pause.Between(x.ctx, wait/2, wait) {
			return
		}
	}
}

// passes reports whether trying again can cure what has that code.
func passes(code int) bool { return code == closecode.TryAgain || code == closecode.Restart }

// failed has a document that the client was let into, and is not in, go on as before.
func (d *document) failed() {
	x := d.mux
	x.mu.Lock()
	defer x.mu.Unlock()
	d.joins = false
	if d.resumes {
		for _, m := range x.release(d) {
			d.channel.Missed(m)
		}
	}
}

// renewWithin is how long a provider has to send another token.
const renewWithin = 5 * time.Second

// renew asks for another token in the place of one that was good before, and reports
// whether one came. Version 2 does not hear it.
func (d *document) renew(tokens int) bool {
	x := d.mux
	x.mu.Lock()
	if x.documents[d.address] != d || d.scope == "" || d.tokens != tokens {
		came := d.tokens != tokens
		x.mu.Unlock()
		return came
	}
	fresh := make(chan struct{})
	d.fresh = fresh
	x.write(d.address, wire.Token, nil)
	x.mu.Unlock()
	timer := time.NewTimer(renewWithin)
	defer timer.Stop()
	select {
	case <-fresh:
		return true
	case <-timer.C:
	case <-x.ctx.Done():
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	d.fresh = nil
	return d.tokens != tokens
}

func (d *document) over() bool {
	x := d.mux
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.documents[d.address] != d
}

// refuse ends a document that the client was never in, unless another token came since.
func (d *document) refuse(tokens int, reason string) (refused bool) {
	x := d.mux
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.documents[d.address] != d {
		return true
	}
	if d.tokens != tokens {
		return false
	}
	x.remove(d)
	d.deny(reason)
	return true
}

// deny tells the client that it is not in the document, or not any more. Callers hold mu.
func (d *document) deny(reason string) {
	x := d.mux
	x.write(d.address, wire.Denied, []byte(reason))
	if d.scope != "" && d.modern {
		x.write(d.address, wire.Leave, []byte(reason))
	}
}

// remove forgets a document. Callers hold mu.
func (x *Mux) remove(d *document) {
	delete(x.documents, d.address)
	x.release(d)
	if !d.open {
		x.pending--
	}
	d.open = false
	x.count()
}

// begin gives the session what was held for it, in order, and then what comes. tokens is
// how many other tokens had come when the one was judged by which the client is in.
func (d *document) begin(seat Seat, tokens int) {
	x, s := d.mux, seat.Stream()
	x.mu.Lock()
	if x.documents[d.address] != d {
		how := conn.Closed{Code: 1000, Reason: "left the document"}
		if x.ended != nil {
			how = *x.ended
		}
		x.mu.Unlock()
		seat.Leave(how)
		return
	}
	d.seat = seat
	d.again.In()
	resumes := d.resumes
	d.resumes = true
	early := d.ending
	d.ending = nil
	x.mu.Unlock()
	s.Drain() // what was sent by joining may wait
	if early != nil && early.stream == s {
		d.end(s, early.how.Code, early.how.Reason, early.how.Err)
		return
	}
	if resumes {
		if err := s.Resume(); err != nil {
			s.Fail(err)
		}
	}
	for {
		x.mu.Lock()
		if d.seat != seat { // it has ended
			x.mu.Unlock()
			return
		}
		if len(d.held) == 0 {
			d.open = true
			x.pending--
			if d.tokens != tokens && !d.judging { // the client knew already that it is in
				d.judging = true
				x.spawn(d.confirm)
			}
			x.mu.Unlock()
			return
		}
		m := d.held[0]
		d.held = d.held[1:]
		x.heldBytes -= len(m.Payload)
		x.heldFrames--
		d.taking.Lock()
		x.mu.Unlock()
		s.Take(m, len(m.Payload))
		d.taking.Unlock()
	}
}

// awaitDelivery waits until no message is being given to a session that has ended.
func (d *document) awaitDelivery() {
	d.taking.Lock()
	defer d.taking.Unlock()
}

// end is for session.Channel: the stream's end, by whomever. For what passes, and when the
// document is elsewhere now, the client is let in again without its knowing; else it hears
// that it is not in the document any more, and nothing that it sends is taken or
// acknowledged until it authenticates anew.
func (d *document) end(s session.Stream, code int, reason string, why error) {
	x := d.mux
	how := conn.Closed{Code: code, Reason: reason, Ours: true, Err: why}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.documents[d.address] != d {
		return
	}
	if d.seat == nil {
		if d.ending == nil || d.ending.stream != s { // the first end counts
			d.ending = &ending{s, how} // begin will see it
		}
		return
	}
	if d.seat.Stream() != s {
		return
	}
	seat := d.seat
	s.Detach()
	goesOn := passes(code) || code == closecode.Redirect
	if !goesOn || x.host.Draining() {
		d.seat = nil
		x.remove(d)
		if goesOn {
			x.spawn(func() { x.giveUp(closecode.Restart, closecode.ReasonRestart) })
		} else {
			d.deny(reason)
		}
		x.spawn(func() { seat.Leave(how) })
		return
	}
	d.seat, d.joins, d.since = nil, false, time.Now()
	if d.open {
		d.open = false
		x.pending++
	}
	wait := d.again.Next() // a home that takes the client in may end it each time
	x.spawn(func() {
		d.awaitDelivery()
		seat.Leave(how)
		if pause.Between(x.ctx, wait/2, wait) && !d.over() {
			d.enter()
		}
	})
}

// leave ends a document because the client wants to. It is called with mu, and unlocks it.
func (x *Mux) leave(d *document, how conn.Closed) {
	seat := d.seat
	d.seat = nil
	x.remove(d)
	x.mu.Unlock()
	if seat != nil {
		seat.Stream().Detach()
		x.spawn(func() { seat.Leave(how) })
	}
}

// confirm judges other tokens of a client that is in the document, until the latest has
// been. A client may send any number: what waits is one goroutine and one token.
func (d *document) confirm() {
	x := d.mux
	for {
		request, tokens := d.request()
		x.mu.Lock()
		seat := d.seat
		if x.documents[d.address] != d || seat == nil {
			d.judging = false // who is let in again is judged by the latest token
			x.mu.Unlock()
			return
		}
		x.mu.Unlock()
		err := x.host.Confirm(x.ctx, request, seat)
		x.mu.Lock()
		if err == nil && x.documents[d.address] == d && d.seat == seat {
			x.write(d.address, wire.Granted, []byte(d.scope))
		}
		last := d.tokens == tokens
		d.judging = !last
		x.mu.Unlock()
		switch {
		case errors.Is(err, ErrRights): // enter takes the latest token, and tells of the rights
			d.end(seat.Stream(), closecode.TryAgain, "Other rights", err)
		case err != nil:
			if code, reason := x.host.Answer(err); !passes(code) {
				d.end(seat.Stream(), code, reason, err)
			}
		}
		if last {
			return
		}
	}
}

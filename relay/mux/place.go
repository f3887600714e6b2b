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

// place is a document of the connection, from its token to its end: pending while the
// client is let in, then open. A fault that passes makes it pending again, and the client
// does not notice.
type place struct {
	mux     *Mux
	address string
	channel session.Channel

	// taking is held while a message is given to the session: by begin until the place is
	// open, then by the reader. They take it under Mux.mu, when nobody else gives any: only
	// awaitDelivery, which takes it without, may have it for a moment.
	taking sync.Mutex

	// Guarded by Mux.mu. One that is not in Mux.places any more has ended.
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
func (x *Mux) authenticate(p *place, address, token string, versioned bool) {
	defer x.mu.Unlock()
	switch {
	case x.ended != nil:
	case p == nil && (x.pending >= maxPending || x.entering >= maxEntering || len(x.places) >= maxDocuments):
		x.spawn(func() { x.giveUp(closecode.TryAgain, closecode.ReasonTryAgain) })
	case p == nil:
		// Version 2 sends no empty token.
		p = &place{mux: x, address: address, token: token, since: time.Now(), modern: versioned || token == ""}
		p.again.First, p.again.Most = retryFirst, retryMost
		p.channel = session.Channel{Encoding: wire.NewHocuspocus(address), End: p.end}
		x.places[address] = p
		x.pending++
		x.address = address
		x.count()
		x.entering++
		x.spawn(func() {
			p.enter()
			x.mu.Lock()
			x.entering--
			x.mu.Unlock()
		})
	default:
		p.token = token
		p.tokens++
		if p.fresh != nil {
			close(p.fresh)
			p.fresh, p.modern = nil, true // as it did what it was asked for
		}
		if p.open && !p.judging {
			p.judging = true
			x.spawn(p.confirm)
		}
	}
}

func (p *place) request() (r Request, tokens int) {
	x := p.mux
	x.mu.Lock()
	defer x.mu.Unlock()
	return Request{Name: wire.AddressedTo(p.address), Token: p.token, Channel: &p.channel, Granted: p.granted}, p.tokens
}

// granted tells the client that it is in, unless it knows.
func (p *place) granted(readOnly bool) {
	scope := "read-write"
	if readOnly {
		scope = "readonly"
	}
	x := p.mux
	x.mu.Lock()
	defer x.mu.Unlock()
	x.welcomed, p.joins = true, true
	if p.scope != scope && x.places[p.address] == p {
		p.scope = scope
		x.write(p.address, wire.Granted, []byte(scope))
	}
}

// enter tries until the client is in the document, or never will be.
func (p *place) enter() {
	x := p.mux
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		request, tokens := p.request()
		seat, err := x.host.Admit(x.ctx, request)
		if err == nil {
			p.begin(seat, tokens)
			return
		}
		p.failed()
		code, reason := x.host.Answer(err)
		switch {
		case x.ctx.Err() != nil || p.over():
			return
		case code == closecode.Restart && x.host.Draining():
			x.giveUp(code, reason)
			return
		case code == closecode.Token && p.renew(tokens):
			wait = retryFirst / 2
			continue
		case !passes(code):
			if p.refuse(tokens, reason) {
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

// failed has a place that was let in, and is not, go on as before.
func (p *place) failed() {
	x := p.mux
	x.mu.Lock()
	defer x.mu.Unlock()
	p.joins = false
	if p.resumes {
		for _, m := range x.release(p) {
			p.channel.Missed(m)
		}
	}
}

// renewWithin is how long a provider has to send another token.
const renewWithin = 5 * time.Second

// renew asks for another token in the place of one that was good before, and reports
// whether one came. Version 2 does not hear it.
func (p *place) renew(tokens int) bool {
	x := p.mux
	x.mu.Lock()
	if x.places[p.address] != p || p.scope == "" || p.tokens != tokens {
		came := p.tokens != tokens
		x.mu.Unlock()
		return came
	}
	fresh := make(chan struct{})
	p.fresh = fresh
	x.write(p.address, wire.Token, nil)
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
	p.fresh = nil
	return p.tokens != tokens
}

func (p *place) over() bool {
	x := p.mux
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.places[p.address] != p
}

// refuse ends a place that was never taken, unless another token came since.
func (p *place) refuse(tokens int, reason string) (refused bool) {
	x := p.mux
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.places[p.address] != p {
		return true
	}
	if p.tokens != tokens {
		return false
	}
	x.remove(p)
	p.deny(reason)
	return true
}

// deny tells the client that it is not in the document, or not any more. Callers hold mu.
func (p *place) deny(reason string) {
	x := p.mux
	x.write(p.address, wire.Denied, []byte(reason))
	if p.scope != "" && p.modern {
		x.write(p.address, wire.Leave, []byte(reason))
	}
}

// remove forgets a place. Callers hold mu.
func (x *Mux) remove(p *place) {
	delete(x.places, p.address)
	x.release(p)
	if !p.open {
		x.pending--
	}
	p.open = false
	x.count()
}

// begin gives the session what was held for it, in order, and then what comes. tokens is
// how many other tokens had come when the one was judged by which the client is in.
func (p *place) begin(seat Seat, tokens int) {
	x, s := p.mux, seat.Stream()
	x.mu.Lock()
	if x.places[p.address] != p {
		how := conn.Closed{Code: 1000, Reason: "left the document"}
		if x.ended != nil {
			how = *x.ended
		}
		x.mu.Unlock()
		seat.Leave(how)
		return
	}
	p.seat = seat
	p.again.In()
	resumes := p.resumes
	p.resumes = true
	early := p.ending
	p.ending = nil
	x.mu.Unlock()
	s.Drain() // what was sent by joining may wait
	if early != nil && early.stream == s {
		p.end(s, early.how.Code, early.how.Reason, early.how.Err)
		return
	}
	if resumes {
		if err := s.Resume(); err != nil {
			s.Fail(err)
		}
	}
	for {
		x.mu.Lock()
		if p.seat != seat { // it has ended
			x.mu.Unlock()
			return
		}
		if len(p.held) == 0 {
			p.open = true
			x.pending--
			if p.tokens != tokens && !p.judging { // the client knew already that it is in
				p.judging = true
				x.spawn(p.confirm)
			}
			x.mu.Unlock()
			return
		}
		m := p.held[0]
		p.held = p.held[1:]
		x.heldBytes -= len(m.Payload)
		x.heldFrames--
		p.taking.Lock()
		x.mu.Unlock()
		s.Take(m, len(m.Payload))
		p.taking.Unlock()
	}
}

// awaitDelivery waits until no message is being given to a session that has ended.
func (p *place) awaitDelivery() {
	p.taking.Lock()
	defer p.taking.Unlock()
}

// end is for session.Channel: the stream's end, by whomever. For what passes, and when the
// document is elsewhere now, the client is let in again without its knowing; else it hears
// that it is not in the document any more, and nothing that it sends is taken or
// acknowledged until it authenticates anew.
func (p *place) end(s session.Stream, code int, reason string, why error) {
	x := p.mux
	how := conn.Closed{Code: code, Reason: reason, Ours: true, Err: why}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.places[p.address] != p {
		return
	}
	if p.seat == nil {
		if p.ending == nil || p.ending.stream != s { // the first end counts
			p.ending = &ending{s, how} // begin will see it
		}
		return
	}
	if p.seat.Stream() != s {
		return
	}
	seat := p.seat
	s.Detach()
	goesOn := passes(code) || code == closecode.Redirect
	if !goesOn || x.host.Draining() {
		p.seat = nil
		x.remove(p)
		if goesOn {
			x.spawn(func() { x.giveUp(closecode.Restart, closecode.ReasonRestart) })
		} else {
			p.deny(reason)
		}
		x.spawn(func() { seat.Leave(how) })
		return
	}
	p.seat, p.joins, p.since = nil, false, time.Now()
	if p.open {
		p.open = false
		x.pending++
	}
	wait := p.again.Next() // a home that takes the client in may end it each time
	x.spawn(func() {
		p.awaitDelivery()
		seat.Leave(how)
		if pause.Between(x.ctx, wait/2, wait) && !p.over() {
			p.enter()
		}
	})
}

// leave ends a place because the client wants to. It is called with mu, and unlocks it.
func (x *Mux) leave(p *place, how conn.Closed) {
	seat := p.seat
	p.seat = nil
	x.remove(p)
	x.mu.Unlock()
	if seat != nil {
		seat.Stream().Detach()
		x.spawn(func() { seat.Leave(how) })
	}
}

// confirm judges other tokens of a client that is in the document, until the latest has
// been. A client may send any number: what waits is one goroutine and one token.
func (p *place) confirm() {
	x := p.mux
	for {
		request, tokens := p.request()
		x.mu.Lock()
		seat := p.seat
		if x.places[p.address] != p || seat == nil {
			p.judging = false // who is let in again is judged by the latest token
			x.mu.Unlock()
			return
		}
		x.mu.Unlock()
		err := x.host.Confirm(x.ctx, request, seat)
		x.mu.Lock()
		if err == nil && x.places[p.address] == p && p.seat == seat {
			x.write(p.address, wire.Granted, []byte(p.scope))
		}
		last := p.tokens == tokens
		p.judging = !last
		x.mu.Unlock()
		switch {
		case errors.Is(err, ErrRights): // enter takes the latest token, and tells of the rights
			p.end(seat.Stream(), closecode.TryAgain, "Other rights", err)
		case err != nil:
			if code, reason := x.host.Answer(err); !passes(code) {
				p.end(seat.Stream(), code, reason, err)
			}
		}
		if last {
			return
		}
	}
}

package relay

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/carry"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/live"
	"github.com/wsnode/wsnode/relay/quota"
	"github.com/wsnode/wsnode/relay/ratelimit"
	"github.com/wsnode/wsnode/relay/room"
	"github.com/wsnode/wsnode/relay/session"
	"github.com/wsnode/wsnode/relay/ystore"
)

// visit is one client's stay, from its handshake to its end.
type visit struct {
	node     *Node
	grant    *authn.Grant
	doc      docid.Document
	readOnly bool
	place    *quota.Place   // in the app's limits, given back by leave
	live     *live.Document // the place in the document, given back by leave
	guard    *guard
	session  *session.Session
	seat     *room.Seat // set before the visit is on the roster
	client
	span  *span  // of the connect; nil once that is over
	id    uint64 // in the node's roster; owned by run
	first atomic.Pointer[first]
}

// client is who is at the other end of a connection, as far as the node can see.
type client struct {
	remote, userAgent, origin string

	arrival *carry.Arrival // nil: no other region carries it here
}

// connect takes a WebSocket handshake from token to session. Looking precedes
// reserving precedes claiming, so a refused client leaves nothing behind. A
// client that is refused is accepted and then closed with a code, because
// browsers see nothing else.
func (n *Node) connect(w http.ResponseWriter, r *http.Request) {
	if !n.enter() { // from here on: once hijacked, a connection is not its server's to wait for
		writeError(w, http.StatusServiceUnavailable, "unavailable", "The node has ended")
		return
	}
	defer n.done.Done()
	start := time.Now()
	target, nameErr := docid.ParseTarget(r.RequestURI)
	credentials := authn.FromRequest(r, target.Query, !n.cfg.NoQueryToken)
	arrival, address, ours := n.arrive(w, r, credentials.Token, n.address(r))
	if !ours {
		return
	}
	name := strings.Clone(target.Name) // the request line, of which it is a part, holds the token
	v := n.newVisit(client{remote: remote(r, address), userAgent: r.UserAgent(), origin: r.Header.Get("Origin"), arrival: arrival}, name)
	met := n.standing(address, credentials.Token)
	switch {
	case met == blocked:
		n.tooMany(w, v, blockedDetail)
		return
	case n.gate.full(address):
		n.tooMany(w, v, fullDetail)
		return
	}

	// A client could have itself traced, and everybody else not.
	v.span = n.startSpan(r.Header, ratelimit.FromProxy(r, n.gate.limits.TrustedProxies))
	ctx, cancel := context.WithTimeout(n.ctx, handshakeTimeout)
	defer cancel()
	err := (&admission{visit: v, address: address, token: credentials.Token, name: name, nameErr: nameErr}).admit(ctx)
	n.cfg.Metrics.Handshake(time.Since(start))
	v.endSpan(err)
	switch {
	case err != nil && n.mayBeShared(v, err):
		if c, acceptErr := conn.Accept(w, r, credentials.Subprotocol); acceptErr == nil {
			n.awaitFirst(c, v, err, address, credentials.Token, v.elsewhere(err) != nil && n.wantsCarrying(v, target.Query))
		}
		return
	case err == nil:
		n.gate.admits(address) // it is in, even if others came at the same moment
	case counts(err):
		n.gate.rates.Refuse(address, credentials.Token)
		if met == suspect {
			n.tooMany(w, v, blockedDetail)
			return
		}
	case n.gate.crowded(address, err):
		n.tooMany(w, v, crowdedDetail)
		return
	}

	c, acceptErr := conn.Accept(w, r, credentials.Subprotocol)
	switch {
	case acceptErr != nil: // it has been answered
		v.leave()
	case err != nil:
		refusal := answer(err)
		n.refused(v, refusal, err)
		n.done.Go(func() { c.Refuse(refusal.code, refusal.reason) })
	default:
		// A goroutine of its own, so that net/http's deep stack is freed.
		n.done.Add(1)
		v.first.Store(&first{address: address, token: credentials.Token})
		go v.run(c)
	}
}

func (n *Node) newVisit(c client, name string) *visit {
	v := &visit{node: n, client: c}
	v.doc.Name = withoutTokens(name) // until the token says whose it is
	return v
}

// remote is the client as far as the node can see: the address that a trusted
// proxy names, else the one that connects, with its port.
func remote(r *http.Request, client netip.Addr) string {
	if direct := ratelimit.ClientIP(r, nil); client != direct {
		return client.String()
	}
	return r.RemoteAddr
}

// rateLimited is the outcome of a handshake that was answered with 429.
const rateLimited = "rate_limited"

// tooMany refuses a client that comes too often, before it costs more.
func (n *Node) tooMany(w http.ResponseWriter, v *visit, why string) {
	n.recent.count(rateLimited)
	n.recent.refuse(control.Refusal{
		Code: http.StatusTooManyRequests, Reason: tooOften, Detail: why, Document: control.NewDocument(v.doc),
		Remote: v.remote, UserAgent: v.userAgent, Origin: v.origin, Request: "connect",
	})
	tooMany(w)
}

// endSpan ends the trace of the connect. A redirect is no failure.
func (v *visit) endSpan(err error) {
	outcome := admitted
	if err != nil {
		outcome = answer(err).kind
	}
	v.span.set("wsnode.outcome", outcome)
	v.span.set("wsnode.tenant", string(v.doc.Tenant))
	v.span.set("wsnode.app", string(v.doc.App))
	v.span.set("wsnode.document", v.doc.Name)
	if outcome == redirected {
		err = nil
	}
	v.span.end(err)
	v.span = nil
}

// run is the session. It may rest without a goroutine, so that its end comes by
// itself: then everything is given back in reverse.
func (v *visit) run(c *conn.Conn) {
	n := v.node
	n.gate.gauge.Enter()
	v.guard = n.gate.guard(v.grant)
	v.session = session.New(c, &n.cfg.Sessions, v.guard, v.readOnly)
	if v.arrival != nil && v.arrival.Counts {
		v.session.Relayed()
	}
	share := n.gate.shares.enter(v.grant.AppID())
	v.session.Charge(share)
	c.Attach(&n.cfg.Conns, n.keepalive, (*alone)(v), v.guard, share)
	if err := v.join(); err != nil {
		c.Refuse(closecode.TryAgain, closecode.ReasonTryAgain)
		v.giveBack()
		return
	}
	c.Run((*alone)(v).closed)
}

// join seats the session.
func (v *visit) join() (err error) {
	n := v.node
	if v.seat, err = v.live.Room().Join(v.session, v.grant.User); err != nil {
		return err
	}
	if v.arrival != nil && v.arrival.Counts {
		v.seat.Counts()
	}
	v.session.Sit(v.seat)
	n.recent.count(admitted)
	v.id = n.sessions.Add(v)
	// What began between the check and here.
	if n.draining.Load() {
		v.session.Close(closecode.Restart, closecode.ReasonRestart)
	}
	if err := n.docs.Away(v.live); err != nil {
		told := answer(err)
		v.session.Close(told.code, told.reason)
	}
	return nil
}

// end is the session's end.
func (v *visit) end(closed conn.Closed) {
	v.node.traffic.leave(v.node, v)
	v.seat.Leave()
	v.ended(closed)
	v.session.Detach() // what waited is counted no more
	v.giveBack()
}

// giveBack undoes what run began with, and what admit took.
func (v *visit) giveBack() {
	v.guard.close()
	v.node.gate.shares.leave(v.grant.AppID())
	v.node.gate.gauge.Leave()
	v.leave()
	v.node.done.Done()
}

// leave gives back what admit took.
func (v *visit) leave() {
	if v.live != nil {
		v.node.docs.Leave(v.live)
	}
	if v.place != nil {
		v.place.Leave()
	}
	v.live, v.place = nil, nil
}

// refused logs why a client was turned away: at debug what clients do every day,
// at info what an operator may be asked about.
func (n *Node) refused(v *visit, a refusal, err error) {
	n.recent.count(a.kind)
	if n.cfg.Refused != nil {
		n.cfg.Refused(v.doc, a.code, a.reason)
	}
	if a.code == closecode.Redirect {
		n.log.Debug("redirected", "document", v.doc.String(), "reason", a.reason, "remote", v.remote)
		return
	}
	n.recent.refuse(control.Refusal{
		Code: a.code, Reason: a.reason, Detail: err.Error(), Document: control.NewDocument(v.doc),
		Remote: v.remote, UserAgent: v.userAgent, Origin: v.origin, Request: "connect",
	})
	n.log.Info("refused", "code", a.code, "reason", a.reason, "name", v.doc.Name, "remote", v.remote, "err", err)
}

// SessionEnded is the message of the log line that each session ends with.
const SessionEnded = "session ended"

// ended writes the whole story of a session in one line.
func (v *visit) ended(c conn.Closed) {
	s := v.session.Stats()
	v.node.recent.end(control.Ended{Session: v.row(v.id, s), Code: c.Code, Reason: c.Reason, ByNode: c.Ours})
	v.node.log.Info(SessionEnded, append([]any{"document", v.doc.String(), "code", c.Code, "reason", c.Reason, "by_node", c.Ours,
		"remote", v.remote, "user_agent", clip(v.userAgent), "session", control.SessionID(v.id), "seconds", time.Since(s.Since).Seconds(),
		"frames_in", s.FramesIn, "frames_out", s.FramesOut, "bytes_in", s.BytesIn, "bytes_out", s.BytesOut}, because(c.Err)...)...)
}

// because says in a log line what a client sent that ended its session.
func because(err error) (args []any) {
	if err == nil {
		return nil
	}
	args = []any{"err", err.Error()}
	if message := (*session.MessageError)(nil); errors.As(err, &message) {
		args = append(args, "message", message.Kind.String())
	}
	if update := (*ystore.UpdateError)(nil); errors.As(err, &update) {
		args = append(args, "offset", update.Offset, "cause", update.Cause.String())
	}
	return args
}

var _ room.Member = (*session.Session)(nil)

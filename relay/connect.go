package relay

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/ratelimit"
)

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
	h := n.newHandshake(client{remote: remote(r, address), userAgent: r.UserAgent(), origin: r.Header.Get("Origin"), arrival: arrival}, address, credentials.Token, name, nameErr)
	met := n.standing(address, credentials.Token)
	switch {
	case met == blocked:
		n.tooMany(w, h, blockedDetail)
		return
	case n.gate.full(address):
		n.tooMany(w, h, fullDetail)
		return
	}

	// A client could have itself traced, and everybody else not.
	h.span = n.startSpan(r.Header, ratelimit.FromProxy(r, n.gate.limits.TrustedProxies))
	ctx, cancel := context.WithTimeout(n.ctx, handshakeTimeout)
	defer cancel()
	err := h.admit(ctx)
	n.cfg.Metrics.Handshake(time.Since(start))
	h.endSpan(err)
	switch {
	case err != nil && n.mayBeShared(h, err):
		if c, acceptErr := conn.Accept(w, r, credentials.Subprotocol); acceptErr == nil {
			n.awaitFirst(c, h, err, h.elsewhere(err) != nil && n.wantsCarrying(h, target.Query))
		}
		return
	case err == nil:
		n.gate.admits(address) // it is in, even if others came at the same moment
	case counts(err):
		n.gate.rates.Refuse(address, credentials.Token)
		if met == suspect {
			n.tooMany(w, h, blockedDetail)
			return
		}
	case n.gate.crowded(address, err):
		n.tooMany(w, h, crowdedDetail)
		return
	}

	c, acceptErr := conn.Accept(w, r, credentials.Subprotocol)
	switch {
	case acceptErr != nil: // it has been answered
		h.giveBack()
	case err != nil:
		refusal := answer(err)
		n.refused(h, refusal, err)
		n.done.Go(func() { c.Refuse(refusal.code, refusal.reason) })
	default:
		// A goroutine of its own, so that net/http's deep stack is freed.
		n.done.Add(1)
		s := &seated{admission: h.admission}
		s.first.Store(&first{address: address, token: credentials.Token})
		go s.run(c)
	}
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
func (n *Node) tooMany(w http.ResponseWriter, h *handshake, why string) {
	n.recent.count(rateLimited)
	n.recent.refuse(control.Refusal{
		Code: http.StatusTooManyRequests, Reason: tooOften, Detail: why, Document: control.NewDocument(h.doc),
		Remote: h.remote, UserAgent: h.userAgent, Origin: h.origin, Request: "connect",
	})
	tooMany(w)
}

// refused logs why a client was turned away: at debug what clients do every day,
// at info what an operator may be asked about.
func (n *Node) refused(h *handshake, a refusal, err error) {
	n.recent.count(a.kind)
	if n.cfg.Refused != nil {
		n.cfg.Refused(h.doc, a.code, a.reason)
	}
	if a.code == closecode.Redirect {
		n.log.Debug("redirected", "document", h.doc.String(), "reason", a.reason, "remote", h.remote)
		return
	}
	n.recent.refuse(control.Refusal{
		Code: a.code, Reason: a.reason, Detail: err.Error(), Document: control.NewDocument(h.doc),
		Remote: h.remote, UserAgent: h.userAgent, Origin: h.origin, Request: "connect",
	})
	n.log.Info("refused", "code", a.code, "reason", a.reason, "name", h.doc.Name, "remote", h.remote, "err", err)
}

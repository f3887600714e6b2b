package relay

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/ratelimit"
)

// connect takes a WebSocket handshake from token to session. Looking precedes
// reserving precedes claiming, so a refused client leaves nothing behind. A
// client that is refused is accepted and then closed with a code, because
// browsers see nothing else.
func (n *Node) connect(w http.ResponseWriter, r *http.Request) {
	if !n.life.enter() { // from here on: once hijacked, a connection is not its server's to wait for
		writeError(w, http.StatusServiceUnavailable, "unavailable", "The node has ended")
		return
	}
	defer n.life.leave()
	start := time.Now()
	target, _ := docid.ParseTarget(r.RequestURI) // a name that is invalid is empty
	credentials := authn.FromRequest(r, target.Query, !n.cfg.NoQueryToken)
	arrival, address, ours := n.arrive(w, r, credentials.Token, n.gate.address(r))
	if !ours {
		return
	}
	name := strings.Clone(target.Name) // the request line, of which it is a part, holds the token
	h := n.newHandshake(client{remote: remote(r, address), userAgent: r.UserAgent(), origin: r.Header.Get("Origin"), arrival: arrival}, address, credentials.Token, name)
	met := n.gate.standing(address, credentials.Token)
	switch {
	case met == blocked:
		n.tooMany(w, h, blockedDetail)
		return
	case n.gate.full(address):
		n.tooMany(w, h, fullDetail)
		return
	}

	// A client could have itself traced, and everybody else not.
	h.span = startSpan(n.life.ctx, n.cfg.tracer, r.Header, ratelimit.FromProxy(r, n.gate.limits.TrustedProxies))
	ctx, cancel := context.WithTimeout(n.life.ctx, handshakeTimeout)
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
	case n.gate.blames(address, credentials.Token, err):
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
		n.recent.turnedAway(h, refusal, err)
		n.life.Go(func() { c.Refuse(refusal.code, refusal.reason) })
	default:
		// A goroutine of its own, so that net/http's deep stack is freed.
		n.life.add()
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
	n.recent.limited(h, why)
	tooMany(w)
}

package relay

import (
	"context"
	"errors"
	"net/netip"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/carry"
	"github.com/wsnode/wsnode/relay/live"
	"github.com/wsnode/wsnode/relay/quota"
)

// admission is who a client is, and what it was given: rights in a document, and until
// giveBack a place in its app's limits and a hold on the document.
type admission struct {
	node *Node
	client
	grant    *authn.Grant
	doc      docid.Document
	readOnly bool
	place    *quota.Place
	live     *live.Document
}

// client is who is at the other end of a connection, as far as the node can see.
type client struct {
	remote, userAgent, origin string

	arrival *carry.Arrival // nil: no other region carries it here
}

// giveBack gives back what was taken up.
func (a *admission) giveBack() {
	if a.live != nil {
		a.node.docs.Leave(a.live)
	}
	if a.place != nil {
		a.place.Leave()
	}
	a.live, a.place = nil, nil
}

// handshake is a client's way from its token to its admission: with y-websocket's wire that
// of a connection, with Hocuspocus' that of each document on it. It is over when it has been
// refused, or its admission taken.
type handshake struct {
	admission
	address netip.Addr
	token   string
	name    string            // of the document; empty: invalid, which is said after the token was judged
	via     *quota.Connection // nil: the client has its connection to itself
	span    *span             // nil once that is over
}

func (n *Node) newHandshake(c client, address netip.Addr, token, name string) *handshake {
	h := &handshake{admission: admission{node: n, client: c}, address: address, token: token, name: name}
	h.doc.Name = withoutTokens(name) // until the token says whose it is
	return h
}

// admit goes from the token to a place in the document.
func (h *handshake) admit(ctx context.Context) error {
	if err := h.qualify(ctx); err != nil {
		return err
	}
	err := h.enter(ctx)
	if err != nil {
		h.giveBack()
	}
	return err
}

// qualify goes from the token to a place in the app's limits.
func (h *handshake) qualify(ctx context.Context) (err error) {
	n := h.node
	turn := turn{slots: n.gate.slots}
	if err := turn.take(ctx); err != nil {
		return err
	}
	defer turn.end()
	step := h.span.child("verify token")
	// A slow issuer must not take up slots that others need.
	h.grant, err = n.gate.verify(ctx, h.token, n.gate.caller(h.address, func(keys func()) error { return turn.outside(ctx, keys) }))
	if step.end(err); err != nil {
		return err
	}
	h.doc = h.grant.Document(h.name)
	if !h.grant.AllowsOrigin(h.origin) {
		return errOrigin
	}
	if h.name == "" {
		return docid.ErrName
	}
	access, granted := h.grant.Access(h.name)
	if !granted {
		return errDocument
	}
	h.readOnly = access == authn.ReadOnly
	switch {
	case n.life.draining():
		return errDraining
	case n.gate.gauge.Overloaded():
		return errOverloaded
	}
	if err := n.homes.resides(ctx, h.doc, docid.Region(h.grant.RegionCode)); err != nil {
		return err
	}
	if err := h.look(ctx); err != nil {
		return err
	}
	step = h.span.child("reserve place")
	h.place, err = n.gate.places.Admit(ctx, h.doc, plan(h.grant), h.via)
	if exceeded := (*quota.ExceededError)(nil); errors.As(err, &exceeded) {
		made := false
		if err := turn.outside(ctx, func() { made = n.aliveChecks.makeRoom(ctx, h.doc, exceeded.Kind) }); err != nil {
			step.end(err)
			return err
		}
		if made {
			h.place, err = n.gate.places.Admit(ctx, h.doc, plan(h.grant), h.via)
		}
	}
	step.end(err)
	return err
}

// enter goes from there into the document. Clients whose document is not open here have
// slots of their own: while the region's history does not answer, they must not take those
// of clients whose document is.
func (h *handshake) enter(ctx context.Context) (err error) {
	n := h.node
	if n.docs.Get(h.doc) == nil {
		if err := n.gate.loads.enter(ctx); err != nil {
			return err
		}
		defer n.gate.loads.leave()
	}
	step := h.span.child("enter document")
	h.live, err = n.docs.Enter(ctx, h.doc)
	step.end(err)
	return err
}

// look finds out whether the document lives elsewhere, so that a client that is to be
// redirected takes up no place in its app's limits. Without limits there is none to take
// up, and claiming finds out the same.
func (h *handshake) look(ctx context.Context) error {
	n := h.node
	if plan(h.grant).Within(n.gate.limits.Ceilings) == (quota.Plan{}) || n.docs.Get(h.doc) != nil {
		return nil
	}
	pin, state, err := n.cfg.Registry.Lookup(ctx, h.doc)
	switch {
	case errors.Is(err, kvpin.ErrUnavailable):
		return nil // the region may have it
	case err != nil:
		return err
	case pin.Region != n.cfg.Region && (state == kvpin.Live || state == kvpin.Grace):
		return n.homes.redirect(ctx, h.doc, pin)
	}
	return nil
}

// endSpan ends the trace of the connect. A redirect is no failure.
func (h *handshake) endSpan(err error) {
	outcome := admitted
	if err != nil {
		outcome = answer(err).kind
	}
	h.span.set("wsnode.outcome", outcome)
	h.span.set("wsnode.tenant", string(h.doc.Tenant))
	h.span.set("wsnode.app", string(h.doc.App))
	h.span.set("wsnode.document", h.doc.Name)
	if outcome == redirected {
		err = nil
	}
	h.span.end(err)
	h.span = nil
}

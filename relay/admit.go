package relay

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/quota"
)

// admission is a visit's way into its document.
type admission struct {
	*visit
	address netip.Addr
	token   string
	name    string // of the document
	nameErr error  // told only to whom the token lets ask
}

// admit goes from the token to a place in the document.
func (a *admission) admit(ctx context.Context) error {
	if err := a.qualify(ctx); err != nil {
		return err
	}
	err := a.enter(ctx)
	if err != nil {
		a.leave()
	}
	return err
}

// qualify goes from the token to a place in the app's limits.
func (a *admission) qualify(ctx context.Context) (err error) {
	n := a.node
	turn := turn{slots: n.gate.slots}
	if err := turn.take(ctx); err != nil {
		return err
	}
	defer turn.end()
	step := a.span.child("verify token")
	// A slow issuer must not take up slots that others need.
	a.grant, err = n.verify(ctx, a.token, n.gate.caller(a.address, func(keys func()) error { return turn.outside(ctx, keys) }))
	if step.end(err); err != nil {
		return err
	}
	a.doc = a.grant.Document(a.name)
	if !a.grant.AllowsOrigin(a.origin) {
		return errOrigin
	}
	if a.nameErr != nil {
		return a.nameErr
	}
	access, granted := a.grant.Access(a.name)
	if !granted {
		return errDocument
	}
	a.readOnly = access == authn.ReadOnly
	switch {
	case n.draining.Load():
		return errDraining
	case n.gate.gauge.Overloaded():
		return errOverloaded
	}
	if err := n.resides(ctx, a.doc, docid.Region(a.grant.RegionCode)); err != nil {
		return err
	}
	if err := a.look(ctx); err != nil {
		return err
	}
	step = a.span.child("reserve place")
	a.place, err = n.gate.places.Admit(ctx, a.doc, plan(a.grant))
	if exceeded := (*quota.ExceededError)(nil); errors.As(err, &exceeded) {
		made := false
		if err := turn.outside(ctx, func() { made = n.makeRoom(ctx, a.doc, exceeded.Kind) }); err != nil {
			step.end(err)
			return err
		}
		if made {
			a.place, err = n.gate.places.Admit(ctx, a.doc, plan(a.grant))
		}
	}
	step.end(err)
	return err
}

// enter goes from there into the document. While the region's history does not
// answer, those who wait for it must not keep out whose documents are open.
func (v *visit) enter(ctx context.Context) (err error) {
	n := v.node
	if n.docs.Get(v.doc) == nil {
		if err := n.gate.loads.enter(ctx); err != nil {
			return err
		}
		defer n.gate.loads.leave()
	}
	step := v.span.child("enter document")
	v.live, err = n.docs.Enter(ctx, v.doc)
	step.end(err)
	return err
}

// look finds out whether the document lives elsewhere, so that nobody takes up a
// place of an app who is to be redirected. Without limits there is nothing to
// take up, and claiming will tell.
func (v *visit) look(ctx context.Context) error {
	n := v.node
	if plan(v.grant).Within(n.gate.limits.Ceilings) == (quota.Plan{}) || n.docs.Get(v.doc) != nil {
		return nil
	}
	pin, state, err := n.cfg.Registry.Lookup(ctx, v.doc)
	switch {
	case errors.Is(err, kvpin.ErrUnavailable):
		return nil // the region may have it
	case err != nil:
		return err
	case pin.Region != n.cfg.Region && (state == kvpin.Live || state == kvpin.Grace):
		return n.redirect(ctx, v.doc, pin)
	}
	return nil
}

// verify checks the token and whether its license region is served here.
func (n *Node) verify(ctx context.Context, token string, by authn.Caller) (*authn.Grant, error) {
	grant, err := n.cfg.Verifier.VerifyFor(ctx, token, by)
	if err != nil {
		return nil, err
	}
	if !n.cfg.Registry.Serves(grant.License) {
		return nil, errLicense
	}
	return grant, nil
}

// redirect is returned for a document that lives in another region.
func (n *Node) redirect(ctx context.Context, doc docid.Document, pin kvpin.Pin) error {
	if !n.settings(doc.AppID()).In(pin.Region) {
		return fmt.Errorf("%w: it still lives in %s", errNoResidence, pin.Region)
	}
	url, err := n.cfg.Registry.RegionURL(ctx, pin.Region)
	if err != nil {
		return err
	}
	return &redirectError{region: pin.Region, url: url, name: doc.Name}
}

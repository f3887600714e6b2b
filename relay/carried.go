package relay

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/apps"
	"github.com/wsnode/wsnode/relay/carry"
	"github.com/wsnode/wsnode/relay/carry/mark"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/mux"
	"github.com/wsnode/wsnode/relay/ratelimit"
	"github.com/wsnode/wsnode/relay/session"
)

// Clients whose document is at home in another region are carried there: those of
// Hocuspocus, whose provider knows no redirect, always; those of y-websocket where they or
// the operator want it. Who comes from another node that carries is never carried on.

// carriedAway is the outcome of a handshake whose client is carried.
const carriedAway = "carried"

// misdirected is the outcome of a handshake that another region meant for a third one.
const misdirected = "misdirected"

// carrySecrets are the registries': carry.Secrets.
type carrySecrets struct{ *kvpin.Registry }

func (s carrySecrets) Secret(ctx context.Context, license docid.LicenseRegion) (mark.Secret, error) {
	secret, err := s.CarrySecret(ctx, license)
	return mark.Secret{ID: secret.ID, Key: secret.Key}, err
}

func (s carrySecrets) SecretOf(ctx context.Context, license docid.LicenseRegion, id string) (mark.Secret, error) {
	secret, err := s.CarrySecretOf(ctx, license, id)
	return mark.Secret{ID: secret.ID, Key: secret.Key}, err
}

func newCarrier(cfg *Config) *carry.Carrier {
	return carry.New(carry.Config{
		Region: cfg.Region, Secrets: carrySecrets{cfg.Registry}, Log: cfg.Log,
		MaxMessageBytes: cfg.Sessions.MaxMessageBytes, MaxDocumentBytes: cfg.Sessions.MaxDocumentBytes, QueueBytes: cfg.Sessions.QueueBytes,
	})
}

// arrive looks whether another region carries the client here, and returns the address
// that it counts for. ok is false if it was meant for a third region, or is no client but
// a check: that has been answered.
func (n *Node) arrive(w http.ResponseWriter, r *http.Request, token string, direct netip.Addr) (a *carry.Arrival, address netip.Addr, ok bool) {
	a = n.carrier.Marked(r.Context(), r, token)
	switch {
	case a == nil:
		return nil, direct, true
	case a.To != "" && a.To != n.cfg.Region:
		n.recent.count(misdirected)
		writeError(w, http.StatusMisdirectedRequest, misdirected, "This is another region")
		return a, direct, false
	case a.Check:
		n.tellCheck(w, r, a, direct)
		return a, direct, false
	case a.Address.IsValid():
		return a, ratelimit.Group(a.Address), true
	}
	return a, direct, true
}

// tellCheck answers a check, which is dialled as a carried client would be: the way here,
// with all proxies on it, is part of what it looks at. It counts for the address that makes
// it as a handshake does.
func (n *Node) tellCheck(w http.ResponseWriter, r *http.Request, a *carry.Arrival, direct netip.Addr) {
	why := ""
	switch {
	case n.gate.standing(direct, "") == blocked: // all checks have one token: it is not counted
		why = blockedDetail
	case a.Why != nil:
		n.gate.rates.Refuse(direct, "")
	case !n.gate.admits(direct):
		why = fullDetail
	}
	if why != "" {
		n.tooMany(w, n.newHandshake(client{remote: remote(r, direct), userAgent: r.UserAgent()}, direct, "", ""), why)
		return
	}
	said := checked(a, r, n.gate.limits.TrustedProxies)
	if a.Why != nil {
		n.log.Debug("the mark of a check is not to be believed", "remote", remote(r, direct), "err", a.Why)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, said.Text())
		return
	}
	if c, err := conn.Accept(w, r, ""); err == nil {
		n.life.Go(func() { c.Refuse(mark.CodeChecked, said.Text()) })
	}
}

// checked is what a check is told. Of a mark that is not believed it is only why, and nothing
// of what the registry said, which may name what is inside: anybody may ask.
func checked(a *carry.Arrival, r *http.Request, trusted []netip.Prefix) (said mark.Answer) {
	switch {
	case a.Why == nil:
		said.Peer = ratelimit.Peer(r)
		said.Unheeded = r.Header.Get("X-Forwarded-For") != "" && !ratelimit.FromProxy(r, trusted)
	case authn.FromRequest(r, nil, true).Token != mark.CheckToken:
		said.Why = "the header Authorization did not arrive with it"
	case errors.Is(a.Why, kvpin.ErrNotServed):
		said.Why = "its license region is not served here"
	case errors.Is(a.Why, kvpin.ErrNotFound):
		said.Why = "the registry here does not have its secret"
	case errors.Is(a.Why, mark.ErrSecret):
		said.Why = "the registry here could not be asked for its secret"
	default:
		said.Why = a.Why.Error()
	}
	return said
}

// wantsCarrying reports whether a client of y-websocket is to be carried rather than
// redirected. The app's setting, which only a good token names, stands above the node's,
// and what the client says above both.
func (n *Node) wantsCarrying(h *handshake, query url.Values) bool {
	said := apps.Elsewhere(query.Get("elsewhere"))
	if !said.Valid() {
		said = n.cfg.Elsewhere
		if h.grant != nil {
			if s := n.homes.settings(h.grant.AppID()).Elsewhere; s != "" {
				said = s
			}
		}
	}
	return said == apps.Carry
}

// elsewhere is where the client may be carried, if err says that its document is elsewhere.
func (a *admission) elsewhere(err error) *redirectError {
	to := (*redirectError)(nil)
	if errors.As(err, &to) && !to.bound && a.arrival == nil {
		return to
	}
	return nil
}

// seating is a connection that goes on when a client's seat ends.
type seating struct {
	conn    *conn.Conn
	channel *session.Channel
	alone   bool // y-websocket's wire
	granted func(readOnly bool)
}

// take seats a client whose admission came to err: here, or where its document is.
func (n *Node) take(ctx context.Context, h *handshake, err error, on seating) (mux.Seat, error) {
	if to := h.elsewhere(err); to != nil {
		return n.carry(ctx, h, to, on)
	}
	if err != nil {
		return nil, err
	}
	n.gate.admits(h.address)
	n.life.add()
	share := n.gate.enter(h.grant.AppID())
	s := &seated{admission: h.admission, guard: n.gate.guard(h.grant)}
	if on.alone {
		s.session = session.New(on.conn, &n.cfg.Sessions, s.guard, s.readOnly)
	} else {
		s.session = session.NewShared(on.conn, &n.cfg.Sessions, s.guard, s.readOnly, on.channel)
	}
	s.session.Charge(share)
	on.granted(s.readOnly)
	if err := s.join(); err != nil {
		s.giveBack()
		return nil, err
	}
	return s, nil
}

// carried is a client that is carried: mux.Seat and carry.Seat. The node counts it for its
// own load alone; users, documents and operations count at home.
type carried struct {
	admission
	home  docid.Region
	link  *carry.Link
	share *conn.Share
	since time.Time
	id    uint64 // in the roster; set by clients
}

// carry takes a client to its document's home.
func (n *Node) carry(ctx context.Context, h *handshake, to *redirectError, on seating) (mux.Seat, error) {
	link, err := n.carrier.Dial(ctx, carry.Request{
		Home: to.region, URL: documentURL(to.url, to.name), License: h.doc.License, Token: h.token,
		Address: h.address, Origin: h.origin, UserAgent: h.userAgent,
		ReadOnly: h.readOnly, Conn: on.conn, Channel: on.channel,
	})
	if err != nil {
		return nil, err
	}
	n.gate.admits(h.address)
	n.life.add()
	n.recent.count(carriedAway)
	c := &carried{admission: h.admission, home: to.region, link: link, share: n.gate.enter(h.grant.AppID()), since: time.Now()}
	link.Charge(c.share)
	n.clients.addCarried(c)
	on.granted(h.readOnly)
	link.Start(n.life.Go)
	if n.life.draining() { // since admission
		c.end(closecode.Restart, closecode.ReasonRestart)
	}
	return c, nil
}

func (c *carried) Stream() session.Stream { return c.link }
func (c *carried) ReadOnly() bool         { return c.readOnly }
func (c *carried) Share() *conn.Share     { return c.share }

// end ends the client's stay, soon.
func (c *carried) end(code int, reason string) { c.link.End(code, reason) }

// Leave is for mux.Seat.
func (c *carried) Leave(how conn.Closed) {
	n := c.node
	c.link.Leave()
	n.clients.removeCarried(c)
	in, out, bytesIn, bytesOut := c.link.Traffic()
	n.log.Info("carried session ended", append([]any{"document", c.doc.String(), "home", c.home, "code", how.Code, "reason", how.Reason, "by_node", how.Ours,
		"remote", c.remote, "user_agent", clip(c.userAgent), "seconds", time.Since(c.since).Seconds(),
		"frames_in", in, "frames_out", out, "bytes_in", bytesIn, "bytes_out", bytesOut}, because(how.Err)...)...)
	n.gate.leave(c.grant.AppID())
	n.life.leave()
}

func (c *carried) cut() { c.link.Cut() }

// passenger is a client of y-websocket that is carried, with its connection to itself:
// carry.Host.
type passenger struct {
	*shared
	name string // of the document

	// Of the handshake, until the first Admit has used them.
	came *handshake
	why  error
}

// carryAlone runs a connection of y-websocket whose document is elsewhere, from its first
// message on.
func (n *Node) carryAlone(c *conn.Conn, h *handshake, why error, message []byte) {
	guard, share := n.gate.connGuard(), n.gate.shares.enter(h.grant.AppID())
	app := h.grant.AppID()
	p := &passenger{shared: &shared{node: n, client: h.client, address: h.address, token: h.token, conn: c}, name: h.doc.Name, came: h, why: why}
	client := carry.NewClient(c, p, guard, n.life.Go)
	c.Attach(&n.cfg.Conns, n.keepalive, client, guard, share)
	if code, reason, ok := client.Enter(); !ok {
		c.FirstDone()
		n.gate.shares.leave(app)
		c.Refuse(code, reason)
		return
	}
	client.Message(message)
	c.FirstDone()
	n.life.add()
	stop := context.AfterFunc(n.life.ctx, c.End)
	c.Run(func(how conn.Closed) {
		stop()
		client.End(how)
		n.gate.shares.leave(app)
		n.life.leave()
	})
}

// Admit takes the client into its document, wherever that is now.
func (p *passenger) Admit(ctx context.Context, via *session.Channel, granted func()) (carry.Seat, error) {
	n, h, err := p.node, p.came, p.why
	p.came = nil
	if h == nil {
		h, err = p.handshake(ctx, mux.Request{Name: p.name})
		h.endSpan(err)
	}
	seat, err := n.take(ctx, h, err, seating{conn: p.conn, channel: via, alone: true, granted: func(bool) { granted() }})
	if err != nil {
		n.turnAway(h, err)
		return nil, err
	}
	return seat, nil
}

// Answer is for carry.Host.
func (p *passenger) Answer(err error) (code int, reason string) {
	told := answer(err)
	return told.code, told.reason
}

// turnAway notes a client that is refused.
func (n *Node) turnAway(h *handshake, err error) {
	n.gate.blames(h.address, h.token, err)
	n.recent.turnedAway(h, answer(err), err)
}

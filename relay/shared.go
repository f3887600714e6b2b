package relay

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/carry"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/mux"
	"github.com/wsnode/wsnode/relay/quota"
	"github.com/wsnode/wsnode/relay/wire"
)

// Providers of Hocuspocus name documents and bring tokens in messages, not in the
// handshake. So a handshake that says neither, or only a token, is not refused before its
// first message has come.
const (
	firstAtRoot     = 10 * time.Second // for the first message, where no document can be
	firstElsewhere  = 2 * time.Second
	firstRedirected = time.Second      // where the document is elsewhere, and y-websocket is to be told
	firstCarried    = 30 * time.Second // where it is to be carried: as long as anybody may be silent at first
	firstBytes      = 64 << 10
	maxAwaitFirst   = 4096 // connections of the node; more are refused at once
	maxAwaitOf      = 256  // of one address, so that it does not take the places of all
	maxOutsideOf    = 1024 // connections of one address that are in no document: no limit of an app counts them
)

// mayBeShared reports whether a handshake that was refused may be one of a connection
// that several documents share.
func (n *Node) mayBeShared(h *handshake, err error) bool {
	return !n.life.draining() && (errors.Is(err, authn.ErrMissing) || errors.Is(err, docid.ErrName) || h.arrival == nil && redirects(err))
}

// awaitFirst waits for the first message of a connection whose handshake does not lead to
// a document here: it is refused unless that is a token, or carried is set.
func (n *Node) awaitFirst(c *conn.Conn, h *handshake, refused error, carried bool) {
	within, most := firstElsewhere, firstBytes
	switch {
	case carried:
		within, most = firstCarried, n.cfg.Sessions.MaxMessageBytes
	case redirects(refused):
		within = firstRedirected
	case h.doc.Name == "" && h.token == "":
		within = firstAtRoot
	}
	n.life.Go(func() {
		stop := context.AfterFunc(n.life.ctx, c.End)
		defer stop()
		share := &n.gate.nobodys
		if carried {
			share = n.gate.shares.enter(h.grant.AppID())
			defer n.gate.shares.leave(h.grant.AppID())
		}
		message, err := n.gate.awaitFirst(h.address, func() ([]byte, error) { return c.First(&n.cfg.Conns, share, within, most) })
		if err == nil && wire.IsHocuspocus(message) == wire.Token {
			n.share(c, &shared{node: n, client: h.client, address: h.address, token: h.token}, message)
			return
		}
		if err == nil && carried {
			n.carryAlone(c, h, refused, message)
			return
		}
		c.FirstDone()
		if errors.Is(err, conn.ErrCrowded) {
			refused = errOverloaded
		}
		n.turnAway(h, refused)
		told := answer(refused)
		c.Refuse(told.code, told.reason)
	})
}

// first is what is known of a connection before its first message, which may be one of
// Hocuspocus' although the handshake led to a document.
type first struct {
	address   netip.Addr
	token     string
	documents *mux.Mux // nil: the first message has not come
}

// alone is a client that has its connection to itself, unless the first message says that
// several documents share it: conn.Handler.
type alone seated

func (a *alone) Message(message []byte) time.Duration {
	f := a.first.Load()
	switch {
	case f == nil:
	case f.documents != nil:
		return f.documents.Message(message)
	case wire.IsHocuspocus(message) == wire.Token:
		return a.share(f, message)
	default:
		a.first.Store(nil)
	}
	return a.session.Message(message)
}

// share makes the connection one that several documents share. The client leaves the
// document that the handshake named, which it never wanted.
func (a *alone) share(f *first, message []byte) time.Duration {
	s := (*seated)(a)
	n, c := s.node, s.session.Conn()
	documents := mux.New(c, &shared{node: n, client: s.client, address: f.address, token: f.token, conn: c}, s.guard, n.life.Go)
	s.session.Detach()
	s.first.Store(&first{documents: documents})
	n.life.add()
	n.life.Go(func() { s.Leave(conn.Closed{Code: 1000, Reason: "several documents share the connection"}) })
	return documents.Message(message)
}

func (a *alone) Limit(head []byte) int {
	if f := a.first.Load(); f != nil && f.documents != nil {
		return f.documents.Limit(head)
	}
	return a.session.Limit(head)
}

func (a *alone) ShareOf(head []byte) *conn.Share {
	if f := a.first.Load(); f != nil && f.documents != nil {
		return f.documents.ShareOf(head)
	}
	return nil
}

func (a *alone) Drained() bool {
	if f := a.first.Load(); f != nil && f.documents != nil {
		return f.documents.Drained()
	}
	return a.session.Drained()
}

func (a *alone) KeepAlive() {
	if f := a.first.Load(); f != nil && f.documents != nil {
		f.documents.KeepAlive()
		return
	}
	a.session.KeepAlive()
}

func (a *alone) closed(how conn.Closed) {
	if f := a.first.Load(); f != nil && f.documents != nil {
		f.documents.End(how)
		a.node.life.leave()
		return
	}
	(*seated)(a).Leave(how)
}

// share runs a connection of several documents, from its first message on.
func (n *Node) share(c *conn.Conn, s *shared, first []byte) {
	guard := n.gate.connGuard()
	s.conn = c
	documents := mux.New(c, s, guard, n.life.Go)
	c.Attach(&n.cfg.Conns, n.keepalive, documents, guard, &n.gate.nobodys)
	documents.Message(first)
	c.FirstDone()
	n.life.add()
	stop := context.AfterFunc(n.life.ctx, c.End)
	c.Run(func(how conn.Closed) {
		stop()
		documents.End(how)
		n.life.leave()
	})
}

// shared is a connection that several documents share: mux.Host.
type shared struct {
	node *Node
	client
	address netip.Addr
	token   string // of the handshake, for documents that bring none
	conn    *conn.Conn
	place   quota.Connection
}

var errTooOften = errors.New("refused too often, this address or this token")

// Admit is connect for one of the documents.
func (s *shared) Admit(ctx context.Context, r mux.Request) (mux.Seat, error) {
	n := s.node
	start := time.Now()
	h, err := s.handshake(ctx, r)
	n.cfg.Metrics.Handshake(time.Since(start))
	h.endSpan(err)
	seat, err := n.take(ctx, h, err, seating{conn: s.conn, channel: r.Channel, granted: r.Granted})
	if err != nil {
		n.turnAway(h, err)
		return nil, err
	}
	return seat, nil
}

// handshake takes a client to its admission to a document.
func (s *shared) handshake(ctx context.Context, r mux.Request) (*handshake, error) {
	n := s.node
	name, _ := docid.Parse(r.Name) // empty if it is invalid
	h := n.newHandshake(s.client, s.address, s.tokenOf(r), name)
	h.via = &s.place
	if n.gate.standing(h.address, h.token) == blocked {
		return h, errTooOften
	}
	// Each document counts as a handshake would. It waits, since the client did not
	// choose to come at once: its connection has just opened.
	if n.gate.full(h.address) {
		return h, errOverloaded
	}
	h.span = startSpan(n.life.ctx, n.cfg.tracer, nil, false)
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	return h, h.admit(ctx)
}

func (s *shared) tokenOf(r mux.Request) string {
	if r.Token == "" {
		return s.token
	}
	return r.Token
}

// Confirm judges another token for a document that the client is in: it must be for the
// same document, but may give other rights.
func (s *shared) Confirm(ctx context.Context, r mux.Request, seat mux.Seat) error {
	a := admissionOf(seat)
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	grant, err := s.node.gate.verify(ctx, s.tokenOf(r), s.node.gate.caller(s.address, nil))
	if err != nil {
		return err
	}
	access, granted := grant.Access(a.doc.Name)
	switch {
	case !grant.AllowsOrigin(s.origin):
		return errOrigin
	case !granted || grant.Document(a.doc.Name) != a.doc:
		return errDocument
	case (access == authn.ReadOnly) != a.readOnly:
		return mux.ErrRights
	}
	return nil
}

// Answer says what a client is told of an error.
func (s *shared) Answer(err error) (code int, reason string) {
	switch {
	case errors.Is(err, errTooOften):
		return closecode.Rate, "Too many requests from this address; try again later"
	case errors.Is(err, carry.ErrAstray): // providers know no pause, so it is for good
		return closecode.Redirect, "The document's region cannot be reached from here; try again later"
	}
	told := answer(err)
	return told.code, told.reason
}

// Outside counts a connection without a document, until inside is called.
func (s *shared) Outside() (inside func(), ok bool) { return s.node.gate.outside(s.address) }

// Draining reports whether the node takes no clients any more.
func (s *shared) Draining() bool { return s.node.life.draining() }

// Dropped is told of a message that goes nowhere.
func (s *shared) Dropped(name string, kind wire.Kind) {
	s.node.log.Debug("a message is dropped", "kind", kind.String(), "name", withoutTokens(name), "remote", s.remote)
}

// admissionOf is what is known of a client in a seat.
func admissionOf(seat mux.Seat) *admission {
	if c, ok := seat.(*carried); ok {
		return &c.admission
	}
	return &seat.(*seated).admission
}

package carry

import (
	"context"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/carry/mark"
)

// Secrets are what the nodes of all regions share by a registry.
type Secrets interface {
	// Secret returns the one to sign with.
	Secret(context.Context, docid.LicenseRegion) (mark.Secret, error)
	// SecretOf returns one to verify with.
	SecretOf(ctx context.Context, license docid.LicenseRegion, id string) (mark.Secret, error)
}

type marks struct {
	unsigned atomic.Int64 // marks that could not be signed
}

// mark writes the mark of a client. Of one that cannot be signed the home learns only that
// it is carried, and where to; it counts the client for this node's address then.
func (c *Carrier) mark(ctx context.Context, r Request) string {
	m := mark.Mark{License: r.License, At: time.Now(), From: c.cfg.Region, To: r.Home, Address: r.Address, Wire: mark.YWebsocket}
	if r.Channel.Encoding != nil {
		m.Wire = mark.Hocuspocus
	}
	secret, err := c.cfg.Secrets.Secret(ctx, r.License)
	if err != nil {
		if c.marks.unsigned.Add(1) == 1 {
			c.cfg.Log.Warn("marks of carried clients cannot be signed: their homes count all for this node's address", "license", r.License, "error", err)
		}
		return m.Unsigned()
	}
	return m.Sign(secret, r.Token)
}

// Arrival is a client that another region carries here.
type Arrival struct {
	// Believed without a signature: to lie gains nothing.
	To     docid.Region // for which region it is
	Counts bool         // the client counts acknowledgements, by Hocuspocus' wire
	Check  bool         // it is no client, and asks what becomes of its mark

	From    docid.Region // "": the mark is not to be believed
	Address netip.Addr   // the client's; the zero Addr: not known
	Why     error        // why the mark is not to be believed
}

// Marked reads the mark of a handshake with a token. nil: it has none.
func (c *Carrier) Marked(ctx context.Context, r *http.Request, token string) *Arrival {
	text := r.Header.Get(mark.Header)
	if text == "" {
		return nil
	}
	m, err := mark.Read(text, token, func(license docid.LicenseRegion, id string) (mark.Secret, error) {
		return c.cfg.Secrets.SecretOf(ctx, license, id)
	})
	a := &Arrival{To: m.To, Counts: m.Wire == mark.Hocuspocus, Check: m.Wire == mark.Check, Why: err}
	if err == nil {
		a.From, a.Address = m.From, m.Address
	}
	if a.Check { // the check tells who makes it
		return a
	}
	c.arrived.Add(1)
	if err != nil && c.unverified.Add(1) == 1 {
		c.cfg.Log.Warn("a client is marked as carried by another region, and the mark is not to be believed: it counts for the address that connects",
			"peer", r.RemoteAddr, "error", err)
	}
	return a
}

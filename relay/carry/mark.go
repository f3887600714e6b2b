package carry

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// headerMark marks a handshake as that of a client that another region carries. It says
// who the client is, for limits by address, where it was to go, and is signed: whoever
// could write it freely could choose the address that it is counted for.
//
//	Wsnode-Carried: v1 LICENSE SECRET-ID UNIX-SECONDS FROM TO ADDRESS WIRE SIGNATURE
const headerMark = "Wsnode-Carried"

const markVersion = "v1"

// markLife is how old a mark may be, or how far ahead: clocks of nodes differ, and tokens
// that are signed along are short-lived themselves.
const markLife = 2 * time.Minute

// Secret signs marks.
type Secret struct {
	ID  string
	Key []byte
}

// Secrets are what the nodes of all regions share by a registry.
type Secrets interface {
	// Secret returns the one to sign with.
	Secret(context.Context, docid.LicenseRegion) (Secret, error)
	// SecretOf returns one to verify with.
	SecretOf(ctx context.Context, license docid.LicenseRegion, id string) (Secret, error)
}

type marks struct {
	unsigned atomic.Int64 // marks that could not be signed
}

// The wire that the client speaks.
const (
	wireYWebsocket = "y-websocket"
	wireHocuspocus = "hocuspocus"
)

// unsignedMark stands for a secret and a signature where there is none.
const unsignedMark = "-"

// mark writes the mark of a client. One that cannot be signed says only that the client is
// carried, and where to; the home counts it for this node's address then.
func (c *Carrier) mark(ctx context.Context, r Request) string {
	secret, err := c.cfg.Secrets.Secret(ctx, r.License)
	if err != nil {
		if c.marks.unsigned.Add(1) == 1 {
			c.cfg.Log.Warn("marks of carried clients cannot be signed: their homes count all for this node's address", "license", r.License, "error", err)
		}
		secret.ID = unsignedMark
	}
	address := "-"
	if r.Address.IsValid() {
		address = r.Address.String()
	}
	wire := wireYWebsocket
	if r.Channel.Encoding != nil {
		wire = wireHocuspocus
	}
	text := strings.Join([]string{
		markVersion, string(r.License), secret.ID, strconv.FormatInt(time.Now().Unix(), 10), string(c.cfg.Region), string(r.Home), address, wire,
	}, " ")
	if secret.ID == unsignedMark {
		return text + " " + unsignedMark
	}
	return text + " " + sign(secret, text, r.Token)
}

func sign(s Secret, text, token string) string {
	mac := hmac.New(sha256.New, s.Key)
	bound := sha256.Sum256([]byte(token)) // so that a mark serves nobody else
	_, _ = mac.Write(bound[:])            // a hash takes everything
	_, _ = mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// Arrival is a client that another region carries here.
type Arrival struct {
	To      docid.Region // whoever says so: nobody gains by being sent away
	From    docid.Region // "": the mark is not to be believed
	Address netip.Addr   // the client's; the zero Addr: not known
	Counts  bool         // whoever says so: the client counts what it sent, by Hocuspocus' wire
}

// Marked reads the mark of a handshake with a token. nil: it has none.
func (c *Carrier) Marked(ctx context.Context, r *http.Request, token string) *Arrival {
	text := r.Header.Get(headerMark)
	if text == "" {
		return nil
	}
	c.arrived.Add(1)
	a := new(Arrival)
	if err := c.read(ctx, a, text, token); err != nil && c.unverified.Add(1) == 1 {
		c.cfg.Log.Warn("a client is marked as carried by another region, and the mark is not to be believed: it counts for the address that connects",
			"peer", r.RemoteAddr, "error", err)
	}
	return a
}

var errMark = errors.New("no mark of this version")

// read reads a mark, and verifies what more than To it says.
func (c *Carrier) read(ctx context.Context, a *Arrival, mark, token string) error {
	f := strings.Split(mark, " ")
	if len(f) != 9 || f[0] != markVersion {
		return errMark
	}
	a.To, a.Counts = docid.Region(f[5]), f[7] == wireHocuspocus
	license, id, signature := docid.LicenseRegion(f[1]), f[2], f[8]
	at, err := strconv.ParseInt(f[3], 10, 64)
	if err != nil {
		return errMark
	}
	secret, err := c.cfg.Secrets.SecretOf(ctx, license, id)
	if err != nil {
		return err
	}
	if !hmac.Equal([]byte(signature), []byte(sign(secret, strings.Join(f[:8], " "), token))) {
		return errors.New("wrong signature")
	}
	if age := time.Since(time.Unix(at, 0)); age.Abs() > markLife {
		return fmt.Errorf("it is %s old: the clocks of two regions differ", age.Round(time.Second))
	}
	if f[6] != "-" {
		if a.Address, err = netip.ParseAddr(f[6]); err != nil {
			return errMark
		}
	}
	a.From = docid.Region(f[4])
	return nil
}

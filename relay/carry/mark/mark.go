// Package mark is how a handshake says that a client is carried by another region: who the
// client is, for limits by address, and where it was to go. Nodes sign it with a secret of
// the registry, since whoever could write it freely could choose the address that it is
// counted for.
package mark

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// Header holds a mark.
//
//	Wsnode-Carried: v1 LICENSE SECRET-ID UNIX-SECONDS FROM TO ADDRESS WIRE SIGNATURE
const Header = "Wsnode-Carried"

const version = "v1"

// Life is how old a mark may be, or how far ahead: clocks of nodes differ, and tokens that
// are signed along are short-lived themselves.
const Life = 2 * time.Minute

// Secret signs marks.
type Secret struct {
	ID  string
	Key []byte
}

// Wire is what the client speaks.
type Wire string

// The wires. Check is none: there is no client, and the home tells what it makes of the
// mark.
const (
	YWebsocket Wire = "y-websocket"
	Hocuspocus Wire = "hocuspocus"
	Check      Wire = "check"
)

// CheckToken stands for the token that a check has none of: its signature proves that the
// home was sent the header of the token as well. No issuer signs it.
const CheckToken = "wsnode-check"

// none stands for what is not known: an address, or a secret and a signature.
const none = "-"

// Mark is what a mark says.
type Mark struct {
	License  docid.LicenseRegion // whose secret signs it
	At       time.Time           // to the second
	From, To docid.Region
	Address  netip.Addr // the client's; the zero Addr: not known
	Wire     Wire
}

// text is what is signed.
func (m Mark) text(secret string) string {
	address := none
	if m.Address.IsValid() {
		address = m.Address.String()
	}
	return strings.Join([]string{
		version, string(m.License), secret, strconv.FormatInt(m.At.Unix(), 10), string(m.From), string(m.To), address, string(m.Wire),
	}, " ")
}

// Sign writes the mark of a client with a token.
func (m Mark) Sign(s Secret, token string) string {
	text := m.text(s.ID)
	return text + " " + sign(s, text, token)
}

// Unsigned writes a mark that says only that the client is carried, and where to.
func (m Mark) Unsigned() string { return m.text(none) + " " + none }

func sign(s Secret, text, token string) string {
	mac := hmac.New(sha256.New, s.Key)
	bound := sha256.Sum256([]byte(token)) // so that a mark serves nobody else
	_, _ = mac.Write(bound[:])            // a hash takes everything
	_, _ = mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// ErrUnsigned is returned for a mark that nobody has signed.
var ErrUnsigned = errors.New("it is not signed")

// ErrSecret is wrapped by the error for a mark whose secret cannot be had, beside what
// secretOf said: the mark may be good.
var ErrSecret = errors.New("its secret cannot be had")

var errVersion = errors.New("no mark of this version")

// Read reads a mark, which came with a token. With an error, what it says is not to be
// believed; To and Wire are there if they could be read at all. secretOf returns the
// secret with an id.
func Read(text, token string, secretOf func(license docid.LicenseRegion, id string) (Secret, error)) (m Mark, err error) {
	f := strings.Split(text, " ")
	if len(f) != 9 || f[0] != version {
		return m, errVersion
	}
	id, signature := f[2], f[8]
	m.License, m.From, m.To, m.Wire = docid.LicenseRegion(f[1]), docid.Region(f[4]), docid.Region(f[5]), Wire(f[7])
	at, err := strconv.ParseInt(f[3], 10, 64)
	if err != nil {
		return m, errVersion
	}
	m.At = time.Unix(at, 0)
	if id == none {
		return m, ErrUnsigned
	}
	secret, err := secretOf(m.License, id)
	if err != nil {
		return m, fmt.Errorf("%w: %w", ErrSecret, err)
	}
	if !hmac.Equal([]byte(signature), []byte(sign(secret, strings.Join(f[:8], " "), token))) {
		return m, errors.New("wrong signature")
	}
	if age := time.Since(m.At); age.Abs() > Life {
		return m, fmt.Errorf("it is %s old: the clocks of two regions differ", age.Round(time.Second))
	}
	if f[6] != none {
		if m.Address, err = netip.ParseAddr(f[6]); err != nil {
			return m, errVersion
		}
	}
	return m, nil
}

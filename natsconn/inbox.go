package natsconn

import (
	"crypto/rand"
	"encoding/base64"
	"strings"

	"github.com/nats-io/nats.go"
)

// defaultInboxes is where answers go on a connection without a prefix of its own.
const defaultInboxes = "_INBOX"

// InboxPrefix is the subject below which a connection takes answers:
// nats.CustomInboxPrefix or _INBOX, without a dot at its end.
func InboxPrefix(nc *nats.Conn) string {
	if p := strings.TrimSuffix(nc.Opts.InboxPrefix, "."); p != "" {
		return p
	}
	return defaultInboxes
}

// NewInbox makes a subject for answers that nobody can guess, whoever has seen
// others of this process: nats.NewInbox counts them, and who knows the next one
// can answer in the place of whoever is asked.
func NewInbox(nc *nats.Conn) string { return InboxPrefix(nc) + "." + rand.Text() }

// NewInboxes makes what many subjects for answers begin with, of which each ends with a
// token of AppendToken. It is told from others by 65 random bits, but it is no secret, and
// as short as that allows: each byte of a subject is read several times on its way.
func NewInboxes(nc *nats.Conn) string { return InboxPrefix(nc) + "." + rand.Text()[:13] + "." }

// AppendToken appends the last token of a subject, which nobody can guess: 128 random
// bits in 22 bytes.
func AppendToken(b []byte) []byte {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	return base64.RawURLEncoding.AppendEncode(b, random[:])
}

// IsInbox reports whether a subject is one for answers: an inbox, or what a NATS
// server puts in its place between accounts. A node answers to nothing else. It
// may publish where who asks may not, and would be made to do it for them.
func IsInbox(reply string) bool {
	return strings.HasPrefix(reply, defaultInboxes) || strings.HasPrefix(reply, "_R_.")
}

// UserInboxes is the inbox prefix of the user that a NATS URL, or the first of
// several, names: "_INBOX.<user>", which a permission can name, and which
// permissions for _INBOX.> cover. It is empty if there is no user, or one whose
// name is no subject token. URLs in a file are read, as by Servers.
func UserInboxes(urls string) string {
	if file, ok := strings.CutPrefix(urls, filePrefix); ok {
		_, user, err := readServers(strings.TrimPrefix(file, "//"))
		if err != nil || user == nil {
			return ""
		}
		urls = user.String() + "@"
	}
	first, _, _ := strings.Cut(urls, ",")
	if _, rest, ok := strings.Cut(first, "://"); ok {
		first = rest
	}
	at := strings.LastIndex(first, "@")
	if at < 0 {
		return ""
	}
	user, _, named := strings.Cut(first[:at], ":")
	if !named || !isToken(user) {
		return "" // a token is a secret, and stands where the user does
	}
	return defaultInboxes + "." + user
}

func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	}) < 0
}

// ValidInboxes reports whether a prefix of inboxes is one that nodes take for that,
// and that can be told to NATS: tokens, the first of which begins with _INBOX.
func ValidInboxes(prefix string) bool {
	for token := range strings.SplitSeq(prefix, ".") {
		if !isToken(token) {
			return false
		}
	}
	return IsInbox(prefix)
}

package docid

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
)

// NATS puts the whole subject on a control line of at most 4 KiB and
// disconnects a client that exceeds it, so an encoded token is bounded:
// escaping costs three bytes per byte, and what would grow past this length is
// written in base64 instead.
const maxEscaped = 400

// Subject and key prefixes. All of a node's subjects begin with "wsn.", so that
// one permission rule covers them.
const (
	updatesPrefix = "wsn.u."
	// StoredPrefix begins the subjects of stored lives, and no others. Permissions to
	// publish below updatesPrefix hold for them, too.
	StoredPrefix  = updatesPrefix + "s"
	signalsPrefix = "wsn.s."
	pinPrefix     = "pin."
	limitPrefix   = "limit."
)

// errSpelling is returned when a key or subject is not one of ours.
var errSpelling = errors.New("not the spelling of a document")

// token spells any string as one NATS subject token and KV key token:
// letters, digits, '-' and '_' stand for themselves, other bytes are "=XX";
// what grows too long is "==" and base64. '=' cannot follow an '=' in the first
// form, hence the two never collide.
func token(s string) string {
	extra := 0
	for i := 0; i < len(s); i++ {
		if !isWord(s[i]) {
			extra += 2
		}
	}
	if extra == 0 {
		return s
	}
	if len(s)+extra > maxEscaped {
		return "==" + base64.RawURLEncoding.EncodeToString([]byte(s))
	}
	b := make([]byte, 0, len(s)+extra)
	for i := 0; i < len(s); i++ {
		if c := s[i]; isWord(c) {
			b = append(b, c)
		} else {
			b = append(b, '=', upperHex[c>>4], upperHex[c&15])
		}
	}
	return string(b)
}

func untoken(t string) (string, error) {
	if rest, long := strings.CutPrefix(t, "=="); long {
		raw, err := base64.RawURLEncoding.DecodeString(rest)
		return string(raw), err
	}
	if !strings.Contains(t, "=") {
		return t, nil
	}
	b := make([]byte, 0, len(t))
	for i := 0; i < len(t); i++ {
		if t[i] != '=' {
			b = append(b, t[i])
			continue
		}
		if i+3 > len(t) {
			return "", errSpelling
		}
		raw, err := hex.DecodeString(t[i+1 : i+3])
		if err != nil {
			return "", errSpelling
		}
		b = append(b, raw[0])
		i += 2
	}
	return string(b), nil
}

// path spells the document without its license region.
func (d Document) path() string {
	return token(string(d.Tenant)) + "." + token(string(d.App)) + "." + token(d.Name)
}

// PinKey is the document's key in the bucket of its license region.
func (d Document) PinKey() string { return pinPrefix + d.path() }

// ParsePinKey is the inverse of Document.PinKey.
func ParsePinKey(license LicenseRegion, key string) (Document, error) {
	rest, ok := strings.CutPrefix(key, pinPrefix)
	if !ok {
		return Document{}, errSpelling
	}
	return parsePath(license, strings.Split(rest, "."))
}

// PinFilter is the subject filter, below the bucket, of the pins of a tenant and
// an app; an empty value stands for any.
func PinFilter(t Tenant, a App) string {
	filter := pinPrefix + orAny(string(t)) + "." + orAny(string(a)) + ".*"
	return filter
}

func orAny(s string) string {
	if s == "" {
		return "*"
	}
	return token(s)
}

// LimitKey is the key, in the bucket of the app's license region, of one of the
// app's counters. scope tells the counters of an app apart; it may hold any
// characters.
func (a AppID) LimitKey(scope string) string {
	return limitPrefix + token(string(a.Tenant)) + "." + token(string(a.App)) + "." + token(scope)
}

// UpdatesSubject carries the document's updates between the pods of its region,
// and is captured by the history stream of the shard. The epoch keeps a later
// life of the document away from what an earlier one left. It is a token of its own
// only if the life is a stored one, whose leftovers are looked for: each level of a
// subject costs a NATS server half a kilobyte.
func (d Document) UpdatesSubject(shard int, epoch string) string {
	if StoredEpoch(epoch) {
		return d.stored(shard) + epoch
	}
	return updatesPrefix + strconv.Itoa(shard) + "." + string(d.License) + "." + d.path() + "/" + epoch
}

// UpdatesFilter is the subject filter that the history stream of a shard
// captures.
func UpdatesFilter(shard int) string { return updatesPrefix + strconv.Itoa(shard) + ".>" }

// StoredFilter is the subject filter of the stream that keeps the stored lives of a
// shard. It is a stream of its own: a node of a version that knows nothing of stores
// neither reads these histories nor sweeps them away.
func StoredFilter(shard int) string { return StoredPrefix + strconv.Itoa(shard) + ".>" }

// LivesFilter is the subject filter of all stored lives of a document.
func (d Document) LivesFilter(shard int) string { return d.stored(shard) + "*" }

func (d Document) stored(shard int) string {
	return StoredPrefix + strconv.Itoa(shard) + "." + string(d.License) + "." + d.path() + "."
}

// storedEpoch begins the epochs of stored lives.
const storedEpoch = "s-"

// NewStoredEpoch makes a random word the epoch of a stored life: one whose document a
// store keeps when it ends.
func NewStoredEpoch(random string) string { return storedEpoch + random }

// StoredEpoch reports whether an epoch is that of a stored life.
func StoredEpoch(epoch string) bool { return strings.HasPrefix(epoch, storedEpoch) }

// SignalsSubject carries what is not history: awareness, hellos, beacons, and the
// question who has the document. It is the same for all epochs, so that a room
// needs one literal subscription for it; its messages name the epoch.
func (d Document) SignalsSubject() string {
	return signalsPrefix + string(d.License) + "." + d.path()
}

// ParseUpdatesSubject is the inverse of Document.UpdatesSubject, for the sweep.
func ParseUpdatesSubject(subject string) (d Document, epoch string, err error) {
	if rest, stored := strings.CutPrefix(subject, StoredPrefix); stored {
		tokens := strings.Split(rest, ".")
		if len(tokens) != 6 || !StoredEpoch(tokens[5]) {
			return Document{}, "", errSpelling
		}
		d, err = parsePath(LicenseRegion(tokens[1]), tokens[2:5])
		return d, tokens[5], err
	}
	rest, ours := strings.CutPrefix(subject, updatesPrefix)
	path, epoch, ok := strings.Cut(rest, "/")
	tokens := strings.Split(path, ".")
	if !ours || !ok || len(tokens) != 5 {
		return Document{}, "", errSpelling
	}
	d, err = parsePath(LicenseRegion(tokens[1]), tokens[2:])
	return d, epoch, err
}

func parsePath(license LicenseRegion, tokens []string) (Document, error) {
	if len(tokens) != 3 {
		return Document{}, errSpelling
	}
	d := Document{License: license}
	tenant, err1 := untoken(tokens[0])
	app, err2 := untoken(tokens[1])
	name, err3 := untoken(tokens[2])
	if err := errors.Join(err1, err2, err3); err != nil {
		return Document{}, err
	}
	d.Tenant, d.App, d.Name = Tenant(tenant), App(app), name
	return d, nil
}

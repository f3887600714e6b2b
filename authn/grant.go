package authn

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// Grant is what a verified token allows. It is immutable and may be shared by
// any number of sessions: verifying a token again may return the same Grant.
type Grant struct {
	Tenant     docid.Tenant
	App        docid.App
	License    docid.LicenseRegion // the token's dbCode; whether this node serves it is not checked here
	RegionCode string              // the WebSocket region nearest to the user; empty when not said
	Limits     Limits
	ReadOnly   bool      // the whole token is read-only; Access knows about single documents
	Expires    time.Time // new handshakes until then, and 30 s more; live sessions go on

	// User tells people apart: a hash of sub, or of the token if it has none. It gives no
	// rights; it says whose presence in a document is whose. Never 0.
	User uint64

	notBefore  time.Time
	domains    []domain       // empty: any origin
	restricted bool           // the documents claim is present
	documents  []documentRule // in the token's order
}

// Access is what a session may do with a document.
type Access int

// The kinds of access.
const (
	ReadWrite Access = iota
	ReadOnly
)

// String is the word that tokens use.
func (a Access) String() string {
	if a == ReadOnly {
		return "readonly"
	}
	return "readwrite"
}

// AppID is the app that the grant is for.
func (g *Grant) AppID() docid.AppID {
	return docid.AppID{License: g.License, Tenant: g.Tenant, App: g.App}
}

// Document is the grant's document of that name, which must come from
// docid.Parse. It does not check Access.
func (g *Grant) Document(name string) docid.Document {
	return docid.Document{License: g.License, Tenant: g.Tenant, App: g.App, Name: name}
}

// Access says what the grant allows with the document of that name, which must
// be folded by docid.Parse; false: nothing. Among the entries of the documents
// claim that fit, the most specific decides: the exact name before any prefix,
// a longer prefix before a shorter one, and of two that are equal the stricter.
func (g *Grant) Access(name string) (Access, bool) {
	granted := !g.restricted
	access := ReadWrite
	best := -1
	for _, rule := range g.documents {
		weight, fits := rule.weight(name)
		if !fits || weight < best {
			continue
		}
		if weight == best && access == ReadOnly {
			continue
		}
		granted, access, best = true, rule.access, weight
	}
	if g.ReadOnly {
		access = ReadOnly
	}
	return access, granted
}

// documentRule is one entry of the documents claim.
type documentRule struct {
	name   string // or the prefix, up to and including its slash
	prefix bool
	access Access
}

// weight says whether the rule is about the document, and how specific it is.
func (r documentRule) weight(name string) (weight int, fits bool) {
	if r.prefix {
		return len(r.name), strings.HasPrefix(name, r.name)
	}
	return 1 << 30, name == r.name
}

// parseDocumentRule reads a name, a prefix such as "notes/*" or "*", or an
// object {"name", "access"} with no other member: one that is misspelt, such as
// "Access", must not give away what it was to take. Only a star that is a whole last
// segment makes a prefix: elsewhere it is a character that names may contain.
func parseDocumentRule(raw json.RawMessage) (documentRule, error) {
	entry := claims{"name": raw}
	if raw[0] == '{' {
		var err error
		if entry, err = parseObject(raw); err != nil {
			return documentRule{}, err
		}
		for member := range entry {
			if member != "name" && member != "access" {
				return documentRule{}, errType
			}
		}
	}
	name, present, err := entry.text("name")
	if err != nil || !present {
		return documentRule{}, errType
	}
	access, err := readMode(entry)
	if err != nil {
		return documentRule{}, err
	}
	if name == "*" || strings.HasSuffix(name, "/*") {
		return documentRule{name: strings.TrimSuffix(name, "*"), prefix: true, access: access}, nil
	}
	folded, err := docid.Parse(name)
	return documentRule{name: folded, access: access}, err
}

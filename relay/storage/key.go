package storage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/wsnode/wsnode/docid"
)

// MaxKey is the longest key that Key spells: 64 bytes of license region, three
// times 64 of tenant and app, the name, slashes and extension. Object stores take
// 1,024 bytes; the rest is left to the operator's prefix, which has at most
// MaxPrefix bytes, and to what may stand around the key of an older version. A name
// has 200 bytes, since many a store that speaks S3 keeps objects as files, whose names
// have 255.
const (
	MaxKey    = 64 + 2*3*64 + 3 + maxName + len(Extension)
	MaxPrefix = 128
	maxName   = 200
)

// Extension ends the key of a body.
const Extension = ".yjs"

// Spelling is how the parts of a key are written. The zero value is that of Key.
// All spellings are injective: letters, digits, '-' and '_' stand for themselves,
// other bytes are "=XX"; a name that would grow too long is cut and ends in "=="
// and the SHA-256 of the whole name, which no name that was not cut can, since
// '=' never follows '=' there.
type Spelling struct {
	MaxName   int  // bytes of an escaped name; 0 is 200
	LowerCase bool // escape upper-case letters, for file systems that fold case
}

// Key spells a document as the path of an object:
// <dbCode>/<tenant>/<app>/<escaped name>.yjs. MarkerDocument is
// .wsnode/store.json.
func Key(d docid.Document) string { return Spelling{}.Key(d) }

// ParseKey is the inverse of Key. whole is false if the name was cut: the
// document's name is then only the beginning of it, and the whole one stands in
// the object's metadata.
func ParseKey(key string) (d docid.Document, whole bool, err error) { return Spelling{}.Parse(key) }

// Key spells a document.
func (s Spelling) Key(d docid.Document) string {
	if d == MarkerDocument {
		return markerKey
	}
	return s.scope(d.License, d.Tenant, d.App) + s.name(d.Name) + Extension
}

func (s Spelling) scope(l docid.LicenseRegion, t docid.Tenant, a docid.App) string {
	return s.escape(string(l)) + "/" + s.escape(string(t)) + "/" + s.escape(string(a)) + "/"
}

func (s Spelling) maxName() int {
	if s.MaxName > 0 {
		return s.MaxName
	}
	return maxName
}

const (
	hashMark = "=="
	hashTail = len(hashMark) + 2*sha256.Size
)

func (s Spelling) name(name string) string {
	escaped := s.escape(name)
	if len(escaped) <= s.maxName() {
		return escaped
	}
	sum := sha256.Sum256([]byte(name))
	return cut(escaped, s.maxName()-hashTail) + hashMark + hex.EncodeToString(sum[:])
}

// cut shortens an escaped string to at most n bytes, between two escapes.
func cut(escaped string, n int) string {
	for back := range 2 {
		if n-1-back >= 0 && escaped[n-1-back] == '=' {
			return escaped[:n-1-back]
		}
	}
	return escaped[:n]
}

// Prefix is what all keys begin with that q can match; keys of other documents
// may, too.
func (s Spelling) Prefix(q Query) string {
	switch {
	case q.License == "":
		return ""
	case q.Tenant == "":
		return s.escape(string(q.License)) + "/"
	case q.App == "":
		return s.escape(string(q.License)) + "/" + s.escape(string(q.Tenant)) + "/"
	}
	// A name that is longer than this may be cut in the key.
	name := s.escape(q.Name)
	if kept := s.maxName() - hashTail - 2; len(name) > kept {
		name = cut(name, kept)
	}
	return s.scope(q.License, q.Tenant, q.App) + name
}

// Parse is the inverse of Spelling.Key, see ParseKey.
func (s Spelling) Parse(key string) (d docid.Document, whole bool, err error) {
	if key == markerKey {
		return MarkerDocument, true, nil
	}
	parts := strings.Split(key, "/")
	name, ok := strings.CutSuffix(parts[len(parts)-1], Extension)
	if len(parts) != 4 || !ok {
		return docid.Document{}, false, fmt.Errorf("%q: %w", key, errKey)
	}
	name, _, isCut := strings.Cut(name, hashMark)
	var texts [4]string
	for i, part := range []string{parts[0], parts[1], parts[2], name} {
		if texts[i], err = unescape(part); err != nil {
			return docid.Document{}, false, fmt.Errorf("%q: %w", key, err)
		}
	}
	d = docid.Document{
		License: docid.LicenseRegion(texts[0]), Tenant: docid.Tenant(texts[1]), App: docid.App(texts[2]), Name: texts[3],
	}
	if !isCut && s.Key(d) != key {
		return docid.Document{}, false, fmt.Errorf("%q: %w", key, errKey)
	}
	return d, !isCut, nil
}

// errKey is returned for a key that is not one of ours.
var errKey = errors.New("not the key of a document")

func (s Spelling) plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c >= 'A' && c <= 'Z' && !s.LowerCase
}

func (s Spelling) escape(text string) string {
	digits := "0123456789ABCDEF"
	if s.LowerCase {
		digits = "0123456789abcdef"
	}
	b := make([]byte, 0, len(text)+len(text)/2)
	for i := 0; i < len(text); i++ {
		if c := text[i]; s.plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '=', digits[c>>4], digits[c&15])
		}
	}
	return string(b)
}

func unescape(text string) (string, error) {
	b := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '=' {
			b = append(b, text[i])
			continue
		}
		if i+3 > len(text) {
			return "", errKey
		}
		raw, err := hex.DecodeString(text[i+1 : i+3])
		if err != nil {
			return "", errKey
		}
		b = append(b, raw[0])
		i += 2
	}
	return string(b), nil
}

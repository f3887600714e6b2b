package storage

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// Versioned is a store that keeps former bodies of documents. It is optional: what is
// about to overwrite a body has its backend copy it first, if it is the last one of its
// hour, of its generation, or of the document, see Due. A write that cannot copy fails,
// so that nothing is overwritten that should be kept.
//
// A copy is a fact about the past: it says nothing about the document's present, and no
// node ever opens one.
type Versioned interface {
	Store

	// Keeps is how long a copy stays after its body was replaced; 0: none are made,
	// and what there is stays.
	Keeps() time.Duration

	// Copies lists the former bodies of a document, the newest first.
	Copies(ctx context.Context, d docid.Document) ([]Copy, error)

	// LoadCopy is Load for a former body. The Version of its Info means nothing.
	LoadCopy(ctx context.Context, d docid.Document, id string, reserve Reserve) (Stored, error)

	// Expire removes the copies of a license region whose bodies were replaced before
	// a time, and says how many. Any number of nodes may do so at once.
	Expire(ctx context.Context, l docid.LicenseRegion, before time.Time) (removed int, err error)

	// Erase removes all former bodies of a document, and says how many. With an
	// error, some may be left.
	Erase(ctx context.Context, d docid.Document) (removed int, err error)
}

// Copy is a former body of a document.
type Copy struct {
	ID       string    // names it among those of the document
	Time     time.Time // when it was written, by the writer's clock; zero if it is not known
	Replaced time.Time // when another took its place, by the store's clock
	Size     int64
}

// OwnDir is the first component of what a store keeps beside documents: no document's
// key begins with it.
const OwnDir = ".versions"

// MinKeep is the shortest time for which copies may be kept.
const MinKeep = time.Hour

// Due reports whether a body has to be copied before next overwrites it. There is at
// most one copy for each hour, the last of it: so nobody has to remember when the
// newest was made. A deletion always copies.
func Due(d docid.Document, body, next Info) bool {
	if d == MarkerDocument || body.Version == Absent || body.Deleted || body.Size == 0 {
		return false
	}
	return next.Deleted || body.Generation != next.Generation || !body.Time.Truncate(time.Hour).Equal(next.Time.Truncate(time.Hour))
}

// copyTime spells the time of a copy: without what file systems or URLs object to, and
// in the order of time.
const copyTime = "20060102T150405.000Z"

// CopyID names the copy of a body by when it was written, and by its hash: of bodies
// that two nodes wrote at the same moment each has its own.
func CopyID(info Info) string {
	return info.Time.UTC().Format(copyTime) + "-" + info.SHA256.String()[:copyHash]
}

const copyHash = 16

// ParseCopyID returns when the body was written.
func ParseCopyID(id string) (time.Time, error) {
	text, hash, ok := strings.Cut(id, "-")
	at, err := time.Parse(copyTime, text)
	if _, hexErr := hex.DecodeString(hash); !ok || err != nil || hexErr != nil || len(hash) != copyHash {
		return time.Time{}, fmt.Errorf("copy %q: expected an id of a listing", id)
	}
	return at.UTC(), nil
}

// CopyDir is where an object store or a directory keeps the copies of a document, with
// a slash at its end.
func (s Spelling) CopyDir(d docid.Document) string {
	return OwnDir + "/" + strings.TrimSuffix(s.Key(d), Extension) + "/"
}

// CopyKey is the key of a copy.
func (s Spelling) CopyKey(d docid.Document, id string) string { return s.CopyDir(d) + id + Extension }

// CopyPrefix is what the keys of all copies of a license region begin with.
func (s Spelling) CopyPrefix(l docid.LicenseRegion) string {
	return OwnDir + "/" + s.escape(string(l)) + "/"
}

// SortCopies puts the newest first.
func SortCopies(copies []Copy) {
	slices.SortStableFunc(copies, func(a, b Copy) int {
		if c := b.Replaced.Compare(a.Replaced); c != 0 {
			return c
		}
		return b.Time.Compare(a.Time)
	})
}

// CopyAt finds the copy that was the document's body at a time, as far as is known.
// present is when the document's present body was written, with which ok is false if
// that was its body by then. ErrAbsent says that nothing is known of that time.
func CopyAt(copies []Copy, present, at time.Time) (c Copy, ok bool, err error) {
	if !present.IsZero() && !present.After(at) {
		return Copy{}, false, nil
	}
	for _, one := range copies {
		if !one.Time.After(at) && (!ok || one.Time.After(c.Time)) {
			c, ok = one, true
		}
	}
	if ok {
		return c, true, nil
	}
	return Copy{}, false, fmt.Errorf("%w: nothing is kept of it from %s or before", ErrAbsent, at.UTC().Format(time.RFC3339))
}

// ErrNoCopies: the store keeps no former bodies.
var ErrNoCopies = fmt.Errorf("the store keeps no versions: %w", errors.ErrUnsupported)

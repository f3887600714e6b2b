// Package storage is the contract between the relay and the stores that keep
// documents between their lives: what a store must do, the errors it answers
// with, how a document's key is spelled, and how a store is told from another.
//
// # For backends
//
// A backend is a type that implements Store. storagetest.Run holds it to what is
// promised here, and docs/storage.md explains the reasons. In short:
//
//   - Atomic. A body and what is said about it (Info) appear together or not at
//     all. No reader ever sees part of a body, or one body with another's Info.
//   - Ordered. The writes of one document form one sequence that every handle in
//     every process sees alike: what a write answered is what all later reads
//     find, or something newer. Writes of different documents are independent.
//   - Conditional. A write takes effect only if the document's version is the
//     expected one at that very moment, whoever else writes at the same time.
//   - Durable. A write that succeeded survives the loss of power.
//   - Definite. ErrAbsent, ErrDeleted and ErrConflict are facts about the
//     document, and ErrRefused and ErrTooLarge mean that nothing was written. A
//     backend answers with them only when it knows. In particular a fault, a
//     timeout, a refusal or an answer from something in between is never
//     ErrAbsent: a document taken for absent would be overwritten with nothing.
//     Every other error of a write leaves open whether it happened.
//   - Once. A backend never repeats a conditional write by itself: the second
//     attempt would meet the first one's result and report a conflict with it.
//
// All methods may be called concurrently. None keeps or changes the bytes that it
// was given, and the caller owns the bytes that it gets.
package storage

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// Store keeps one body per document. A body is one Yjs V1 update and nothing
// else, so that Y.applyUpdate(new Y.Doc(), bytes) reads it; a store takes it for
// opaque bytes.
//
// Bodies are slices, not streams: both ends need the whole of it anyway, a writer
// to encode and a reader to check, and a slice can be hashed before anybody
// believes it. What they cost is bounded by Reserve and Budget.
type Store interface {
	// Load returns the document's newest body. reserve, which may be nil, is asked
	// before memory for the body is taken.
	//
	// Errors: ErrAbsent, ErrDeleted (a *DeletedError), ErrCorrupt, ErrRefused, what
	// reserve returned; anything else is a failure that may pass.
	Load(ctx context.Context, d docid.Document, reserve Reserve) (Stored, error)

	// Stat is Load without the body, at a cost that does not grow with it.
	Stat(ctx context.Context, d docid.Document) (Info, error)

	// Save writes a body if the document's version is expect: Absent where nothing
	// may be there, a tombstone's version to create the document anew over it. The
	// body is not empty. It returns the new version, which differs from all that
	// the document has had with other bodies or in other generations.
	//
	// Errors: ErrConflict (a *ConflictError) if the version is another one or
	// nothing is there, ErrDeleted (a *DeletedError) if a tombstone is there that
	// was not expected, ErrRefused, ErrTooLarge; anything else leaves open whether
	// the write happened. Whoever tries again then either succeeds or learns from
	// the conflict's hash that the first attempt did.
	Save(ctx context.Context, d docid.Document, expect Version, m Meta, body []byte) (Version, error)

	// Delete puts a tombstone, which keeps m, in the place of what has the version
	// expect; Absent and a tombstone's version are fine, too. Its errors are those
	// of Save.
	Delete(ctx context.Context, d docid.Document, expect Version, m Meta) (Version, error)

	// List returns a page of the documents and tombstones that match q, without
	// MarkerDocument. The order is the store's own, and the same every time; what
	// is there from the first page to the last is listed exactly once. A store
	// that cannot list returns errors.ErrUnsupported.
	List(ctx context.Context, q Query) (Page, error)

	// Close releases what the store holds. No call may be under way or follow.
	Close() error
}

// Version tells a document's states apart. It is opaque: equal or not is all it
// says, and only for versions of one document in one store.
type Version string

// Absent is the version of what is not there.
const Absent Version = ""

// Generation tells the lives of a document apart between which it was deleted.
// It is 0 until the first deletion; each deletion draws another.
type Generation uint64

// NewGeneration draws a generation for a deletion.
func NewGeneration() Generation {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // never fails
		if g := Generation(binary.BigEndian.Uint64(b[:])); g != 0 {
			return g
		}
	}
}

// String spells the generation; ParseGeneration is the inverse.
func (g Generation) String() string { return strconv.FormatUint(uint64(g), 16) }

// ParseGeneration reads what String wrote. Nothing is generation 0: what was put
// into a store by other means than ours.
func ParseGeneration(s string) (Generation, error) {
	if s == "" {
		return 0, nil
	}
	g, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("generation %q: expected a hexadecimal number", s)
	}
	return Generation(g), nil
}

// Meta is what the writer of a body or a tombstone says about it. A store keeps
// it as it is, and judges nothing by it.
type Meta struct {
	Generation  Generation
	Epoch       string       // the life of the document that wrote this; for operators
	Revision    uint64       // of the pin at that time; for operators
	Region      docid.Region // that wrote this; for operators
	KeepDeleted bool         // the body keeps the content of deleted items
	Time        time.Time    // by the writer's clock; kept in milliseconds
}

// Info is what a store knows of a body or a tombstone.
type Info struct {
	Meta
	Version Version
	Deleted bool // a tombstone
	Size    int64
	SHA256  Hash // of the body
}

// Stored is a body with what the store knows of it.
type Stored struct {
	Info
	Body []byte
}

// Hash is a SHA-256.
type Hash [32]byte

// String spells the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Reserve is asked for the memory of a body of so many bytes before it is read,
// and may wait, within ctx, until there is some. An error ends the load. A store
// that learns the length only with the body may hold up to UnreservedBytes before
// it asks.
type Reserve func(ctx context.Context, bytes int64) error

// Ask asks, if there is anybody to ask.
func (r Reserve) Ask(ctx context.Context, bytes int64) error {
	if r == nil {
		return nil
	}
	return r(ctx, bytes)
}

// UnreservedBytes is what a load may hold without having asked.
const UnreservedBytes = 1 << 20

// Query selects what List returns. The zero value selects everything. A field
// that is set needs those above it.
type Query struct {
	License docid.LicenseRegion
	Tenant  docid.Tenant
	App     docid.App
	Name    string // a prefix of the name
	After   string // Page.Next of the page before; empty for the first one
	Limit   int    // at most so many entries; 0 is 1,000, which is also the most
}

// MaxPage is the largest page.
const MaxPage = 1000

// PageSize is the limit that q stands for.
func (q Query) PageSize() int {
	if q.Limit <= 0 || q.Limit > MaxPage {
		return MaxPage
	}
	return q.Limit
}

// Matches reports whether q selects d, page and limit aside.
func (q Query) Matches(d docid.Document) bool {
	return (q.License == "" || d.License == q.License) && (q.Tenant == "" || d.Tenant == q.Tenant) &&
		(q.App == "" || d.App == q.App) && len(d.Name) >= len(q.Name) && d.Name[:len(q.Name)] == q.Name
}

// Check refuses a query that sets a field without those above it.
func (q Query) Check() error {
	if q.Tenant != "" && q.License == "" || q.App != "" && q.Tenant == "" || q.Name != "" && q.App == "" {
		return fmt.Errorf("list %+v: a tenant needs its license region, an app its tenant, a name its app", q)
	}
	return nil
}

// Page is a part of a listing. It may hold fewer entries than the limit, even
// none, and still not be the last one.
type Page struct {
	Entries []Entry
	Next    string // the After of the next page; empty if this is the last one
}

// Entry is what a listing tells of a document. Stat tells the rest.
type Entry struct {
	Document docid.Document
	Size     int64
	Time     time.Time // when it was stored, by the store's clock or the writer's
	Deleted  bool      // a tombstone
}

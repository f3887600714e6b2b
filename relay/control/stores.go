package control

import (
	"context"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// The endpoints of stores. Those after VersionsVerb change something.
const (
	StoresVerb    = "stores"
	StoredVerb    = "stored"
	FetchVerb     = "fetch"
	StoreListVerb = "storelist"
	VersionsVerb  = "storeversions"
	SaveVerb      = "save"
	StorePutVerb  = "storeput"
	StoreDelVerb  = "storedelete"
	StoreDropVerb = "storedrop"
	EraseVerb     = "storeerase"
	AcceptVerb    = "storeaccept"
	StoreNameVerb = "storename"
)

// The endpoints of moves: one looks, one changes.
const (
	UnstoredVerb = "unstored"
	MoveVerb     = "move"
)

// Stores is what a node does with the stores of documents for its operators; it is a
// part of Node. Errors other than *Error are failures.
type Stores interface {
	// Stores says which stores the node has. With check it tries each out.
	Stores(ctx context.Context, check bool) []StoreState
	// Stored says what the store has of a document.
	Stored(ctx context.Context, d Document) (Stored, error)
	// Fetch returns the stored body of a document, or a former one that StoreVersions
	// has listed. It must not be changed.
	Fetch(ctx context.Context, d Document, version string) ([]byte, error)
	// StoreVersions lists the former bodies of a document, the newest first.
	StoreVersions(ctx context.Context, d Document) ([]StoreVersion, error)
	StoreList(ctx context.Context, r StoreListRequest) (StoreListPage, error)
	// Save has the store keep a document that is open here now.
	Save(ctx context.Context, d Document) (Kept, error)
	StorePut(ctx context.Context, r StorePutRequest, update []byte) (StoreResult, error)
	StoreDelete(ctx context.Context, d Document) (StoreResult, error)
	// StoreDrop takes the content of what is deleted out of a document.
	StoreDrop(ctx context.Context, d Document) (StoreResult, error)
	// StoreErase removes the former bodies of a document that is deleted.
	StoreErase(ctx context.Context, d Document) (StoreErased, error)
	// StoreAccept goes on with what there is of a document of which the store has lost
	// something that a history of the node's region stands on.
	StoreAccept(ctx context.Context, r StoreAcceptRequest) (StoreAccepted, error)
	// StoreName makes the store of a license region this installation's.
	StoreName(ctx context.Context, r StoreNameRequest) (StoreState, error)
	// MaxPut is the largest update that StorePut takes.
	MaxPut() int
	// Move moves a document that lives in the node's region to another one.
	Move(ctx context.Context, r MoveRequest) (Moved, error)
	// Unstored lists lives of documents whose histories in the node's region hold what is not
	// stored.
	Unstored(ctx context.Context) (Unstored, error)
}

// States of a store.
const (
	StoreOK      = "ok"
	StoreDown    = "down"    // it does not answer, or refuses
	StoreUnnamed = "unnamed" // no registry names it yet: nothing is read or written
	StoreWrong   = "wrong"   // it is not the one that the registry names
)

// StoreState is a store as a node has it.
type StoreState struct {
	License docid.LicenseRegion `json:"license"`
	State   string              `json:"state"`
	ID      string              `json:"id,omitempty"`     // that the registry names
	Marker  string              `json:"marker,omitempty"` // the id that the store says it has
	Keeps   docid.LicenseRegion `json:"keeps,omitempty"`  // whose documents, as the marker says; "*": all
	Detail  string              `json:"detail,omitempty"` // why it is not ok
	Since   time.Time           `json:"since,omitzero"`   // it is down
	CheckMS float64             `json:"checkMs,omitempty"`
}

// Kept is what a node that has a document open knows of it in its store.
type Kept struct {
	Version string    `json:"version,omitempty"` // that was loaded or stored last
	Time    time.Time `json:"time,omitzero"`     // when this node stored it
	Clean   bool      `json:"clean"`             // the store has everything, as far as this node knows
}

// States of a document in a store.
const (
	StoredBody    = "stored"
	StoredAbsent  = "absent"
	StoredDeleted = "deleted"
	StoredCorrupt = "corrupt"
)

// Stored is what a store has of a document.
type Stored struct {
	Document    Document     `json:"document"`
	State       string       `json:"state"`
	Detail      string       `json:"detail,omitempty"`
	Version     string       `json:"version,omitempty"`
	Generation  string       `json:"generation,omitempty"`
	Size        int64        `json:"bytes"`
	SHA256      string       `json:"sha256,omitempty"`
	Time        time.Time    `json:"time,omitzero"` // by the writer's clock
	Epoch       string       `json:"epoch,omitempty"`
	Region      docid.Region `json:"region,omitempty"`
	KeepDeleted bool         `json:"keepDeleted,omitempty"`
}

// StoreListRequest selects stored documents: fields that are set need those above
// them.
type StoreListRequest struct {
	License docid.LicenseRegion `json:"license"`
	Tenant  docid.Tenant        `json:"tenant,omitempty"`
	App     docid.App           `json:"app,omitempty"`
	Name    string              `json:"name,omitempty"` // a prefix of the name
	After   string              `json:"after,omitempty"`
	Limit   int                 `json:"limit,omitempty"`
}

// StoreEntry is a document in a listing.
type StoreEntry struct {
	Document Document  `json:"document"`
	Size     int64     `json:"bytes"`
	Time     time.Time `json:"time,omitzero"`
	Deleted  bool      `json:"deleted,omitempty"`
}

// StoreAcceptRequest asks what is lost of a document, and, unless it is a dry run, has
// the region go on without it.
type StoreAcceptRequest struct {
	Document Document `json:"document"`
	DryRun   bool     `json:"dryRun,omitempty"`
}

// StoreAccepted says what was lost.
type StoreAccepted struct {
	Region docid.Region `json:"region"`
	Lost   string       `json:"lost,omitempty"` // empty: the store has what the region's histories stand on
}

// StoreListPage is a part of a listing. It may hold no rows and still not be the last.
type StoreListPage struct {
	Rows []StoreEntry `json:"rows"`
	Next string       `json:"next,omitempty"`
}

// StorePutRequest puts an update into a store, part by part: the first request names
// all but Put, the others the Put of the first answer.
type StorePutRequest struct {
	Document Document `json:"document,omitzero"`
	Create   bool     `json:"create,omitempty"`   // only where nothing is
	Undelete bool     `json:"undelete,omitempty"` // also where it was deleted
	DryRun   bool     `json:"dryRun,omitempty"`
	// KeepDeleted keeps the content of what is deleted from now on. Nodes that do not know
	// it leave it out of StoreResult.
	KeepDeleted bool   `json:"keepDeleted,omitempty"`
	Put         uint64 `json:"put,omitempty"`
	Size        int    `json:"size,omitempty"` // of the whole
	Offset      int    `json:"offset,omitempty"`
	Data        []byte `json:"data,omitempty"`
}

// StorePutAnswer has a result once all parts are there.
type StorePutAnswer struct {
	Put    uint64       `json:"put"`
	Result *StoreResult `json:"result,omitempty"`
}

// StoreResult is what became of a document in a store.
type StoreResult struct {
	Outcome string `json:"outcome"` // created, merged, unchanged, deleted, dropped
	Version string `json:"version,omitempty"`
	Size    int64  `json:"bytes,omitempty"`
	// KeepDeleted says that it was put with StorePutRequest.KeepDeleted.
	KeepDeleted bool `json:"keepDeleted,omitempty"`
}

// StoreVersion is a former body of a document.
type StoreVersion struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time,omitzero"`     // when it was written, by the writer's clock
	Replaced time.Time `json:"replaced,omitzero"` // when another took its place
	Size     int64     `json:"bytes"`
}

// StoreVersionsRequest asks for a document's former bodies, from one on.
type StoreVersionsRequest struct {
	Document Document `json:"document"`
	From     int      `json:"from,omitempty"`
}

// StoreVersionsPage is a part of a listing. Next is where the next one begins; 0: this is
// the last.
type StoreVersionsPage struct {
	Rows []StoreVersion `json:"rows"`
	Next int            `json:"next,omitempty"`
}

// StoreErased is what became of a document's former bodies.
type StoreErased struct {
	Versions int    `json:"versions"`         // removed
	Detail   string `json:"detail,omitempty"` // why there may be others
}

// StoreNameRequest names the store of a license region. Marker is the id that the
// store has, or none, as the asker has seen it.
type StoreNameRequest struct {
	License docid.LicenseRegion `json:"license"`
	Marker  string              `json:"marker"`
}

// StoresRequest asks for the states of stores.
type StoresRequest struct {
	Check bool `json:"check,omitempty"` // try them out
}

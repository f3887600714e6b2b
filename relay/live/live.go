// Package live is the life of documents on a node: claim the pin, load, open; then,
// when the last user has left, wait until all is durable, release, and, when the pin is
// gone, purge the history. It follows what becomes of pins meanwhile, and sweeps what
// crashes left behind.
//
// documents.go is that life; table.go has those that are live, fate.go what has become of
// one. keeper.go and saves.go keep a document in its store while it is open; owed.go knows
// what ended lives owe theirs, and pay.go pays it, of which lives.go reads the histories.
// follow.go and told.go follow pins and stores; purges.go and sweep.go remove histories.
// accept.go is what operators accept as lost; move.go moves a document to another region,
// and stops.go is the side of the others.
package live

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/room"
	"github.com/wsnode/wsnode/relay/roster"
	"github.com/wsnode/wsnode/relay/storage"
)

// Registry is what is needed of the registries; *kvpin.Registry is one.
type Registry interface {
	Claims
	Pins
}

// Claims makes this node a holder of documents.
type Claims interface {
	Hold(context.Context, docid.Document) (*kvpin.Hold, error)
	Adopt(docid.Document, kvpin.Epoch) (*kvpin.Hold, error)
}

// Pins says what the registries know.
type Pins interface {
	Serves(docid.LicenseRegion) bool
	Lookup(context.Context, docid.Document) (kvpin.Pin, kvpin.State, error)
	LeaseCurrent(context.Context, docid.LicenseRegion, docid.NodeID, kvpin.LeaseID) (bool, error)
	Paid(context.Context, docid.Document, kvpin.Epoch) error
	StillOwed(context.Context, docid.Document, kvpin.Epoch) error
	StoreChanged(ctx context.Context, doc docid.Document, p kvpin.Pin, anybody bool) (silent []docid.NodeID, err error)
	StopOthers(ctx context.Context, doc docid.Document, marked kvpin.Pin) error
	EndMove(ctx context.Context, doc docid.Document, marked kvpin.Pin)
}

// Rooms opens rooms; *room.Rooms does.
type Rooms interface {
	Open(ctx context.Context, doc docid.Document, epoch string, fresh bool, kept *room.Kept) (*room.Room, error)
}

// History is what is needed of the histories; *history.History is one.
type History interface {
	Shard(key string) int
	LoadFrom(ctx context.Context, subject string, from uint64, each func(seq uint64, data []byte) error) (last uint64, err error)
	AppendAfter(ctx context.Context, subject string, data []byte, last uint64, ttl time.Duration) (seq uint64, err error)
	Last(ctx context.Context, subject string) (seq uint64, err error)
	PurgeBelow(ctx context.Context, subject string, seq uint64) error
	Subjects(ctx context.Context, filter string) iter.Seq2[history.Subject, error]
	// StoredSubjects is Subjects of stored lives. Both may go on behind history.ErrStreamMissing.
	StoredSubjects(ctx context.Context, filter string) iter.Seq2[history.Subject, error]
}

// Bus asks the region; *bus.Bus does.
type Bus interface {
	Request(ctx context.Context, subject string, data []byte) ([]byte, error)
	Publish(subject string, data []byte) error
	Subscribe(subject string, h bus.Handler) (*bus.Subscription, error)
	Connected() bool
}

// Options say what documents live on. All but those of stores are required.
type Options struct {
	Registry Registry
	Rooms    Rooms
	History  History
	Bus      Bus
	Log      *slog.Logger

	Node       docid.NodeID
	Region     docid.Region
	Started    time.Time     // when the node did
	Grace      time.Duration // as in the registry's config
	SweepEvery time.Duration // how often a region looks for histories that crashes left behind

	// Store returns where the documents of a license region are kept between their
	// lives, and its identity. A nil store, or a nil Store: they end with their last user.
	Store func(docid.LicenseRegion) (s storage.Store, id string)
	// KeepsDeleted says of which documents the content of what is deleted is kept when their
	// life begins. It must not block. Nil: of none but those that have it already.
	KeepsDeleted func(docid.Document) bool
	// StoreInterval is the least time between two stores of a document, the last one of
	// its life aside, and StoreFirst how long after an edit one that was quiet for as
	// long is stored. 0: 60 s and 5 s.
	StoreInterval, StoreFirst time.Duration
	// StoreBytes bounds the bodies that are loaded and stored at the same time. 0: 256 MiB.
	StoreBytes int64

	// Admit returns an error if an app may not have another document opened now.
	Admit func(docid.AppID) error
	// Redirect returns the error that sends clients to where a document is pinned.
	Redirect func(context.Context, docid.Document, kvpin.Pin) error
	// Elsewhere returns the error that sends clients of a document that lives nowhere to
	// another region: this one is evacuated.
	Elsewhere func(context.Context, docid.Document) error
	// Dismiss ends the sessions of a room for a reason: what Redirect returned, or
	// ErrEnded.
	Dismiss func(*room.Room, error)
	// Draining reports whether the node is on its way out: documents are then given up
	// without waiting for somebody to come back.
	Draining func() bool
	// Go runs a function in a goroutine that the caller waits for when it ends. No
	// document may be entered or left after that.
	Go func(func())
}

// openTimeout bounds opening and closing a document: a client hears within it that it
// cannot be served.
const openTimeout = 10 * time.Second

var (
	// ErrMoving is returned by Enter and StillHere for a document that has left this region;
	// where to is being found out.
	ErrMoving = errors.New("document moves to another region")
	// ErrEnded is returned by StillHere for a document whose life ended without this node;
	// another has begun.
	ErrEnded = errors.New("the document lives anew")
)

// Documents are the documents that are live on this node. Load and unload of one
// document are serialised: a fast reconnect never meets a half-loaded or
// half-closed room, and a failed load fails its joiners and leaves nothing. Its methods
// may be called concurrently.
type Documents struct {
	// static
	o        Options
	ctx      context.Context // ends with the node
	shutdown context.Context // for what is being given up when the node ends

	// Of documents that are live.
	table    table
	follower follower
	unheard  unheard
	saves    saves
	keptOn   sync.Map // apps of which keepsStill has told
	Moves    Moves

	// Of lives that have ended.
	lives    lives
	purges   purges
	payments payments
	sweep    sweep
	losses   losses
}

// New makes the documents of a node. ctx ends with the node: nothing is opened any
// more, and nobody is waited for. What is given up then may take until shutdown ends.
func New(ctx, shutdown context.Context, o Options) *Documents {
	ds := &Documents{o: o, ctx: ctx, shutdown: shutdown}
	ds.table.init(o.Started)
	ds.follower.init(ds)
	ds.unheard.init(ds)
	ds.saves.init(ds)
	ds.Moves.init(ds)
	ds.lives.history = o.History
	ds.purges.init(ds)
	ds.payments.init(ds)
	ds.sweep.init(ds)
	ds.losses.init(ds)
	return ds
}

// Run purges and sweeps until ctx ends.
func (ds *Documents) Run(ctx context.Context) {
	var tasks sync.WaitGroup
	tasks.Go(func() { ds.purges.run(ctx) })
	tasks.Go(func() { ds.unheard.run(ctx) })
	tasks.Go(func() { ds.follower.stops.run(ctx) })
	if ds.o.Store != nil {
		tasks.Go(func() { ds.saves.run(ctx) })
	}
	tasks.Go(func() { ds.sweep.run(ctx) })
	tasks.Wait()
}

// Unpinned is for kvpin.Config: a document is unpinned without a room's doing.
func (ds *Documents) Unpinned(doc docid.Document, pin kvpin.Pin) {
	if pin.Owed { // told again and again: what is due stays due
		ds.purges.suspect(life{doc, string(pin.Epoch)}, time.Now())
		return
	}
	ds.purges.owe(doc, string(pin.Epoch), time.Now().Add(ds.o.Grace))
}

// Swept is for kvpin.Config: a node of the region has died, or ended, that may have been about to
// remove histories of documents of a license region.
func (ds *Documents) Swept(license docid.LicenseRegion) { ds.sweep.soon(license) }

// Owes is for kvpin.Config: whether this node is to remove histories of documents of a license
// region, which nobody else knows.
func (ds *Documents) Owes(license docid.LicenseRegion) bool { return ds.purges.any(license) }

// Covered is for kvpin.Config: whether the store has everything of a life whose last
// holder leaves.
func (ds *Documents) Covered(ctx context.Context, doc docid.Document, epoch kvpin.Epoch) (bool, error) {
	if d := ds.Get(doc); d != nil && d.keeper != nil && d.room.Epoch() == string(epoch) {
		if d.fate.deleted() {
			return true, nil // nothing of it is to be stored
		}
		clean, err := d.room.Clean(ctx)
		d.keeper.owes.Store(err != nil || !clean)
		return clean, err
	}
	found, err := ds.lives.found(ctx, life{doc, string(epoch)})
	return err == nil && found.Clean(), err // of one that could not be opened there is nothing
}

// Unstored goes through the stored lives whose histories in this region hold what the store
// does not, as far as it has yet to be stored. An error is the last thing it yields.
func (ds *Documents) Unstored(ctx context.Context) iter.Seq2[docid.Document, error] {
	return ds.lives.unstored(ctx)
}

// Follower has the documents follow what the registry tells.
func (ds *Documents) Follower() kvpin.Rooms { return &ds.follower }

// Unheard is how many documents other nodes have open by their pins that are not heard.
func (ds *Documents) Unheard() int { return ds.unheard.count() }

// Len is how many documents are live, those that are being opened included.
func (ds *Documents) Len() int { return ds.table.list.Len() }

// All returns the documents that are live.
func (ds *Documents) All() []*Document { return ds.table.list.All() }

// After returns up to n documents that were entered after the one with the id, and
// whether there may be more.
func (ds *Documents) After(id uint64, n int) (found []roster.Entry[*Document], more bool) {
	return ds.table.list.After(id, n)
}

// Entry returns a document's id in listings, and whether it is being given up.
func (ds *Documents) Entry(d *Document) (id uint64, closing bool) { return ds.table.listed(d) }

// AwaitEmpty waits until no document is live on this node.
func (ds *Documents) AwaitEmpty(ctx context.Context) error { return ds.table.awaitEmpty(ctx) }

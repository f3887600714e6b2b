// Package kvpin is the registry: it knows in which region a document lives.
//
// A pin is one key in the bucket of the document's license region. It names the
// region, the epoch of the document's life and the nodes that hold it. Nodes
// prove that they are alive by a lease, one key per node and registry, so that
// writes grow with nodes and not with documents. Every change of a pin is a
// compare-and-swap; when the last holder leaves, the server's own expiry unpins.
//
// Three rules make it exact. What decides is read from the bucket's leader. One
// node does one registry operation per document at a time. And a write that got
// no answer counts as neither done nor undone until the revision has moved or
// nothing sent before can still arrive; what is unsettled is owed, which the
// registry works off in the background.
//
// bucket.go puts a node's side of one registry together: requests, the node's lease, those of
// other nodes, regions, the documents it holds or owes, the operations on pins, notices about
// stores, the sweeper. move.go moves pins, about.go is what nodes say about themselves.
package kvpin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// Epoch names one life of a document: from the first claim until it is unpinned.
// It is a single NATS subject token.
type Epoch string

// LeaseID names one unbroken time of a node's lease. A lost lease never returns:
// the next one has a new id.
type LeaseID string

// Holder is a node of the pin's region that has sessions of the document, and the
// lease under which it said so.
type Holder struct {
	Node  docid.NodeID `json:"node"`
	Lease LeaseID      `json:"lease"`
}

// Pin says where a document lives.
type Pin struct {
	Region  docid.Region
	Epoch   Epoch
	Holders []Holder
	// Since is when the document was claimed, by the clock of the claiming node.
	Since time.Time
	// Left is when the last session ended on those nodes that have left since the
	// claim, by the clocks of these nodes; zero if none has.
	Left time.Time
	// Revision is the revision of the pin's key. Of a document without a pin it is
	// the revision of what its expiry left, or 0.
	Revision uint64
	// Owed: the document is stored, and its store lacks what its history holds. There are
	// no holders, and no grace period runs: the region keeps the document until that is
	// stored.
	Owed bool
	// Moving is set while a node of the region moves the document to another one.
	Moving *Moving

	ttl time.Duration // for which the key was written; 0: an earlier version did not say
}

// State is what a pin amounts to.
type State int

const (
	// Free: there is no pin.
	Free State = iota
	// Live: a holder has a current lease.
	Live
	// Grace: there are no holders; the pin's expiry runs.
	Grace
	// Orphaned: there are holders, and none has a current lease.
	Orphaned
	// Owed: there are no holders, and the region owes the store what the document's
	// history holds.
	Owed
)

// String returns the state in one lower-case word.
func (s State) String() string {
	switch s {
	case Free:
		return "free"
	case Live:
		return "live"
	case Grace:
		return "grace"
	case Orphaned:
		return "orphaned"
	case Owed:
		return "owed"
	}
	return fmt.Sprintf("state %d", int(s))
}

var (
	// ErrUnavailable is returned when the registry gave no answer in time, when
	// it cannot be reached, or when this node's own lease is not current. Other
	// errors that mean the same to a caller wrap it.
	ErrUnavailable = kv.ErrUnavailable

	// ErrUnsettled is ErrUnavailable after a write was sent: it may still land. The
	// registry settles its own writes; users of Keys repeat theirs.
	ErrUnsettled = kv.ErrUnsettled

	// ErrConflict is returned when a key has another revision than expected, or
	// when another write to it is in flight: read it again.
	ErrConflict = kv.ErrConflict

	// ErrNotServed is returned for a license region without a configured registry.
	ErrNotServed = errors.New("license region not served")

	// ErrNotFound is returned for a key or region that does not exist.
	ErrNotFound = errors.New("not found")

	// ErrSilent is returned by Config.Alive when a node of the region has the document
	// open, and does not say in which epoch: it may be dead, or frozen.
	ErrSilent = errors.New("a node that has the document open does not answer")

	// ErrHeld is returned by Hold and Adopt when this node holds the document
	// already.
	ErrHeld = errors.New("document is held already")
)

// PinnedError is returned by Hold when the document lives in another region.
type PinnedError struct {
	Document docid.Document
	Pin      Pin
}

func (e *PinnedError) Error() string {
	return fmt.Sprintf("%s is pinned to region %s", e.Document, e.Pin.Region)
}

// Rooms is what the registry tells when a pin is no longer what this node thought,
// after a lost lease or when somebody removed the pin. The calls come from the
// registry's own goroutines, one at a time per document, without any lock held:
// they may take their time and may call Release.
type Rooms interface {
	// Moved: the document is pinned in another region now. The hold is over; the
	// members get 4009.
	Moved(docid.Document, Pin)
	// Ended: the document's life ended while this node's lease had run out, and it has
	// begun another one in this region. The hold is over. What the room holds is of the
	// former life and must not get into the new one; the members get 1012, and those
	// who come back bring what they have themselves.
	Ended(docid.Document, Pin)
	// Restored: the pin was gone and was created again with the same epoch. The
	// history may have been purged meanwhile: append a full snapshot before taking
	// joiners. An error has the call repeated; ctx ends with the hold.
	Restored(context.Context, docid.Document, Pin) error
	// Rebased: the document has another epoch in this region, although this node's lease
	// has been unbroken: the registry was changed by hand or restored from a copy. Merge the room's
	// content into the epoch of the pin and go on there. An error has the call
	// repeated; ctx ends with the hold.
	Rebased(context.Context, docid.Document, Pin) error
	// Renewed: the pin was looked at because it has seen no write for hours, and is as it was. It is the
	// time to look whether the store holds what others have stored.
	Renewed(docid.Document)
	// Told: somebody has deleted the document, or has stored what the life of the given
	// epoch does not have; see Registry.StoreChanged. Look at what the store holds, follow it, and
	// return then. This node may have the document open, in whatever epoch, or not. An error has the call
	// repeated. Unlike the others, it may come beside other calls, and before Hold has returned.
	Told(context.Context, docid.Document, Epoch) error
	// Stop: another node of the region is about to move the document, which it stores once
	// all holders have stopped. Take no edits any more, and return when the history has all
	// that were taken. Without another word for the given time, go on by Hold.GoOn. An error
	// has the call repeated. Like Told, it may come beside other calls.
	Stop(ctx context.Context, doc docid.Document, epoch Epoch, life time.Duration) error
	// MoveOver: the move for which Stop was called is done, or was given up. Hold.GoOn tells
	// which. It must not block.
	MoveOver(docid.Document)
}

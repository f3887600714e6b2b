package docs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// deleteWait is how long those who have a document open have to close it: longer than a
// lease lasts, and than an opening takes.
const deleteWait = 45 * time.Second

// SilentError says that a document is deleted, and that nodes that had it open have not
// said that they have closed it. They will, as long as they live; one that does not live
// closes it when it comes back.
type SilentError struct {
	Document docid.Document
	Nodes    []docid.NodeID
	Err      error
}

func (e *SilentError) Error() string {
	names := make([]string, len(e.Nodes))
	for i, n := range e.Nodes {
		names[i] = string(n)
	}
	return fmt.Sprintf("%s is deleted, but not yet closed, as far as is known, on %s: %v", e.Document, strings.Join(names, ", "), e.Err)
}

// Unwrap returns why it is not known.
func (e *SilentError) Unwrap() error { return e.Err }

// Delete puts a tombstone in the place of a document, also of one that the store does not
// have: clients that were away do not bring it back then. If the document is live, its
// pin goes, and all who have it open close it: Delete returns when they have, or their
// leases are gone. It may be repeated, and waits again for those who were silent.
func (d *Docs) Delete(ctx context.Context, doc docid.Document) (PutResult, error) {
	s, err := d.store(doc)
	if err != nil {
		return PutResult{}, err
	}
	var result PutResult
	for attempt := 1; ; attempt++ {
		result, err = d.delete(ctx, s, doc)
		if attempt == putAttempts || !errors.Is(err, storage.ErrConflict) {
			break
		}
	}
	if err != nil {
		return result, err
	}
	return result, d.close(ctx, doc)
}

// close ends the life of a document that has a tombstone. Whoever entered its pin before
// that was removed is told, and whoever claims the document later finds the tombstone.
func (d *Docs) close(ctx context.Context, doc docid.Document) error {
	ctx, cancel := context.WithTimeout(ctx, deleteWait)
	defer cancel()
	asked, unknown := d.cfg.Pins.Unanswered(ctx, doc) // of an attempt before
	removed, err := d.cfg.Pins.Evict(ctx, doc)
	err = errors.Join(err, unknown)
	var silent []docid.NodeID
	for _, pin := range asked {
		nodes, failed := d.cfg.Pins.StoreChanged(ctx, doc, pin, false)
		silent, err = append(silent, nodes...), errors.Join(err, failed)
	}
	for _, pin := range removed {
		nodes, failed := d.cfg.Pins.StoreChanged(ctx, doc, pin, true)
		silent, err = append(silent, nodes...), errors.Join(err, failed)
	}
	switch {
	case len(silent) > 0:
		slices.Sort(silent)
		return &SilentError{doc, slices.Compact(silent), err}
	case err != nil:
		return fmt.Errorf("%s is deleted, but may be open on nodes still: %w", doc, err)
	}
	return nil
}

func (d *Docs) delete(ctx context.Context, s storage.Store, doc docid.Document) (PutResult, error) {
	info, err := s.Stat(ctx, doc)
	var tombstone *storage.DeletedError
	switch {
	case errors.As(err, &tombstone):
		return PutResult{Unchanged, tombstone.Tombstone.Version, 0}, nil
	case errors.Is(err, storage.ErrAbsent):
		info = storage.Info{}
	case err != nil:
		return PutResult{}, err
	}
	m := storage.Meta{Generation: storage.NewGeneration(), Region: d.cfg.Region, Time: time.Now()}
	version, err := s.Delete(ctx, doc, info.Version, m)
	if errors.Is(err, storage.ErrDeleted) { // somebody else was faster
		return PutResult{Outcome: Unchanged}, nil
	}
	return PutResult{Deleted, version, 0}, err
}

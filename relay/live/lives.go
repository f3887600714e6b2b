package live

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/oplog"
)

// lives reads and ends what the histories of the region hold of stored lives, whether or
// not anybody has their documents open. Of a history no more is purged than was found in it
// before: what is appended meanwhile stays.
type lives struct{ history History }

// life is one life of a document, whether or not it has ended.
type life struct {
	doc   docid.Document
	epoch string
}

func (ls lives) subject(l life) string {
	return l.doc.UpdatesSubject(ls.history.Shard(l.doc.PinKey()), l.epoch)
}

// found is what the history of a life holds.
func (ls lives) found(ctx context.Context, l life) (oplog.Loaded, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	return oplog.Load(ctx, ls.history, ls.subject(l), func(oplog.Kind, []byte, bool) {}, func(error) {})
}

// of lists the stored lives of a document of which the region has a history.
func (ls lives) of(ctx context.Context, doc docid.Document) (lives []life, err error) {
	shard := ls.history.Shard(doc.PinKey())
	for subject, err := range ls.history.StoredSubjects(ctx, doc.LivesFilter(shard)) {
		if err != nil {
			return nil, err
		}
		if d, epoch, err := docid.ParseUpdatesSubject(subject.Name); err == nil && d == doc {
			lives = append(lives, life{doc, epoch})
		}
	}
	return lives, nil
}

// last is the sequence of the last message in the history of a life; 0: there is none.
func (ls lives) last(ctx context.Context, l life) (uint64, error) {
	last, err := ls.history.Last(ctx, ls.subject(l))
	if errors.Is(err, history.ErrStreamMissing) {
		return 0, nil
	}
	return last, err
}

// purge purges the history of a life up to a message, that one included.
func (ls lives) purge(ctx context.Context, l life, last uint64) error {
	return ls.history.PurgeBelow(ctx, ls.subject(l), last+1)
}

// markerTTL is how long an ended life leaves a marker in its history: a node that was
// frozen, and goes on in it, loads what it stands on first.
const markerTTL = time.Hour

// leaveMarker purges the history of a life that has ended, up to a marker with the base
// that it stood on. Should somebody append meanwhile, nothing is purged. A marker that is there
// already, but what it stands for as well, is of an attempt whose answer was lost, or whose node died.
func (ls lives) leaveMarker(ctx context.Context, l life, found oplog.Loaded) error {
	if found.Ended {
		return ls.history.PurgeBelow(ctx, ls.subject(l), found.Last)
	}
	base, ok := found.Base()
	if !ok {
		return ls.purge(ctx, l, found.Last) // nothing stands in it
	}
	mark := oplog.Mark{UpTo: found.Last, Purges: true, Ends: true, Base: base}
	data := oplog.Kept.Append(nil, oplog.NoRoom, oplog.Stored, 0, oplog.AppendMark(nil, mark))
	seq, err := ls.history.AppendAfter(ctx, ls.subject(l), data, found.Last, markerTTL)
	if err != nil {
		return err
	}
	return ls.history.PurgeBelow(ctx, ls.subject(l), seq)
}

// unstored goes through the stored lives whose histories in this region hold what the store
// does not, as far as it has yet to be stored. An error is the last thing it yields.
func (ls lives) unstored(ctx context.Context) iter.Seq2[docid.Document, error] {
	return func(yield func(docid.Document, error) bool) {
		for subject, err := range ls.history.StoredSubjects(ctx, "") {
			if err != nil { // of a stream that is missing nobody knows what it held
				yield(docid.Document{}, err)
				return
			}
			doc, epoch, err := docid.ParseUpdatesSubject(subject.Name)
			if err != nil {
				continue // not of ours
			}
			found, err := ls.found(ctx, life{doc, epoch})
			if err != nil {
				yield(doc, err)
				return
			}
			if !found.Clean() && !yield(doc, nil) {
				return
			}
		}
	}
}

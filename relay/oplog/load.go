package oplog

import (
	"context"
	"errors"
)

// History is what Load reads: *history.History is one.
type History interface {
	Load(ctx context.Context, subject string, each func(seq uint64, data []byte) error) (last uint64, err error)
}

// Loaded is what a history holds.
type Loaded struct {
	Last uint64 // the last sequence read; 0: the history is empty
	// Starts says where messages begin that lack parts and may still be completed.
	// What is read is whole only before the first of them.
	Starts         map[Key]uint64
	Messages, Size int // behind the last snapshot; the size is in bytes

	// Of a stored life.
	Changed  uint64 // the last sequence of an update, a snapshot, or a part of one
	Stored   uint64 // what stands up to it is in the store
	Ended    bool   // the last message is what an ended life leaves behind
	purged   uint64 // what stands up to it may be missing
	snapshot uint64 // the sequence of the last whole one
	bases    []based
}

// based is a base and where it stands.
type based struct {
	seq    uint64
	base   Base
	purges bool
}

// Clean reports whether the store has all that the history holds. It is judged by
// sequences: an edit that waits for others changes neither what a state vector says nor
// which deletions are known.
func (l Loaded) Clean() bool { return l.Changed <= l.Stored }

// Whole reports whether the history holds the whole document, so that the body of its
// base is not needed.
func (l Loaded) Whole() bool { return l.snapshot > l.purged }

// BaseAt returns the last base that stands at or below a sequence; of one that stands
// above, nobody knows whether what was read contains its body. It does not either if the
// base has purged the history, unless who reads had its body before.
func (l Loaded) BaseAt(seq uint64) (b Base, purged, ok bool) {
	for i := len(l.bases) - 1; i >= 0; i-- {
		if l.bases[i].seq <= seq {
			return l.bases[i].base, l.bases[i].purges, true
		}
	}
	return Base{}, false, false
}

// Base returns the last base, if there is one.
func (l Loaded) Base() (b Base, ok bool) {
	b, _, ok = l.BaseAt(l.Last)
	return b, ok
}

// Load reads a history and hands each whole body, in order, to take, which may keep
// it. keep says that the history keeps what is deleted: so does all behind the first base
// that says so. What stands before the first base, as a compaction leaves it, waits for
// that. A message that makes no sense goes to refuse and is passed over: one must not
// take the document away. A version or a kind that this pod does not know ends the reading
// with its *VersionError or *KindError, since what it says cannot be left out; so does a
// malformed message of a stored life, which may hold the base.
func Load(ctx context.Context, h History, subject string, take func(k Kind, body []byte, keep bool), refuse func(error)) (Loaded, error) {
	r := replay{loaded: Loaded{Starts: map[Key]uint64{}}, groups: map[Key]*group{}}
	type message struct {
		kind Kind
		body []byte
	}
	var early []message // before the first base
	flush := func() {
		for _, m := range early {
			take(m.kind, m.body, r.keep)
		}
		early = nil
	}
	last, err := h.Load(ctx, subject, func(seq uint64, data []byte) error {
		m, err := Read(data)
		version, kind := (*VersionError)(nil), (*KindError)(nil)
		if errors.As(err, &version) || errors.As(err, &kind) || err != nil && len(data) > 0 && data[0] == byte(Kept) {
			return err
		}
		if err != nil {
			refuse(err)
			return nil
		}
		k, body, err := r.next(seq, m)
		if m.Format == Kept && len(r.loaded.bases) == 0 && err == nil {
			if body != nil {
				early = append(early, message{k, body})
			}
			return nil
		}
		flush()
		if body != nil {
			take(k, body, r.keep)
		}
		return err
	})
	flush()
	r.loaded.Last = last
	return r.loaded, err
}

// replay puts the messages of a history together. Unlike over the bus, their parts are
// in order and none is lost: a room that goes on past a group has given it up.
type replay struct {
	loaded Loaded
	groups map[Key]*group
	keep   bool // what is deleted
}

// next takes a message, and returns the update that it completes, nil if none.
func (r *replay) next(seq uint64, m Message) (k Kind, update []byte, err error) {
	r.loaded.Ended = false
	if m.Kind == Seed || m.Kind == Stored {
		return 0, nil, r.mark(seq, m)
	}
	r.loaded.Changed = seq
	r.loaded.Messages, r.loaded.Size = r.loaded.Messages+1, r.loaded.Size+len(m.Body)
	for key, g := range r.groups {
		if key.Room == m.Room && m.Counter >= key.First+uint64(len(g.parts)) {
			r.forget(key)
		}
	}
	if m.Kind == Partial {
		key := Key{m.Room, m.Part.First}
		if r.groups[key] == nil {
			r.groups[key], r.loaded.Starts[key] = new(group), seq
		}
		if m.Body, m.Kind = r.groups[key].add(m.Part, m.Body), m.Part.Kind; m.Body == nil {
			return 0, nil, nil
		}
		r.forget(key)
	}
	if m.Kind == Snapshot {
		r.loaded.Messages, r.loaded.Size = 0, 0
		r.loaded.snapshot = seq
		if m.Format == Kept {
			var base Base
			if base, m.Body, err = ReadBase(m.Body); err != nil {
				return 0, nil, err
			}
			r.based(based{seq, base, false})
		}
	}
	return m.Kind, m.Body, nil
}

// mark takes a message that holds no update.
func (r *replay) mark(seq uint64, m Message) (err error) {
	var mark Mark
	if m.Kind == Stored {
		mark, err = ReadMark(m.Body)
	} else {
		mark.Base, _, err = ReadBase(m.Body)
	}
	if err != nil {
		return err
	}
	if mark.UpTo < seq { // else it speaks of a stream that was lost, whose numbers come again
		r.loaded.Stored = max(r.loaded.Stored, mark.UpTo)
	}
	r.loaded.Ended = mark.Ends
	if mark.Purges {
		r.loaded.purged = max(r.loaded.purged, min(mark.UpTo, seq-1))
	}
	r.based(based{seq, mark.Base, mark.Purges})
	return nil
}

func (r *replay) based(b based) {
	r.loaded.bases = append(r.loaded.bases, b)
	r.keep = r.keep || b.base.KeepDeleted
}

func (r *replay) forget(key Key) {
	delete(r.groups, key)
	delete(r.loaded.Starts, key)
}

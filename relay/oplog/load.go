package oplog

import (
	"cmp"
	"context"
	"errors"
	"slices"
)

// History is what Load reads: *history.History is one.
type History interface {
	LoadFrom(ctx context.Context, subject string, from uint64, each func(seq uint64, data []byte) error) (last uint64, err error)
}

// Loaded is what a history holds.
type Loaded struct {
	First uint64 // the first sequence read, by this reading or one that it goes on from; 0: the history is empty
	Last  uint64 // the last one; 0: the history is empty
	// Starts says where messages begin that lack parts and may still be completed.
	// What is read is whole only before the first of them.
	Starts         map[Key]uint64
	Messages, Size int // behind the last snapshot, or mark that purges; the size is in bytes

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

// OnlyMarker reports whether the history holds nothing but what an ended life leaves behind.
func (l Loaded) OnlyMarker() bool { return l.Ended && l.First == l.Last }

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
	loaded, _, err := LoadOn(ctx, h, subject, nil, take, refuse)
	return loaded, err
}

// LoadOn is Load that goes on where a former reading of the subject ended, nil for none. It
// finds what Load finds, but take is handed only what is new; and everything once more if the
// history is not the one that was read, or no longer holds where that ended. It returns what
// the next reading goes on from, nil if that must begin anew.
func LoadOn(ctx context.Context, h History, subject string, former *Reading, take func(k Kind, body []byte, keep bool), refuse func(error)) (Loaded, *Reading, error) {
	if former != nil {
		l := loading{replay: former.resume(), take: take, refuse: refuse, former: former}
		last, err := h.LoadFrom(ctx, subject, former.loaded.Last, l.next)
		if l.former == nil || err != nil && !errors.Is(err, errElsewhere) {
			return l.end(last, err)
		}
	}
	l := loading{replay: replay{loaded: Loaded{Starts: map[Key]uint64{}}, groups: map[Key]*group{}}, take: take, refuse: refuse}
	last, err := h.LoadFrom(ctx, subject, 1, l.next)
	return l.end(last, err)
}

// Reading is a history as far as it was read. It is immutable.
//
// It goes on behind a message that it knows again by its place and its head, in which are
// the id of a room, drawn at random, and its counter: no two are alike but markers of ended
// lives (NoRoom), and those tell each other apart by what they cover and stand on. A history
// only ever grows at its end and is purged from its beginning, so what stands up to that
// message was read. A history that was lost and begins anew has none, or another one in that
// place, and is read from its beginning; so is one that was purged beyond it.
type Reading struct {
	loaded Loaded // of which only the last base is needed
	keep   bool
	head   string // of the last message that was read
}

// errElsewhere ends a reading that does not begin where the former one ended.
var errElsewhere = errors.New("the history does not go on where it was read up to")

// headOf tells a message from others. It holds no reference to it.
func headOf(data []byte) string { return string(data[:min(len(data), MaxHead)]) }

func (r *Reading) resume() replay {
	loaded := r.loaded
	loaded.Starts = map[Key]uint64{}
	loaded.bases = slices.Clone(loaded.bases)
	return replay{loaded: loaded, groups: map[Key]*group{}, keep: r.keep}
}

// loading is a reading under way.
type loading struct {
	replay
	take    func(k Kind, body []byte, keep bool)
	refuse  func(error)
	former  *Reading // whose last message comes first; nil once it came
	early   []early
	unbased bool   // it has messages that wait for a base
	head    string // of the message that was read last; empty: the reading cannot go on behind it
}

// early is what stands before the first base.
type early struct {
	kind Kind
	body []byte
}

func (l *loading) next(seq uint64, data []byte) error {
	if former := l.former; former != nil {
		if seq != former.loaded.Last || headOf(data) != former.head {
			return errElsewhere
		}
		l.former, l.head = nil, former.head
		return nil
	}
	l.head = ""
	l.loaded.First = cmp.Or(l.loaded.First, seq)
	m, err := Read(data)
	version, kind := (*VersionError)(nil), (*KindError)(nil)
	if errors.As(err, &version) || errors.As(err, &kind) || err != nil && len(data) > 0 && data[0] == byte(Kept) {
		return err
	}
	if err != nil {
		l.refuse(err)
		return nil
	}
	l.head = headOf(data)
	k, body, err := l.replay.next(seq, m)
	if m.Format == Kept && len(l.loaded.bases) == 0 && err == nil {
		l.unbased = true
		if body != nil {
			l.early = append(l.early, early{k, body})
		}
		return nil
	}
	l.flush()
	if body != nil {
		l.take(k, body, l.keep)
	}
	return err
}

func (l *loading) flush() {
	for _, m := range l.early {
		l.take(m.kind, m.body, l.keep)
	}
	l.early = nil
}

func (l *loading) end(last uint64, err error) (Loaded, *Reading, error) {
	l.flush()
	l.loaded.Last = last
	if err != nil || l.head == "" || len(l.groups) > 0 || l.unbased && len(l.loaded.bases) == 0 {
		return l.loaded, nil, err
	}
	next := &Reading{loaded: l.loaded, keep: l.keep, head: l.head}
	next.loaded.Starts = nil
	next.loaded.bases = slices.Clone(l.loaded.bases[max(0, len(l.loaded.bases)-1):])
	return l.loaded, next, nil
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
	if mark.Purges { // as behind a snapshot; what came between the save and this is not much
		r.loaded.purged = max(r.loaded.purged, min(mark.UpTo, seq-1))
		r.loaded.Messages, r.loaded.Size = 0, 0
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

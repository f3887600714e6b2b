package ystore

import (
	"cmp"
	"iter"
	"slices"
)

const (
	// MaxMessage is up to which size, in bytes, a difference is one message: a link of
	// 128 kbit/s takes it within 25 s.
	MaxMessage = 384 << 10
	// pieceBytes is the size of the pieces of a larger one.
	pieceBytes = 256 << 10
)

// Progress says what a client has of a document. It is immutable; the zero value is a
// client that has nothing.
type Progress struct{ vector []id } // highest client first

// ReadProgress returns the progress that an encoded state vector says. The error wraps
// an *UpdateError.
func ReadProgress(stateVector []byte) (Progress, error) {
	sv, err := readStateVector(stateVector)
	return Progress{sv}, err
}

// All returns the clients that are known of, the highest first, and the first clock of
// each that is missing.
func (p Progress) All() iter.Seq2[uint64, uint64] {
	return func(yield func(client, clock uint64) bool) {
		for _, v := range p.vector {
			if !yield(v.client, v.clock) {
				return
			}
		}
	}
}

// Compare reports whether structs are lacking that the other has, and whether the two
// are the same.
func (p Progress) Compare(other Progress) (lacks, same bool) {
	mine, same := p.vector, len(p.vector) == len(other.vector)
	for _, v := range other.vector {
		for len(mine) > 0 && mine[0].client > v.client {
			mine = mine[1:]
		}
		known := uint64(0)
		if len(mine) > 0 && mine[0].client == v.client {
			known = mine[0].clock
		}
		lacks = lacks || v.clock > known
		same = same && v.clock == known
	}
	return lacks, same
}

// None reports that the client has nothing.
func (p Progress) None() bool { return len(p.vector) == 0 }

// Piece is a part of a difference: an update that a Yjs client integrates when it has
// the pieces before, without deletions.
type Piece struct {
	Update []byte
	spans  []span
}

// Past returns the progress of a client that was sent the piece.
func (p Progress) Past(piece Piece) Progress {
	next := make([]id, 0, len(p.vector)+len(piece.spans))
	spans := piece.spans
	for _, v := range p.vector {
		for len(spans) > 0 && spans[0].client > v.client {
			next = append(next, id{spans[0].client, spans[0].to})
			spans = spans[1:]
		}
		if len(spans) > 0 && spans[0].client == v.client {
			v.clock = max(v.clock, spans[0].to)
			spans = spans[1:]
		}
		next = append(next, v)
	}
	for _, d := range spans {
		next = append(next, id{d.client, d.to})
	}
	return Progress{next}
}

// Progress returns how far a client has come that was sent all that the store has: the
// state vector of Integrable.
func (s *Store) Progress() Progress {
	vector := make([]id, 0, len(s.list))
	for _, r := range s.ordered() {
		if clock := r.reach(); clock > 0 {
			vector = append(vector, id{r.client, clock})
		}
	}
	return Progress{vector}
}

// Rest returns all that a client lacks and the whole delete set, with a number of bytes
// left free in front, in a slice that is the caller's.
func (s *Store) Rest(p Progress, room int) []byte {
	x := s.change()
	defer x.end()
	if p.None() {
		x.sweepAll()
	}
	return x.encode(p.vector, room, nil)
}

// Lacks estimates the bytes of the structs that a client lacks. It stops counting at
// most.
func (s *Store) Lacks(p Progress, most int) (size int) {
	sv := p.vector
	for _, r := range s.ordered() {
		for len(sv) > 0 && sv[0].client > r.client {
			sv = sv[1:]
		}
		if from, ok := r.since(sv); ok {
			size += 26 + r.sizeUpTo(from, most-size)
		}
		if size >= most {
			break
		}
	}
	return size
}

// Next returns the next piece of what a client lacks; ok is false when the rest is no
// more than a message, or cannot be divided. Pieces hold what they hang on, or an earlier one does.
func (s *Store) Next(p Progress) (piece Piece, ok bool) { return s.next(p, MaxMessage, pieceBytes) }

func (s *Store) next(p Progress, message, most int) (piece Piece, ok bool) {
	if s.Lacks(p, message) < message {
		return Piece{}, false
	}
	w := s.newWalk(p.vector, most)
	for i := range w.lanes {
		if w.full {
			break
		}
		w.walk(&w.lanes[i])
	}
	spans := make([]span, 0, 16)
	size := 16
	for _, l := range w.lanes {
		if l.at > l.from {
			spans = append(spans, span{l.run.client, l.from, l.at})
			size += 26
		}
	}
	if len(spans) == 0 {
		return Piece{}, false
	}
	b := s.appendBlocks(make([]byte, 0, size+w.size), spans)
	return Piece{append(b, 0), spans}, true
}

// walk goes over what a client lacks in causal order, until a piece is full.
type walk struct {
	lanes []lane // highest client first
	most  int    // bytes
	size  int    // bytes that were passed
	full  bool
}

// lane is what a client lacks of one client id, before a gap. What lies behind one is
// for the rest: a state vector cannot say that it was sent.
type lane struct {
	run      *run
	from, at uint64 // at is where the walk stands
	goal     uint64 // the walk leaves the lane when it is passed
	walking  bool
}

func (rs *runs) newWalk(sv []id, most int) *walk {
	w := &walk{lanes: make([]lane, 0, len(rs.list)), most: most}
	for _, r := range rs.ordered() {
		for len(sv) > 0 && sv[0].client > r.client {
			sv = sv[1:]
		}
		if from, ok := r.since(sv); ok && from < r.next {
			w.lanes = append(w.lanes, lane{run: r, from: from, at: from})
		}
	}
	return w
}

// walk passes all of a lane, and of others first what that hangs on.
func (w *walk) walk(first *lane) {
	first.goal, first.walking = maxClock+1, true
	stack := []*lane{first}
	for len(stack) > 0 {
		l := stack[len(stack)-1]
		if on := w.pass(l); on != nil {
			stack = append(stack, on)
			continue
		}
		if w.full {
			return
		}
		l.walking = false
		stack = stack[:len(stack)-1]
	}
}

// pass moves over a lane's structs up to its goal, or until the piece is full. It
// returns the lane of which something must be passed before.
func (w *walk) pass(l *lane) (on *lane) {
	for l.at < l.goal && l.at < l.run.next {
		lf := l.run.leafAt(l.at)
		for i := lf.find(l.at); i < len(lf.ents) && l.at < min(l.goal, l.run.next); i++ {
			if on = w.before(l, lf, i); on != nil {
				return on
			}
			n := lf.offset(i+1) - lf.offset(i)
			if w.size > 0 && w.size+n > w.most+w.most/4 { // what is large comes alone
				w.full = true
				return nil
			}
			l.at = lf.endOf(i)
			if w.size += n; w.size >= w.most {
				w.full = true
				return nil
			}
		}
	}
	return nil
}

// before returns a lane of which something must be passed before entry i of l. What is
// missing, and what hangs on itself in a circle, is not waited for: clients wait for it
// in any order.
func (w *walk) before(l *lane, lf *leaf, i int) *lane {
	e := lf.ents[i]
	if e.kind() == kindGC || e.continues() || e.clock() < l.at {
		return nil
	}
	var it item
	it.decodeHead(lf.buf, int(e.off))
	if it.info&hasOrigin != 0 {
		if on := w.lacking(l, it.origin); on != nil {
			return on
		}
	}
	if it.info&hasRight != 0 {
		if on := w.lacking(l, it.right); on != nil {
			return on
		}
	}
	if it.form == parentItem {
		return w.lacking(l, it.parent)
	}
	return nil
}

func (w *walk) lacking(l *lane, at id) *lane {
	if at.client == l.run.client {
		return nil
	}
	i, ok := slices.BinarySearchFunc(w.lanes, at.client, func(l lane, client uint64) int { return cmp.Compare(client, l.run.client) })
	if !ok {
		return nil
	}
	on := &w.lanes[i]
	if at.clock < on.at || at.clock >= on.run.next || on.walking {
		return nil
	}
	on.goal, on.walking = at.clock+1, true
	return on
}

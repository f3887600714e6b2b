package ystore

// A document that is loaded is given the memory of its body: see Terms.Given. Leaves whose
// structs are kept as they stand in it lie there, and the document is spared a copy, and
// memory, of all that. A leaf that changes gets memory of its own before.
//
// The body stays in memory as long as a leaf lies in it. When more than half of it is in use
// no more, the other leaves leave it, too.

// maxGiven bounds the body that is kept: half of it may have to be copied at once, while
// somebody edits.
const maxGiven = 4 << 20

// given is the body that the document was given; the zero value if there is none.
type given struct {
	size int // of its memory
	used int // by leaves
}

// unused is the memory that nothing lies in.
func (g given) unused() int { return g.size - g.used }

// takes reports whether leaves may lie in the memory of an update.
func (g given) takes(update []byte) bool { return g.size == 0 && cap(update) <= maxGiven }

// lay has a leaf lie in a part of the update that is given.
func (g *given) lay(l *leaf, update []byte, from, end int) {
	l.buf, l.given = update[from:end:end], true
	g.size = cap(update)
	g.used += end - from
}

// leave notes that a leaf lies no longer in what was given.
func (g *given) leave(l *leaf) {
	if l.given {
		l.given = false
		g.used -= cap(l.buf)
	}
}

// own gives a leaf that is about to change memory of its own, if it lies in what was given.
func (t *totals) own(l *leaf) {
	if !l.given {
		return
	}
	held := l.held()
	t.given.leave(l)
	l.buf = append(make([]byte, 0, len(l.buf)+len(l.buf)/8), l.buf...)
	t.held += l.held() - held
}

// letGo has all leaves leave what was given once most of it is not in use.
func (t *totals) letGo(runs []*run) {
	if t.given.used >= t.given.unused() {
		return
	}
	for _, r := range runs {
		for l := r.first; l != nil; l = l.next {
			t.own(l)
		}
	}
	t.given = given{}
}

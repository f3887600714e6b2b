package ystore

// writer writes structs of one run, or counts them.
type writer struct {
	b        []byte
	counting bool
	structs  uint64
	gap      uint64 // length of a Skip that is due before the next struct
}

// spans writes several ranges of a run, which are sorted and apart.
func (w *writer) spans(r *run, spans []span) {
	for i, d := range spans {
		if i > 0 {
			w.gap += d.from - spans[i-1].to
		}
		w.span(r, d.from, d.to)
	}
}

func (w *writer) span(r *run, from, to uint64) {
	l := r.leafAt(from)
	i := l.find(from)
	for l != nil && l.start() < to {
		if w.leaf(l, i, from, to) {
			l, i = l.next, 0
			continue
		}
		for ; i < len(l.ents) && l.ents[i].clock() < to; i++ {
			if kind := l.ents[i].kind(); !known(kind) {
				w.gap += min(l.endOf(i), to) - max(l.ents[i].clock(), from)
				continue
			}
			if l, i = w.group(r.client, l, i, from, to); l == nil {
				return
			}
		}
		if i == len(l.ents) {
			l, i = l.next, 0
		} else {
			return
		}
	}
}

// leaf copies the rest of a leaf, from entry i on, if its bytes are what is to
// be written.
func (w *writer) leaf(l *leaf, i int, from, to uint64) bool {
	if l.gaps > 0 || l.continued > 0 || l.ents[i].clock() < from || l.end > to ||
		l.next != nil && l.end < to && l.next.ents[0].continues() {
		return false
	}
	w.flush()
	w.structs += uint64(len(l.ents) - i)
	if !w.counting {
		w.b = append(w.b, l.buf[l.offset(i):]...)
	}
	return true
}

// flush writes the Skip that is due.
func (w *writer) flush() {
	if w.gap == 0 {
		return
	}
	w.structs++
	if !w.counting {
		w.b = appendUvarint(append(w.b, kindSkip), w.gap)
	}
	w.gap = 0
}

// group writes the struct that begins at entry i of l, with the entries that
// continue it, and returns the last of them.
func (w *writer) group(client uint64, l *leaf, i int, from, to uint64) (*leaf, int) {
	w.flush()
	w.structs++
	lastL, lastI := l, i
	size, end := 0, l.endOf(i)
	for end < to {
		m, j := lastL, lastI+1
		if j == len(m.ents) {
			m, j = m.next, 0
		}
		if m == nil || !m.ents[j].continues() {
			break
		}
		lastL, lastI, end = m, j, m.endOf(j)
	}
	if w.counting {
		return lastL, lastI
	}
	_ = size
	var it item
	l.item(i, &it)
	if lastL == l && lastI == i {
		w.b = trim(&it, client, from, to).append(w.b)
		return lastL, lastI
	}
	// The parts follow each other; their lengths add up.
	head := trim(&it, client, from, to)
	total := *head
	total.len = min(end, to) - head.clock
	var rest item
	switch it.kind {
	case kindGC, kindDeleted:
		w.b = total.append(w.b)
		return lastL, lastI
	}
	bytes := len(head.content)
	each := func(f func(*item)) {
		m, j := l, i
		for m != lastL || j != lastI {
			if j++; j == len(m.ents) {
				m, j = m.next, 0
			}
			m.item(j, &rest)
			if rest.end() > to {
				rest.trimEnd(to - rest.clock)
			}
			f(&rest)
		}
	}
	each(func(part *item) { bytes += len(part.content) })
	w.b = total.appendHead(w.b)
	if it.kind == kindString {
		w.b = appendUvarint(w.b, uint64(bytes))
	} else {
		w.b = appendUvarint(w.b, total.len)
	}
	w.b = append(w.b, head.content...)
	each(func(part *item) { w.b = append(w.b, part.content...) })
	return lastL, lastI
}

// trim cuts the item to the range.
func trim(it *item, client, from, to uint64) *item {
	if it.clock < from {
		it.trimFront(client, from-it.clock)
	}
	if it.end() > to {
		it.trimEnd(to - it.clock)
	}
	return it
}

// Merge joins updates into one that brings what all of them bring. The error is
// an *UpdateError, or wraps ErrTooDeep.
func Merge(updates [][]byte) ([]byte, error) {
	s := New(Limits{})
	for _, u := range updates {
		if _, err := s.Apply(u); err != nil {
			return nil, err
		}
	}
	return s.Encode(), nil
}

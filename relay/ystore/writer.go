package ystore

// writer writes the structs of one run, as one block of an update.
type writer struct {
	b       []byte
	structs uint64 // written so far
	gap     uint64 // length of a Skip that is due before the next struct
	from    uint64 // the range that is being written
	to      uint64
}

// place is an entry.
type place struct {
	l *leaf
	i int
}

// span writes a range that begins and ends with a struct.
func (w *writer) span(r *run, from, to uint64) {
	if w.structs > 0 {
		w.gap += from - w.to
	}
	w.from, w.to = from, to
	l := r.leafAt(from)
	for i := l.find(from); l != nil && l.start() < to; {
		l, i = w.leaf(r, l, i)
	}
}

// leaf writes the leaf from entry i on, and returns where to go on.
func (w *writer) leaf(r *run, l *leaf, i int) (*leaf, int) {
	for i < len(l.ents) && l.ents[i].clock() < w.to {
		if j := w.plain(l, i); j > i {
			w.flush()
			w.structs += uint64(j - i)
			w.b = append(w.b, l.buf[l.offset(i):l.offset(j)]...)
			i = j
			continue
		}
		e := l.ents[i]
		if known(e.kind()) {
			at := l
			if l, i = w.group(r.client, l, i); l != at {
				return l, i + 1
			}
		} else {
			w.gap += min(l.endOf(i), w.to) - max(e.clock(), w.from)
		}
		i++
	}
	return l.next, 0
}

// plain returns the end of the entries from i on whose bytes are what is to be
// written.
func (w *writer) plain(l *leaf, i int) int {
	j := len(l.ents)
	if l.ents[i].clock() < w.from {
		return i
	}
	if l.continued > 0 || l.gaps > 0 || l.end > w.to {
		for j = i; j < len(l.ents); j++ {
			e := l.ents[j]
			if e.continues() || !known(e.kind()) || l.endOf(j) > w.to {
				break
			}
		}
	}
	// The last of them may go on behind.
	if j == len(l.ents) && l.next != nil && l.next.ents[0].continues() || j < len(l.ents) && l.ents[j].continues() {
		j--
	}
	return max(i, j)
}

// flush writes the Skip that is due.
func (w *writer) flush() {
	if w.gap > 0 {
		w.structs++
		w.b = appendUvarint(append(w.b, kindSkip), w.gap)
		w.gap = 0
	}
}

// group writes the struct that begins at entry i of l together with the entries
// that continue it, and returns the last of them.
func (w *writer) group(client uint64, l *leaf, i int) (*leaf, int) {
	w.flush()
	w.structs++
	var head, part item
	l.item(i, &head)
	head.skipTo(client, w.from)
	if head.end() > w.to {
		head.trimEnd(w.to - head.clock)
	}
	first := place{l, i}
	last, end, size := first, head.end(), len(head.content)
	for p := first.next(); end < w.to && p.l != nil && p.l.ents[p.i].continues(); p = p.next() {
		p.l.item(p.i, &part)
		if part.end() > w.to {
			part.trimEnd(w.to - part.clock)
		}
		last, end, size = p, part.end(), size+len(part.content)
	}
	content := head.content
	head.len = end - head.clock
	if head.kind == kindGC {
		w.b = head.append(w.b)
		return last.l, last.i
	}
	w.b = head.appendHead(w.b)
	switch head.kind {
	case kindString:
		w.b = appendUvarint(w.b, uint64(size))
	case kindDeleted, kindAny, kindJSON:
		w.b = appendUvarint(w.b, head.len)
	}
	w.b = append(w.b, content...)
	for p := first; p != last; {
		p = p.next()
		p.l.item(p.i, &part)
		if part.end() > w.to {
			part.trimEnd(w.to - part.clock)
		}
		w.b = append(w.b, part.content...)
	}
	return last.l, last.i
}

// next is the place of the next entry; its leaf is nil at the end of the run.
func (p place) next() place {
	if p.i+1 < len(p.l.ents) {
		return place{p.l, p.i + 1}
	}
	return place{p.l.next, 0}
}

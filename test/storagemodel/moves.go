package storagemodel

// moving is the mark of a pin: who set it moves the document to the other region.
type moving struct{ by Node }

// changed is what any write of a pin but those of a move does: the mark is gone.
func (p *pin) changed() { p.moving = nil }

// mark begins a move: n stops, and the pin says so.
func (m *Model) mark(n Node) bool {
	p := m.pin
	if !m.lives(n) || p == nil || p.epoch != m.rooms[n].epoch || !p.holders.has(n) || p.moving != nil || m.ghost() {
		return false
	}
	p.moving = &moving{n}
	m.rooms[n].marked, m.rooms[n].stopped = true, true
	return true
}

// stop is another holder that is told of the mark: it takes no edits any more.
func (m *Model) stop(n Node) bool {
	p := m.pin
	if !m.lives(n) || p == nil || p.moving == nil || p.epoch != m.rooms[n].epoch || !p.holders.has(n) || m.rooms[n].stopped {
		return false
	}
	m.rooms[n].stopped = true
	return true
}

// rest is the mover finding that all holders that are alive have stopped, and that the store
// has everything.
func (m *Model) rest(n Node) bool {
	p := m.pin
	if !m.lives(n) || !m.rooms[n].marked || m.rooms[n].rested || p == nil || p.epoch != m.rooms[n].epoch {
		return false
	}
	for other, r := range m.rooms {
		if o := Node(other); m.has(MoveStops) && r != nil && r.epoch == p.epoch && m.awake(o) && p.holders.has(o) && !r.stopped {
			return false
		}
	}
	if m.has(MoveStores) {
		m.saveRoom(n)
		if m.rooms[n] == nil || m.pin != p || !m.clean(n.region(), p.epoch) {
			return false
		}
	}
	m.rooms[n].rested = true
	return true
}

// commit is the other region's pin.
func (m *Model) commit(n Node) bool {
	p := m.pin
	if !m.lives(n) || !m.rooms[n].rested || p == nil || p.epoch != m.rooms[n].epoch {
		return false
	}
	if m.has(MoveExpectsMark) && (p.moving == nil || p.moving.by != n) {
		return false
	}
	m.epochs++
	m.pin = &pin{region: 1 - p.region, epoch: m.epochs}
	m.rooms[n] = nil
	return true
}

// goOn comes back from a move: it has happened, or the mark is removed.
func (m *Model) goOn(n Node) bool {
	if !m.lives(n) || !m.rooms[n].stopped {
		return false
	}
	r, p := m.rooms[n], m.pin
	switch {
	case p != nil && p.region == n.region() && p.epoch == r.epoch:
		p.changed()
		r.cameBack()
	case p == nil: // it looks as one that was frozen does
		r.cameBack()
		m.frozen = m.frozen.with(n)
		return m.wake(n, false)
	default:
		m.frozen = m.frozen.with(n)
		return m.wake(n, false)
	}
	return true
}

// cameBack is the end of a move for a room that goes on.
func (r *room) cameBack() { r.stopped, r.marked, r.rested = false, false, false }

// move is all of that at once, or nothing.
func (m *Model) move(n Node) bool {
	if !m.mark(n) {
		return false
	}
	for o := range Node(nodes) {
		m.stop(o)
	}
	moved := m.rest(n) && m.commit(n)
	for o := range Node(nodes) {
		m.goOn(o)
	}
	return moved
}

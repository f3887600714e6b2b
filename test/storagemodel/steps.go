package storagemodel

// Step is something that may happen.
type Step struct {
	Name string
	do   func(*Model) bool // false if it cannot happen now
}

// steps are all that may happen, as often as they weigh.
func steps() []Step {
	var all []Step
	add := func(weight int, name string, do func(*Model) bool) {
		for range weight {
			all = append(all, Step{name, do})
		}
	}
	for n := range Node(nodes) {
		each := func(weight int, name string, do func(*Model, Node) bool) {
			add(weight, name+" "+n.String(), func(m *Model) bool { return do(m, n) })
		}
		each(2, "open", (*Model).open)
		each(2, "edit", (*Model).edit)
		each(1, "compact", (*Model).compact)
		each(1, "save", (*Model).saveRoom)
		each(1, "save1", (*Model).save1)
		each(2, "save2", (*Model).save2)
		each(1, "leave1", (*Model).leave1)
		each(2, "leave2", (*Model).leave2)
		each(1, "freeze", (*Model).freeze)
		each(1, "wake and edit", func(m *Model, n Node) bool { return m.wake(n, true) })
		each(1, "wake", func(m *Model, n Node) bool { return m.wake(n, false) })
		each(1, "mark", (*Model).mark)
		each(1, "stop", (*Model).stop)
		each(1, "rest", (*Model).rest)
		each(1, "commit", (*Model).commit)
		each(1, "go on", (*Model).goOn)
		each(1, "move", (*Model).move)
	}
	add(1, "crash A1", func(m *Model) bool { return m.crash(0) })
	add(3, "expire", (*Model).expire)
	add(1, "orphan", (*Model).orphan)
	add(1, "pay A", func(m *Model) bool { return m.pay(0) })
	add(1, "pay B", func(m *Model) bool { return m.pay(1) })
	add(1, "delete", (*Model).deleteDocument)
	add(1, "recreate", (*Model).recreate)
	add(1, "store down", (*Model).storeDown)
	add(1, "store up", (*Model).storeUp)
	return all
}

// open is a first session on a node: the pin, then the history, then the store.
func (m *Model) open(n Node) bool {
	if m.rooms[n] != nil || !m.awake(n) {
		return false
	}
	p, fresh := m.claim(n)
	if p == nil || p.moving != nil {
		return false
	}
	content, based, last := m.read(p.region, p.epoch)
	if based == nil {
		if last > 0 && !m.has(UnbasedLoad) {
			m.violate("BLOCKED: a history without a seed, where expecting none never succeeds")
			return true
		}
		if m.ghost() {
			return false
		}
		loaded := m.first()
		based = &loaded
		m.appendTo(p.region, p.epoch, message{kind: seed, body: loaded.body, base: based})
		content |= loaded.body
	}
	if last > 0 && m.has(Notices) && m.store != nil && !m.store.tombstone && m.store.generation == based.generation {
		content |= m.store.body
		based = &base{m.store.version, based.generation, based.body}
	}
	if fresh {
		m.pin = p
	}
	p.holders, p.owed = p.holders.with(n), false
	m.rooms[n] = &room{epoch: p.epoch, content: content, version: based.version, generation: based.generation, life: m.life}
	if m.lost(content) && m.frozen == 0 && !m.down && !m.wasDown {
		m.violate("STALE open")
	}
	m.served(content, "and served")
	return true
}

// claim is the pin that n may open under, or nil; fresh says that it is a new one.
func (m *Model) claim(n Node) (p *pin, fresh bool) {
	p = m.pin
	if p != nil && p.region != n.region() {
		switch {
		case m.has(HomeFirst) && m.regionAwake(p.region):
			return nil, false
		case p.holders != 0 && !m.held(p), p.owed && !m.regionAwake(p.region):
			p = nil // a takeover
		default:
			return nil, false
		}
	}
	if p == nil {
		m.epochs++
		return &pin{region: n.region(), epoch: m.epochs}, true
	}
	return p, false
}

// held reports whether a holder's lease is alive.
func (m *Model) held(p *pin) bool {
	for n := range Node(nodes) {
		if p.holders.has(n) && m.lives(n) {
			return true
		}
	}
	return false
}

func (m *Model) edit(n Node) bool {
	if !m.lives(n) || m.rooms[n].stopped {
		return false
	}
	r := m.rooms[n]
	id := m.ack(r.life)
	r.content |= single(id)
	m.appendTo(n.region(), r.epoch, message{kind: update, body: single(id)})
	m.peers(n, func(peer *room) { peer.content |= single(id) })
	return true
}

// peers are the other rooms of the epoch that hear what n says.
func (m *Model) peers(n Node, do func(*room)) {
	for other, r := range m.rooms {
		o := Node(other)
		if r != nil && o != n && o.region() == n.region() && r.epoch == m.rooms[n].epoch && m.awake(o) {
			do(r)
		}
	}
}

func (m *Model) compact(n Node) bool {
	if !m.lives(n) {
		return false
	}
	r := m.rooms[n]
	content, _, last := m.read(n.region(), r.epoch)
	r.content |= content
	m.appendTo(n.region(), r.epoch, message{kind: snapshot, body: r.content, base: &base{version: r.version, generation: r.generation}})
	var rest []message
	for _, msg := range m.history[n.region()][r.epoch] {
		if msg.seq > last {
			rest = append(rest, msg)
		}
	}
	m.history[n.region()][r.epoch] = rest
	return true
}

func (m *Model) dirty(n Node) bool {
	return m.lives(n) && !m.clean(n.region(), m.rooms[n].epoch)
}

// saveRoom stores twice, as after a lost reply: the second attempt meets the first.
func (m *Model) saveRoom(n Node) bool {
	if !m.dirty(n) {
		return false
	}
	r := m.rooms[n]
	content, _, last := m.read(n.region(), r.epoch)
	body, expect := r.content|content, r.version
	for attempt := range 2 {
		done, saved := m.save(body, expect, r.generation)
		switch {
		case done == otherGeneration:
			m.giveUp(n)
			return true
		case done == failed:
			return false
		case attempt == 1:
			m.tellStored(n, last, saved)
		}
	}
	return true
}

// save1 makes the body of a save, and save2 writes it.
func (m *Model) save1(n Node) bool {
	if !m.dirty(n) {
		return false
	}
	r := m.rooms[n]
	content, _, last := m.read(n.region(), r.epoch)
	r.saving = &halfway{r.content | content, last, r.epoch, r.version}
	return true
}

func (m *Model) save2(n Node) bool {
	if !m.lives(n) || m.rooms[n].saving == nil {
		return false
	}
	r := m.rooms[n]
	s := r.saving
	r.saving = nil
	if s.epoch != r.epoch {
		return false
	}
	expect := r.version
	if m.has(ExpectBody) {
		expect = s.version
	}
	done, saved := m.save(s.body, expect, r.generation)
	switch done {
	case otherGeneration:
		m.giveUp(n)
	case failed:
		return false
	case ok:
		m.tellStored(n, s.upTo, saved)
	}
	return true
}

// tellStored appends what was stored, and all rooms of the epoch learn of it.
func (m *Model) tellStored(n Node, upTo int, saved base) {
	learn := func(r *room) {
		r.version, r.generation = saved.version, saved.generation
		r.content |= saved.body
	}
	learn(m.rooms[n])
	m.peers(n, learn)
	m.appendTo(n.region(), m.rooms[n].epoch, message{kind: stored, upTo: upTo, base: &base{version: saved.version, generation: saved.generation}})
}

// giveUp closes a room of a life that is over.
func (m *Model) giveUp(n Node) {
	delete(m.history[n.region()], m.rooms[n].epoch)
	m.rooms[n] = nil
	if m.pin != nil && m.pin.holders.has(n) {
		if m.pin.holders = m.pin.holders.without(n); m.pin.holders == 0 {
			m.pin = nil
		}
	}
}

// leave1 is the last session's end: who is the last holder stores.
func (m *Model) leave1(n Node) bool {
	if !m.lives(n) || m.rooms[n].leaving {
		return false
	}
	m.rooms[n].leaving = true
	last := m.pin != nil && m.pin.epoch == m.rooms[n].epoch && m.pin.holders.has(n)
	for other, r := range m.rooms {
		last = last && (r == nil || Node(other) == n || !m.pin.holders.has(Node(other)))
	}
	if last {
		m.saveRoom(n)
	}
	return true
}

// leave2 takes the holder out of the pin.
func (m *Model) leave2(n Node) bool {
	if !m.lives(n) || !m.rooms[n].leaving {
		return false
	}
	epoch := m.rooms[n].epoch
	if p := m.pin; p != nil && p.epoch == epoch && p.holders.has(n) {
		if p.holders == nodeSet(0).with(n) && m.has(LastLooks) && !m.clean(n.region(), epoch) {
			m.saveRoom(n)
			if m.rooms[n] == nil {
				return true
			}
			if !m.clean(n.region(), epoch) && m.has(OwedPin) {
				p.owed = true
			}
		}
		p.holders = p.holders.without(n)
		p.changed()
	}
	m.rooms[n] = nil
	return true
}

// expire is the end of the grace period.
func (m *Model) expire() bool {
	p := m.pin
	if p == nil || p.holders != 0 {
		return false
	}
	if m.has(OwedPin) && !m.clean(p.region, p.epoch) && m.regionAwake(p.region) {
		return false // the region keeps it until it is paid
	}
	m.pin = nil
	return true
}

// orphan is the sweep of a region over pins whose holders are gone.
func (m *Model) orphan() bool {
	p := m.pin
	if p == nil || p.holders == 0 || m.held(p) || !m.regionAwake(p.region) {
		return false
	}
	p.holders = 0
	p.changed()
	return true
}

func (m *Model) freeze(n Node) bool {
	if !m.lives(n) {
		return false
	}
	m.frozen = m.frozen.with(n)
	return true
}

func (m *Model) crash(n Node) bool {
	if m.rooms[n] == nil {
		return false
	}
	m.rooms[n] = nil
	m.frozen = m.frozen.without(n)
	return true
}

func (m *Model) storeDown() bool {
	if m.down {
		return false
	}
	m.down, m.wasDown = true, true
	return true
}

func (m *Model) storeUp() bool {
	if !m.down {
		return false
	}
	m.down = false
	return true
}

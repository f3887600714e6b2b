package storagemodel

import (
	"maps"
	"slices"
)

// pay is the sweep of a region over histories that nobody has open: it stores what is
// not covered, and purges the rest.
func (m *Model) pay(region int) bool {
	if !m.regionAwake(region) {
		return false
	}
	did := false
	for _, epoch := range slices.Sorted(maps.Keys(m.history[region])) {
		own := m.pin != nil && m.pin.epoch == epoch
		if own && (m.pin.holders != 0 || !m.has(OwedPin)) || m.opened(epoch) {
			continue
		}
		if m.clean(region, epoch) {
			did = !own && m.purge(region, epoch) || did
			continue
		}
		did = m.payOne(region, epoch) || did
	}
	return did
}

// opened reports whether a node has a room of the epoch.
func (m *Model) opened(epoch int) bool {
	for n, r := range m.rooms {
		if r != nil && r.epoch == epoch && m.awake(Node(n)) {
			return true
		}
	}
	return false
}

// purge removes a history that is covered, and leaves the marker.
func (m *Model) purge(region, epoch int) bool {
	h := m.history[region][epoch]
	if m.has(Marker) && !m.final {
		for i := len(h) - 1; i >= 0; i-- {
			if h[i].kind == stored || h[i].kind == seed {
				m.history[region][epoch] = h[i : i+1 : i+1]
				return len(h) > 1
			}
		}
	}
	delete(m.history[region], epoch)
	return true
}

// payOne stores a history that is not covered.
func (m *Model) payOne(region, epoch int) bool {
	content, based, last := m.read(region, epoch)
	b := m.first()
	if based != nil {
		b = *based
	} else if m.ghost() {
		delete(m.history[region], epoch)
		return true
	}
	if m.store != nil && m.store.version == b.version {
		content |= m.store.body
	}
	done, saved := m.save(content, b.version, b.generation)
	switch done {
	case failed:
		return false
	case otherGeneration:
		delete(m.history[region], epoch)
	case ok:
		m.appendTo(region, epoch, message{kind: stored, upTo: last, base: &base{version: saved.version, generation: saved.generation}})
	}
	return true
}

// wake is the end of a freeze: the room finds out what became of its pin.
func (m *Model) wake(n Node, edit bool) bool {
	if m.awake(n) {
		return false
	}
	m.frozen = m.frozen.without(n)
	r := m.rooms[n]
	if r == nil {
		return true
	}
	if edit {
		m.edit(n)
	}
	p := m.pin
	foreign := m.has(GenerationRestore) && m.store != nil && m.store.generation != r.generation
	switch {
	case p == nil && foreign, p != nil && p.region != n.region() && foreign:
		m.giveUp(n)
	case p == nil:
		m.pin = &pin{region: n.region(), epoch: r.epoch, holders: nodeSet(0).with(n)}
		b := &base{version: r.version, generation: r.generation}
		m.appendTo(n.region(), r.epoch, message{kind: snapshot, body: r.content, base: b})
		m.appendTo(n.region(), r.epoch, message{kind: seed, base: b})
	case p.region != n.region():
		m.saveRoom(n)
		m.rooms[n] = nil
	case p.epoch != r.epoch:
		m.rebase(n, p)
	default:
		content, _, _ := m.read(n.region(), r.epoch)
		r.content |= content
		p.holders = p.holders.with(n)
		if m.has(ThawUnmarks) {
			p.changed()
		}
		r.cameBack()
	}
	return true
}

// rebase merges a room into the epoch that its region has by now.
func (m *Model) rebase(n Node, p *pin) {
	r := m.rooms[n]
	content, based, _ := m.read(n.region(), p.epoch)
	unopened := based == nil && m.store != nil && p.holders == 0 // it was moved here, and nobody has opened it yet
	if unopened {
		loaded := m.first()
		based = &loaded
		content |= loaded.body
	}
	if based != nil && based.generation != r.generation && m.has(GenerationRebase) {
		m.giveUp(n)
		return
	}
	if unopened {
		m.appendTo(n.region(), p.epoch, message{kind: seed, body: based.body, base: based})
	}
	r.content |= content
	r.epoch, r.life = p.epoch, m.life
	if based != nil {
		r.version, r.generation = based.version, based.generation
	}
	p.holders = p.holders.with(n)
	m.appendTo(n.region(), p.epoch, message{kind: snapshot, body: r.content, base: &base{version: r.version, generation: r.generation}})
	m.peers(n, func(peer *room) { peer.content |= r.content })
	m.served(r.content, "by a rebase")
}

// deleteDocument is the tombstone, the pin and the notice to its holders.
func (m *Model) deleteDocument() bool {
	if m.store == nil && m.pin == nil || m.ghost() {
		return false
	}
	m.store = &object{base{version: m.newVersion(), generation: m.newGeneration()}, true}
	for id := range m.acked {
		m.acked[id].deleted = id > 0
	}
	m.life++
	p := m.pin
	if p == nil {
		return true
	}
	for n, r := range m.rooms {
		if r != nil && r.epoch == p.epoch && m.awake(Node(n)) {
			m.rooms[n] = nil
			p.holders = p.holders.without(Node(n))
		}
	}
	delete(m.history[p.region], p.epoch)
	if p.holders == 0 || m.has(DeletionTakesPin) {
		m.pin = nil
	}
	return true
}

// recreate is an operator's: a body over the tombstone.
func (m *Model) recreate() bool {
	if !m.ghost() {
		return false
	}
	id := m.ack(m.life)
	m.store = &object{base: base{m.newVersion(), m.newGeneration(), single(id)}}
	return true
}

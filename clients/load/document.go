package load

import "fmt"

// A document of a live run: every writer types one character after the other behind its
// own last one, all of them having begun in the empty text. So the id of a character
// (client, clock) says everything about it.
type document struct {
	name    string
	base    uint64 // the client id of writer 0; the others follow
	writers []writer
}

// A writer is one typing client of a document.
type writer struct {
	sent []int64 // when each of its characters was sent, by clock

	states []int64 // when each of its awareness states was sent, by clock - 1
}

func newDocument(name string, base uint64, writers int) *document {
	return &document{name: name, base: base, writers: make([]writer, writers)}
}

// character is what the writer typed at a clock. Any mix-up of clients or clocks shows.
func character(writer int, clock uint32) byte {
	return 'a' + byte((uint32(writer)*7+clock*11+clock>>5)%26)
}

// appendEdit types the writer's next character: it appends the update to to.
func (d *document) appendEdit(to []byte, writer int, now int64) []byte {
	w := &d.writers[writer]
	at := id{d.base + uint64(writer), uint32(len(w.sent))}
	w.sent = append(w.sent, now)
	one := [1]byte{character(writer, at.clock)}
	if at.clock == 0 {
		return appendInsert(to, at, nil, nil, one[:])
	}
	return appendInsert(to, at, &id{at.client, at.clock - 1}, nil, one[:])
}

// prefill lets a writer type n characters that no receiver is asked for.
func (d *document) prefill(writer, n int) {
	d.writers[writer].sent = make([]int64, n)
}

// typed is how many characters each writer has typed so far.
func (d *document) typed() []uint32 {
	typed := make([]uint32, len(d.writers))
	for i := range d.writers {
		typed[i] = uint32(len(d.writers[i].sent))
	}
	return typed
}

// update is everything typed so far, as one update.
func (d *document) update() []byte { return d.diff(make([]uint32, len(d.writers)), d.typed()) }

// diff is one update that leads from so many characters of each writer to so many.
func (d *document) diff(from, to []uint32) []byte {
	var clients uint64
	for i := range d.writers {
		if from[i] < to[i] {
			clients++
		}
	}
	update := appendUint(nil, clients)
	for i := len(d.writers) - 1; i >= 0; i-- { // Yjs wants descending client ids
		if from[i] >= to[i] {
			continue
		}
		var typed []byte
		for clock := from[i]; clock < to[i]; clock++ {
			typed = append(typed, character(i, clock))
		}
		at := id{d.base + uint64(i), from[i]}
		var origin *id
		if at.clock > 0 {
			origin = &id{at.client, at.clock - 1}
		}
		update = appendText(appendID(append(update, 1), at), origin, nil, typed)
	}
	return append(update, 0)
}

// stateVector is that of somebody who has everything typed so far.
func (d *document) stateVector() []byte { return d.vector(d.typed()) }

// vector is the state vector of somebody who has so many characters of each writer.
func (d *document) vector(known []uint32) []byte {
	var to []byte
	var clients uint64
	for i, n := range known {
		if n > 0 {
			clients++
			to = appendID(to, id{d.base + uint64(i), n})
		}
	}
	return append(appendUint(nil, clients), to...)
}

// clocks reads a state vector: how many characters of each writer its owner has.
func (d *document) clocks(vector []byte) []uint32 {
	clocks := make([]uint32, len(d.writers))
	r := reader{data: vector}
	for n := r.uint(); n > 0 && !r.failed; n-- {
		of := r.id()
		if index := of.client - d.base; index < uint64(len(clocks)) {
			clocks[index] = of.clock
		}
	}
	return clocks
}

// text is what everybody should see in the end.
func (d *document) text() (string, error) {
	var t Text
	if err := t.Apply(d.update()); err != nil {
		return "", fmt.Errorf("%s: the generator's own update: %w", d.name, err)
	}
	return t.String(), t.Check()
}

// appendState makes the writer's next awareness state: a user and a cursor, as editors send them.
func (d *document) appendState(to []byte, writer int, now int64) []byte {
	w := &d.writers[writer]
	w.states = append(w.states, now)
	clock := len(w.states)
	state := fmt.Appendf(nil, `{"user":{"name":"Writer %d","color":"#30bced","colorLight":"#30bced33"},`+
		`"cursor":{"anchor":{"type":null,"tname":"t","item":{"client":%d,"clock":%d},"assoc":0},`+
		`"head":{"type":null,"tname":"t","item":{"client":%d,"clock":%d},"assoc":0}}}`,
		writer, d.base+uint64(writer), clock, d.base+uint64(writer), clock)
	to = append(to, 1)
	to = appendUint(to, d.base+uint64(writer))
	to = appendUint(to, uint64(clock))
	return appendBytes(to, state)
}

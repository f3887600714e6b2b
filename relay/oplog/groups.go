package oplog

import "maps"

// Key names a message in parts by its room and its first counter.
type Key struct {
	Room  ID
	First uint64
}

// group collects the parts of one message.
type group struct {
	parts   [][]byte
	missing int
	bytes   int
}

// add takes a part, which it keeps, and returns the whole once it is complete.
func (g *group) add(p Part, body []byte) []byte {
	if g.parts == nil {
		g.parts, g.missing = make([][]byte, p.Count), p.Count
	}
	if p.Count != len(g.parts) || g.parts[p.Index] != nil {
		return nil
	}
	g.parts[p.Index] = append([]byte{}, body...)
	g.bytes += len(body)
	if g.missing--; g.missing > 0 {
		return nil
	}
	whole := make([]byte, 0, g.bytes)
	for _, b := range g.parts {
		whole = append(whole, b...)
	}
	return whole
}

// maxGroups bounds the messages of other pods that may be incomplete at once.
const maxGroups = 16

// Groups are messages in parts that come over the bus, where parts get lost: it holds
// a few incomplete ones, and drops all rather than grow. The zero value is ready; its
// user guards it.
type Groups struct{ groups map[Key]*group }

// Add takes a part, which it keeps, and returns the whole once it is complete.
func (g *Groups) Add(key Key, p Part, body []byte) (whole []byte) {
	one := g.groups[key]
	if one == nil {
		if g.groups == nil || len(g.groups) >= maxGroups {
			g.groups = map[Key]*group{}
		}
		one = new(group)
		g.groups[key] = one
	}
	if whole = one.add(p, body); whole != nil {
		delete(g.groups, key)
	}
	return whole
}

// Forget drops the incomplete messages of a room.
func (g *Groups) Forget(room ID) {
	maps.DeleteFunc(g.groups, func(key Key, _ *group) bool { return key.Room == room })
}

// Clear drops all.
func (g *Groups) Clear() { g.groups = nil }

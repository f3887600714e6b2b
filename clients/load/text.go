package load

import (
	"cmp"
	"fmt"
	"slices"
)

// A Text is a Yjs text of single characters, put together by the rules of Yjs (YATA),
// so that what a server hands out can be compared with what was typed. It trades
// memory for simplicity: an item a character. The zero Text is empty.
type Text struct {
	items   map[uint64][]*item // by client, then clock
	first   *item
	waiting map[uint64][]run // structs whose causes are missing, by client, in order of clock
	deletes []deletion
	foreign int // GC structs: no document of a load run should have any
}

type item struct {
	id
	origin, rightOrigin *item
	left, right         *item
	char                byte
	gone                bool
}

type deletion struct {
	client        uint64
	clock, length uint32
}

// Apply takes in a V1 update. Structs that lack their causes wait for them.
func (t *Text) Apply(update []byte) error {
	if t.items == nil {
		t.items, t.waiting = make(map[uint64][]*item), make(map[uint64][]run)
	}
	if err := readUpdate(update, (*textVisitor)(t)); err != nil {
		return err
	}
	for progress := true; progress; {
		progress = false
		for client, runs := range t.waiting {
			n := 0
			for n < len(runs) && t.integrate(&runs[n]) {
				n++
			}
			progress = progress || n > 0
			if t.waiting[client] = runs[n:]; n == len(runs) {
				delete(t.waiting, client)
			}
		}
	}
	t.deletes = slices.DeleteFunc(t.deletes, t.delete)
	return nil
}

// Check fails when something is missing or should not be there.
func (t *Text) Check() error {
	switch {
	case t.foreign > 0:
		return fmt.Errorf("%d structs were garbage collected", t.foreign)
	case len(t.waiting) > 0:
		return fmt.Errorf("structs of %d clients lack their causes", len(t.waiting))
	case len(t.deletes) > 0:
		return fmt.Errorf("%d deletions lack their targets", len(t.deletes))
	}
	return nil
}

// String is the visible text.
func (t *Text) String() string {
	var s []byte
	for i := t.first; i != nil; i = i.right {
		if !i.gone {
			s = append(s, i.char)
		}
	}
	return string(s)
}

// textVisitor keeps the visitor's methods off Text.
type textVisitor Text

func (v *textVisitor) visitRun(r *run) {
	if r.content == gc {
		v.foreign++
		return
	}
	t := (*Text)(v)
	if t.integrate(r) {
		return
	}
	kept := *r
	kept.text = slices.Clone(r.text)
	kept.origin, kept.rightOrigin = copied(r.origin), copied(r.rightOrigin)
	of := v.waiting[r.client]
	at, _ := slices.BinarySearchFunc(of, kept, func(a, b run) int { return cmp.Compare(a.clock, b.clock) })
	v.waiting[r.client] = slices.Insert(of, at, kept)
}

func copied(i *id) *id {
	if i == nil {
		return nil
	}
	c := *i
	return &c
}

func (v *textVisitor) visitDeletion(client uint64, clock, length uint32) {
	v.deletes = append(v.deletes, deletion{client, clock, length})
}

// find returns the item of an id; ok is false while it is missing. No id is no item.
func (t *Text) find(i *id) (found *item, ok bool) {
	if i == nil {
		return nil, true
	}
	of := t.items[i.client]
	if int(i.clock) >= len(of) {
		return nil, false
	}
	return of[i.clock], true
}

// integrate puts a run in its place, or reports that its causes are missing.
func (t *Text) integrate(r *run) bool {
	known := uint32(len(t.items[r.client]))
	if r.clock+r.length <= known {
		return true
	}
	origin, okLeft := t.find(r.origin)
	right, okRight := t.find(r.rightOrigin)
	if r.clock > known || !okLeft || !okRight {
		return false
	}
	for k := known - r.clock; k < r.length; k++ {
		one := &item{id: id{r.client, r.clock + k}, origin: origin, rightOrigin: right, gone: r.content == deleted}
		if k > 0 {
			one.origin = t.items[r.client][r.clock+k-1]
		}
		if !one.gone {
			one.char = r.text[k]
		}
		t.place(one)
		t.items[r.client] = append(t.items[r.client], one)
	}
	return true
}

// place links an item into the text: behind its origin, and past the items written
// there at the same time that go before it (Item.integrate in Yjs).
func (t *Text) place(one *item) {
	left := one.origin
	next := t.after(left)
	if next != one.rightOrigin {
		conflicting, before := map[*item]bool{}, map[*item]bool{}
		for o := next; o != nil && o != one.rightOrigin; o = o.right {
			before[o], conflicting[o] = true, true
			if o.origin == one.origin {
				if o.client < one.client {
					left = o
					clear(conflicting)
				} else if o.rightOrigin == one.rightOrigin {
					break
				}
			} else if o.origin != nil && before[o.origin] {
				if !conflicting[o.origin] {
					left = o
					clear(conflicting)
				}
			} else {
				break
			}
		}
	}
	one.left, one.right = left, t.after(left)
	if left == nil {
		t.first = one
	} else {
		left.right = one
	}
	if one.right != nil {
		one.right.left = one
	}
}

func (t *Text) after(i *item) *item {
	if i == nil {
		return t.first
	}
	return i.right
}

// delete reports whether all of the range was there to be deleted.
func (t *Text) delete(d deletion) bool {
	of := t.items[d.client]
	end := d.clock + d.length
	for clock := d.clock; clock < min(end, uint32(len(of))); clock++ {
		of[clock].gone = true
	}
	return int(end) <= len(of)
}

package oplog

import (
	"context"
	"errors"
)

// History is what Load reads: *history.History is one.
type History interface {
	Load(ctx context.Context, subject string, each func(seq uint64, data []byte) error) (last uint64, err error)
}

// Loaded is what a history holds.
type Loaded struct {
	Last uint64 // the last sequence read; 0: the history is empty
	// Starts says where messages begin that lack parts and may still be completed.
	// What is read is whole only before the first of them.
	Starts         map[Key]uint64
	Messages, Size int // behind the last snapshot; the size is in bytes
}

// Load reads a history and hands each whole body, in order, to take, which may keep
// it. A message that makes no sense goes to refuse and is passed over: one must not
// take the document away. A version that this pod does not know ends the reading with
// its *VersionError, since what it says cannot be left out.
func Load(ctx context.Context, h History, subject string, take func(k Kind, body []byte), refuse func(error)) (Loaded, error) {
	r := replay{loaded: Loaded{Starts: map[Key]uint64{}}, groups: map[Key]*group{}}
	last, err := h.Load(ctx, subject, func(seq uint64, data []byte) error {
		m, err := Read(data)
		if version := (*VersionError)(nil); errors.As(err, &version) {
			return err
		}
		if err != nil {
			refuse(err)
			return nil
		}
		if k, body := r.next(seq, m); body != nil {
			take(k, body)
		}
		return nil
	})
	r.loaded.Last = last
	return r.loaded, err
}

// replay puts the messages of a history together. Unlike over the bus, their parts are
// in order and none is lost: a room that goes on past a group has given it up.
type replay struct {
	loaded Loaded
	groups map[Key]*group
}

// next takes a message, and returns the body that it completes, nil if none.
func (r *replay) next(seq uint64, m Message) (Kind, []byte) {
	r.loaded.Messages, r.loaded.Size = r.loaded.Messages+1, r.loaded.Size+len(m.Body)
	for key, g := range r.groups {
		if key.Room == m.Room && m.Counter >= key.First+uint64(len(g.parts)) {
			r.forget(key)
		}
	}
	if m.Kind == Partial {
		key := Key{m.Room, m.Part.First}
		if r.groups[key] == nil {
			r.groups[key], r.loaded.Starts[key] = new(group), seq
		}
		if m.Body, m.Kind = r.groups[key].add(m.Part, m.Body), m.Part.Kind; m.Body == nil {
			return 0, nil
		}
		r.forget(key)
	}
	if m.Kind == Snapshot {
		r.loaded.Messages, r.loaded.Size = 0, 0
	}
	return m.Kind, m.Body
}

func (r *replay) forget(key Key) {
	delete(r.groups, key)
	delete(r.loaded.Starts, key)
}

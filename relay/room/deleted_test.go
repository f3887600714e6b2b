package room

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/test/natstest"
)

var keeping = oplog.Base{Store: "S", Version: "v1", KeepDeleted: true}

// Rule 13: all rooms of a life keep what is deleted, in the state that members and the
// store get, in what is sent on in one frame or message, and through a compaction.
func TestDeletedContentIsKeptByAllRoomsOfALife(t *testing.T) {
	url := natstest.Server(t).URL
	// What is written and deleted within the window leaves as one message.
	p := newKeepingPod(t, url, func(c *Config) { c.BatchWindow = 200 * time.Millisecond })
	var changed atomic.Int64
	a := p.mustKeep(t, Brought{Base: keeping}, &changed)
	_, seat := join(t, a)
	w := &writer{client: 1}
	for _, u := range [][]byte{w.insert("one"), w.remove(1), w.insert("two"), w.remove(4)} {
		apply(t, seat, u)
	}
	durable(t, a)
	kept := func(what string, update []byte) {
		t.Helper()
		for _, deleted := range []string{"n", "w"} {
			if !bytes.Contains(update, []byte(deleted)) {
				t.Errorf("%s lacks %q: %q", what, deleted, update)
			}
		}
	}
	kept("the room", a.Export())
	b := newKeepingPod(t, url).mustKeep(t, Brought{}, &changed)
	kept("a room that reads the history", b.Export())
	if err := a.backlog.compactOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := newKeepingPod(t, url).mustKeep(t, Brought{}, &changed)
	kept("a room that reads it compacted", c.Export())
	d := draft(t, c)
	kept("what is stored", d.Body)
	if !d.Base.KeepDeleted || !c.content.keeps.Load() {
		t.Error("that it is kept is not said")
	}
	merged, err := a.content.merge([][]byte{(&writer{client: 7}).insert("q"), (&writer{client: 7}).remove(0)})
	if err != nil || !bytes.Contains(merged, []byte("q")) {
		t.Errorf("joined for a slow client: %q, %v", merged, err)
	}
}

func TestWithoutTheSettingNothingIsKept(t *testing.T) {
	p := newKeepingPod(t, natstest.Server(t).URL)
	var changed atomic.Int64
	r := p.mustKeep(t, Brought{Base: oplog.Base{Store: "S"}, Update: (&writer{client: 2}).insert("q1z")}, &changed)
	_, seat := join(t, r)
	apply(t, seat, (&writer{client: 2}).remove(1))
	if update := r.Export(); bytes.Contains(update, []byte("1")) || r.content.keeps.Load() {
		t.Errorf("kept: %q", update)
	}
}

// A region without the setting meets what another one keeps: its rooms go over, and so
// do those who read their history afterwards.
func TestALifeThatMeetsKeptContentKeepsItFromThenOn(t *testing.T) {
	url := natstest.Server(t).URL
	p := newKeepingPod(t, url)
	var changed atomic.Int64
	typed, deleted := (&writer{client: 2}).insert("abcqyz"), (&writer{client: 2}).remove(3)
	a := p.mustKeep(t, Brought{Base: oplog.Base{Store: "S"}, Update: typed}, &changed)
	b := newKeepingPod(t, url).mustKeep(t, Brought{Update: typed}, &changed)
	_, seat := join(t, a)
	apply(t, seat, deleted)
	durable(t, a)
	if bytes.Contains(a.Export(), []byte("q")) {
		t.Fatal("it is kept already")
	}
	theirs := append(bytes.Clone(typed[:len(typed)-1]), deleted[1:]...) // the same, with what was deleted
	d, err := a.Merge(draft(t, a), oplog.Base{Store: "S", Version: "v7", KeepDeleted: true}, theirs)
	if err != nil || !d.Base.KeepDeleted || !bytes.Contains(d.Body, []byte("q")) {
		t.Fatalf("%q on %+v: %v", d.Body, d.Base, err)
	}
	if err := a.Stored(t.Context(), d, "v8"); err != nil {
		t.Fatal(err)
	}
	c := newKeepingPod(t, url).mustKeep(t, Brought{}, &changed)
	if !c.content.keeps.Load() || !bytes.Contains(c.Export(), []byte("q")) {
		t.Errorf("who opens it then has %q", c.Export())
	}
	if _, _, err := b.Draft(t.Context()); err != nil || !b.content.keeps.Load() || !bytes.Contains(b.Export(), []byte("q")) {
		t.Errorf("who had it open and reads its history has %q, kept %v: %v", b.Export(), b.content.keeps.Load(), err)
	}
	if b.Base().KeepDeleted != true {
		t.Error("its snapshots do not say so")
	}
}

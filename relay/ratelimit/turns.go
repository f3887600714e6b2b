package ratelimit

import (
	"container/list"
	"sync"
)

// Turns are taken by sessions that are fast, while a message of theirs is handled, and for
// other work that takes long: so many at the same time. They leave one processor to all
// others, which would have to wait for 10 ms and more otherwise: while all processors are
// busy, the scheduler looks no oftener for what has come from the network. Nil Turns let
// everybody go on. They are safe for concurrent use.
type Turns struct {
	mu      sync.Mutex
	free    int
	waiting list.List // of chan struct{}, closed when it is their turn
}

// NewTurns makes as many turns as there are processors, but for one.
func NewTurns(processors int) *Turns { return &Turns{free: max(1, processors-1)} }

// Take waits for a turn, behind all who came before.
func (t *Turns) Take() { t.take((*list.List).PushBack) }

func (t *Turns) take(push func(*list.List, any) *list.Element) {
	if t == nil {
		return
	}
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return
	}
	mine := make(chan struct{})
	push(&t.waiting, mine)
	t.mu.Unlock()
	<-mine
}

// Give gives a turn back, to the next who waits.
func (t *Turns) Give() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if next := t.waiting.Front(); next != nil {
		close(t.waiting.Remove(next).(chan struct{}))
	} else {
		t.free++
	}
}

// Do does something that takes long and that others wait for: its turn is the next.
func (t *Turns) Do(long func()) {
	t.take((*list.List).PushFront)
	defer t.Give()
	long()
}

package ratelimit

import "runtime"

// Turns are taken by sessions that are fast, while a message of theirs is handled, and for
// other work that takes long: so many at the same time, in the order in which they came. They leave one processor to all
// others, which would have to wait for 10 ms and more otherwise: while all processors are
// busy, the scheduler looks no oftener for what has come from the network. Nil Turns let
// everybody go on. They are safe for concurrent use.
type Turns chan struct{}

// NewTurns makes as many turns as there are processors, but for one.
func NewTurns() Turns { return make(Turns, max(1, runtime.GOMAXPROCS(0)-1)) }

// Take waits for a turn.
func (t Turns) Take() {
	if t != nil {
		t <- struct{}{}
	}
}

// Give gives a turn back.
func (t Turns) Give() {
	if t != nil {
		<-t
	}
}

// Do does something that takes long by its turn.
func (t Turns) Do(long func()) {
	t.Take()
	defer t.Give()
	long()
}

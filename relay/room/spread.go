package room

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A frame costs a system call for each of its readers, and on a busy pod nearly
// nothing else costs anything. So a pod that is asked for more deliveries than it
// can write one by one has its rooms gather edits for a moment and write them as
// one frame. How long depends on how many members the active rooms have: then the
// frames per second stay the same, however many edits there are.
const (
	paceFree   = 30_000 // deliveries per second that are written one by one
	paceFrames = 25_000 // frames per second that a busy pod writes instead
	paceMost   = 25 * time.Millisecond
	pacePeriod = 50 * time.Millisecond // over which demand is measured

	maxGathered = 64 << 10 // bytes that are written without waiting longer
)

// clock counts nanoseconds, and does not follow when the host's time is set.
func clock() int64 { return int64(time.Since(began)) }

var began = time.Now().Add(-time.Minute) // so that no clock reads zero

// pace measures how busy the pod is. Its fields are atomic: rooms note their
// deliveries under their own locks. A race between two rooms at the turn of a
// period costs a little accuracy.
type pace struct {
	period atomic.Int64 // number of the period under way
	demand atomic.Int64 // deliveries asked for in it
	seats  atomic.Int64 // members of the rooms that were active in it
	window atomic.Int64 // how long to gather, in nanoseconds, by the period before
}

// note counts an edit for so many receivers and returns how long its room should
// gather. first says that it is the room's first in this period.
func (p *pace) note(period int64, receivers int, first bool) time.Duration {
	if before := p.period.Load(); before != period && p.period.CompareAndSwap(before, period) {
		demand, seats := p.demand.Swap(0), p.seats.Swap(0)
		window := time.Duration(0)
		if period == before+1 && demand*int64(time.Second) > paceFree*int64(pacePeriod) {
			window = min(time.Duration(seats)*time.Second/paceFrames, paceMost)
		}
		p.window.Store(int64(window))
	}
	p.demand.Add(int64(receivers))
	if first {
		p.seats.Add(int64(receivers))
	}
	return time.Duration(p.window.Load())
}

// gathered are the edits of a room that its members have not been sent yet.
// Guarded by Room.mu.
type gathered struct {
	updates [][]byte // immutable
	size    int      // their bytes
	from    *Seat    // the author of all of them; nil: several
	wrote   int64    // when the room wrote last, by clock
	due     int64    // when updates are written, by clock
	period  int64    // the pace's period in which the room was active last

	at, gap int64 // when the last edit came, by clock, and the mean time from one to the next
}

// meanOf is over how many edits the mean time between them is taken, about.
const meanOf = 8

// came notes an edit.
func (g *gathered) came(now int64) {
	g.gap += (min(now-g.at, int64(time.Second)) - g.gap) / meanOf
	g.at = now
}

// add is an edit that waits.
func (g *gathered) add(update []byte, author *Seat) {
	switch {
	case len(g.updates) == 0:
		g.from = author
	case g.from != author:
		g.from = nil
	}
	g.updates = append(g.updates, update)
	g.size += len(update)
}

// take returns what waits, which is written now.
func (g *gathered) take() (updates [][]byte, from *Seat) {
	if len(g.updates) == 0 {
		return nil, nil
	}
	updates, from = g.updates, g.from
	g.updates, g.size, g.from, g.wrote = nil, 0, nil, clock()
	return updates, from
}

// busy reports whether another edit will probably come before an answer has waited too long.
func (g *gathered) busy(now int64) bool {
	return g.gap < 2*int64(answerWait) && now-g.at < int64(answerWait)
}

// writeAt has the room's members written to at a time by clock.
func (rs *Rooms) writeAt(r *Room, at int64) {
	rs.spreader[uint64(r.id)%uint64(len(rs.spreader))].later(r, at)
}

// spreader writes what rooms have gathered, and what waited for it, when its time has come.
type spreader struct {
	wake chan struct{}

	mu  sync.Mutex
	due []dueRoom
}

type dueRoom struct {
	room *Room
	at   int64 // by clock
}

func (s *spreader) later(r *Room, at int64) {
	s.mu.Lock()
	s.due = append(s.due, dueRoom{r, at})
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *spreader) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var ready []*Room
	for {
		var next int64
		ready, next = s.take(ready[:0], clock())
		for i, r := range ready {
			r.mu.Lock()
			now := clock()
			r.members.sendDue(now)
			r.asks.sendDue(now)
			r.mu.Unlock()
			ready[i] = nil
		}
		if len(ready) > 0 {
			continue
		}
		if next > 0 {
			timer.Reset(time.Duration(next - clock()))
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// take removes the rooms that are due, and returns when the next one is; 0 if
// none waits. Its cost is the number of busy rooms.
func (s *spreader) take(ready []*Room, now int64) ([]*Room, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, next := s.due[:0], int64(0)
	for _, d := range s.due {
		if d.at <= now {
			ready = append(ready, d.room)
			continue
		}
		if next == 0 || d.at < next {
			next = d.at
		}
		kept = append(kept, d)
	}
	clear(s.due[len(kept):])
	s.due = kept
	return ready, next
}

package relay

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/bus"
)

// Two processes must not run as one node: they would take each other's leases, and
// answer for each other. A node id is often set in a file that is copied to a second
// machine, and a process that was frozen may wake up beside the one that replaced it.
//
// A process that hears another one when it starts does not start: the other one has
// clients. If two run all the same, because neither could hear the other at the
// start, the one with fewer leases ends, because the registries take the other one
// for the node: of two that took the lease one after the other it is the later one
// that has it, which is what a supervisor that replaced a frozen process wants. With
// equally many the one that began later ends. The one that ended does not come back
// while the other answers, so they do not take turns.

// process says who runs as a node.
type process struct {
	ID      string // random: tells processes of one host apart
	Host    string
	PID     int
	Started time.Time
	Leases  int
}

// yields reports whether p ends beside the other one.
func (p process) yields(other process) bool {
	switch {
	case p.Leases != other.Leases:
		return p.Leases < other.Leases
	case !p.Started.Equal(other.Started):
		return p.Started.After(other.Started)
	}
	return p.ID > other.ID
}

// twinError is returned when another process runs as this node.
type twinError struct {
	node  docid.NodeID
	other process
}

func (e *twinError) Error() string {
	return fmt.Sprintf("another process runs as node %s: on host %s, process %d, since %s; give each its own --node, or stop one of them",
		e.node, e.other.Host, e.other.PID, e.other.Started.UTC().Format(time.RFC3339))
}

const (
	lookForTwin = 10 * time.Second
	twinTimeout = 2 * time.Second
)

// twins looks for other processes that run as this node.
type twins struct {
	bus    *bus.Bus
	node   docid.NodeID
	self   process
	leases atomic.Pointer[func() int] // in how many registries; nil: none yet
	log    *slog.Logger
}

func newTwins(b *bus.Bus, node docid.NodeID, log *slog.Logger) *twins {
	host, _ := os.Hostname() // it is for people only
	return &twins{
		bus: b, node: node, log: log,
		self: process{ID: rand.Text(), Host: host, PID: os.Getpid(), Started: time.Now()},
	}
}

func (t *twins) subject() string { return "wsn.twin." + string(t.node) }

func (t *twins) process() process {
	p := t.self
	if leases := t.leases.Load(); leases != nil {
		p.Leases = (*leases)()
	}
	return p
}

// answer has others find this process until the bus is closed.
func (t *twins) answer() error {
	_, err := t.bus.Subscribe(t.subject(), bus.HandlerFunc(func(_, reply string, _ []byte) {
		if answer, err := json.Marshal(t.process()); err == nil {
			_ = t.bus.Publish(reply, answer) // who gets no answer asks again
		}
	}))
	return err
}

// ask returns another process that runs as this node; found is false if none is
// heard. A connection does not hear itself.
func (t *twins) ask(ctx context.Context) (other process, found bool) {
	ctx, cancel := context.WithTimeout(ctx, twinTimeout)
	defer cancel()
	answer, err := t.bus.Request(ctx, t.subject(), nil)
	if err != nil || json.Unmarshal(answer, &other) != nil || other.ID == "" {
		return process{}, false
	}
	return other, true
}

// meet looks for another process again and again until ctx ends, and returns the
// one that this process has to give way to; nil at the end of ctx.
func (t *twins) meet(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		other, found := t.ask(ctx)
		if !found {
			continue
		}
		err := &twinError{t.node, other}
		if t.process().yields(other) {
			return err
		}
		t.log.Error("two processes run as one node, the other one has to end", "error", err)
	}
}

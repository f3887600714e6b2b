package relay

import (
	"context"
	"sync"
	"sync/atomic"
)

// lifetime is a node's, from its start to its end. It goes one way: first no new clients
// are wanted, then none are taken, then the node has ended. Whoever came in before that is
// waited for, and nobody comes in after it.
type lifetime struct {
	ctx         context.Context // ends with the node
	cancel      context.CancelFunc
	shutdown    context.Context // for what is being given up when the node ends; ends when Close is out of time
	endShutdown context.CancelFunc

	unwanted atomic.Bool
	closed   atomic.Bool

	done   sync.WaitGroup // sessions, loads, unloads and the goroutines of the node
	ending sync.RWMutex   // nobody enters any more once it was held for writing
	ended  bool           // guarded by ending
}

func (l *lifetime) begin() {
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.shutdown, l.endShutdown = context.WithCancel(context.Background())
}

// Go runs f in a goroutine that the end waits for. Callers are among what it waits for.
func (l *lifetime) Go(f func()) { l.done.Go(f) }

// enter counts a client among what the end waits for, until leave. It reports false when
// the node has ended: whoever passes requests to it may not know yet.
func (l *lifetime) enter() bool {
	l.ending.RLock()
	defer l.ending.RUnlock()
	if l.ended {
		return false
	}
	l.done.Add(1)
	return true
}

// spawn is Go for callers that the end does not wait for, such as operators and other nodes:
// once the node has ended, f is not run.
func (l *lifetime) spawn(f func()) {
	if !l.enter() {
		return
	}
	go func() {
		defer l.leave()
		f()
	}()
}

// during runs f for such a caller, who waits for it; f's context ends with the node, too.
// Once the node has ended it returns errDraining.
func (l *lifetime) during(ctx context.Context, f func(context.Context) error) error {
	if !l.enter() {
		return errDraining
	}
	defer l.leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	return f(ctx)
}

// add counts something more of a client that is counted already, until leave.
func (l *lifetime) add() { l.done.Add(1) }

func (l *lifetime) leave() { l.done.Done() }

// unready reports whether no new clients are wanted.
func (l *lifetime) unready() bool { return l.unwanted.Load() }

// draining reports whether no new clients are taken.
func (l *lifetime) draining() bool { return l.closed.Load() }

// turnUnready has no new clients be wanted.
func (l *lifetime) turnUnready() { l.unwanted.Store(true) }

// drain has no new clients be taken.
func (l *lifetime) drain() {
	l.turnUnready()
	l.closed.Store(true)
}

// abandon ends a node that did not start. Nothing runs.
func (l *lifetime) abandon() {
	l.cancel()
	l.endShutdown()
}

// end ends the node's goroutines and waits for all that came in.
func (l *lifetime) end() {
	l.cancel()
	l.ending.Lock()
	l.ended = true
	l.ending.Unlock()
	l.done.Wait()
}

package storagetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// Fault is a way in which a store fails.
type Fault string

// The faults.
const (
	None      Fault = ""
	Down      Fault = "down"       // nobody answers: nothing is read or written
	Failing   Fault = "failing"    // it answers that it cannot, 500 in HTTP's words: nothing is read or written
	Slow      Fault = "slow"       // the answer comes late, or not before the caller gives up
	LostReply Fault = "lost reply" // what is asked for happens, but no answer arrives
	Refusal   Fault = "refusal"    // permissions are gone
	Truncated Fault = "truncated"  // a body breaks off while it is read; writes do not arrive whole, and so not at all
)

// Faults are all of them but None.
var Faults = []Fault{Down, Failing, Slow, LostReply, Refusal, Truncated}

// ErrFault is in the errors that a Faulty store makes up, refusals aside.
var ErrFault = errors.New("injected fault")

// Faulty is a store that fails as it is told to. Its methods may be called
// concurrently.
type Faulty struct {
	Store storage.Store

	// Choose, if set, says how the next call fails; it is asked once a call. Set
	// before the first call. Otherwise Set decides.
	Choose func(operation string, d docid.Document) Fault

	// Delay is how late a slow store answers; 0 is never, before the caller's
	// context ends.
	Delay time.Duration

	mu       sync.Mutex // guards all below
	fault    Fault
	happened map[Fault]int
	calls    int
}

// Calls says how many calls there were.
func (f *Faulty) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// Set makes all calls from now on fail in this way, which is None for not at all.
func (f *Faulty) Set(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// Get returns what Set was told last.
func (f *Faulty) Get() Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fault
}

// Happened says how often a fault was met.
func (f *Faulty) Happened(fault Fault) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.happened[fault]
}

func (f *Faulty) next(operation string, d docid.Document) Fault {
	var chosen Fault
	if f.Choose != nil {
		chosen = f.Choose(operation, d) // outside the lock: it may take its own
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Choose == nil {
		chosen = f.fault
	}
	f.calls++
	if chosen != None {
		if f.happened == nil {
			f.happened = map[Fault]int{}
		}
		f.happened[chosen]++
	}
	return chosen
}

// call runs do under the next fault. read says that it changes nothing.
func call[T any](ctx context.Context, f *Faulty, operation string, d docid.Document, read bool, do func() (T, error)) (T, error) {
	var none T
	fault := f.next(operation, d)
	failed := fmt.Errorf("%s %s: %w: %s", operation, d, ErrFault, fault)
	switch fault {
	case None:
		return do()
	case Slow:
		if err := f.wait(ctx); err != nil {
			return none, fmt.Errorf("%w: %w", failed, err)
		}
		return do()
	case LostReply:
		if !read {
			_, _ = do()
		}
	case Refusal:
		return none, fmt.Errorf("%s %s: %w", operation, d, storage.ErrRefused)
	case Truncated:
		if read {
			// A fault in the way of a body; where none comes, there is nothing to break.
			if got, err := do(); err != nil {
				return got, err
			}
		}
		failed = fmt.Errorf("%w: %w", failed, io.ErrUnexpectedEOF)
	}
	return none, failed
}

func (f *Faulty) wait(ctx context.Context) error {
	var late <-chan time.Time
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-late:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Load implements storage.Store.
func (f *Faulty) Load(ctx context.Context, d docid.Document, reserve storage.Reserve) (storage.Stored, error) {
	return call(ctx, f, "load", d, true, func() (storage.Stored, error) { return f.Store.Load(ctx, d, reserve) })
}

// Stat implements storage.Store.
func (f *Faulty) Stat(ctx context.Context, d docid.Document) (storage.Info, error) {
	return call(ctx, f, "stat", d, true, func() (storage.Info, error) { return f.Store.Stat(ctx, d) })
}

// Save implements storage.Store.
func (f *Faulty) Save(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta, body []byte) (storage.Version, error) {
	return call(ctx, f, "save", d, false, func() (storage.Version, error) { return f.Store.Save(ctx, d, expect, m, body) })
}

// Delete implements storage.Store.
func (f *Faulty) Delete(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta) (storage.Version, error) {
	return call(ctx, f, "delete", d, false, func() (storage.Version, error) { return f.Store.Delete(ctx, d, expect, m) })
}

// List implements storage.Store.
func (f *Faulty) List(ctx context.Context, q storage.Query) (storage.Page, error) {
	return call(ctx, f, "list", docid.Document{}, true, func() (storage.Page, error) { return f.Store.List(ctx, q) })
}

// Close implements storage.Store; it never fails by injection.
func (f *Faulty) Close() error { return f.Store.Close() }

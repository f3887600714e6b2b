package kvtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wsnode/wsnode/kvpin/kv"
)

var watching = []Case{
	{"a watch reports levels, changes and expiries", watchesLevels},
	{"a watch reports the changes of a key in their order", watchesInOrder},
	{"a scan calls for what its filter matches", scansTheFilter},
}

// watched begins a watch. end waits for its last call.
func watched(ctx context.Context, s kv.Store, filter string) (next func() (kv.Change, error), end func()) {
	ctx, cancel := context.WithCancel(ctx)
	changes := make(chan kv.Change, 1000)
	var running sync.WaitGroup
	running.Go(func() { s.Watch(ctx, []string{filter}, func(c kv.Change) { changes <- c }) })
	next = func() (kv.Change, error) {
		within := time.NewTimer(patience)
		defer within.Stop()
		select {
		case c := <-changes:
			return c, nil
		case <-within.C:
			return kv.Change{}, fmt.Errorf("no change within %s", patience)
		}
	}
	return next, func() { cancel(); running.Wait() }
}

func watchesLevels(ctx context.Context, h *Harness) error {
	old, err := put(ctx, h.Store, "w.old", "1", 0, 0)
	if err != nil {
		return err
	}
	other, err := put(ctx, h.Store, "x.other", "1", 0, 0)
	if err != nil {
		return err
	}
	next, end := watched(ctx, h.Store, "w.>")
	defer end()
	first, err1 := next()
	then, err2 := next()
	if first.Synced { // from a replica that was behind
		first, then = then, first
	}
	if err := errors.Join(err1, err2); err != nil || first.Key != "w.old" || !first.Present || first.Revision != old || string(first.Value) != "1" || !then.Synced {
		return fmt.Errorf("the first values: %+v, %+v, %v", first, then, err)
	}
	expect := func(what, key string, present bool) func() error {
		return func() error {
			c, err := next()
			if err != nil || c.Key != key || c.Present != present || c.Synced {
				return fmt.Errorf("%s: %+v, %v", what, c, err)
			}
			return nil
		}
	}
	return allOf(
		func() error { _, err := put(ctx, h.Other, "x.other", "2", other, 0); return err },
		func() error { _, err := put(ctx, h.Other, "w.new", "2", 0, time.Second); return err },
		expect("a new key", "w.new", true),
		expect("its expiry", "w.new", false),
		func() error { return h.Store.Delete(ctx, "w.old", old) },
		expect("a deletion", "w.old", false),
	)
}

func watchesInOrder(ctx context.Context, h *Harness) error {
	next, end := watched(ctx, h.Store, "o.>")
	defer end()
	if c, err := next(); err != nil || !c.Synced {
		return fmt.Errorf("the first values of none: %+v, %v", c, err)
	}
	var revision, reported uint64
	for burst := range 5 {
		var err error
		for i := range 4 {
			if revision, err = put(ctx, h.Other, "o.a", fmt.Sprint(burst, i), revision, 0); err != nil {
				return err
			}
		}
		for reported < revision {
			c, err := next()
			if err != nil || c.Revision <= reported {
				return fmt.Errorf("after revision %d the watch reports %+v, %v", reported, c, err)
			}
			reported = c.Revision
		}
	}
	return nil
}

func scansTheFilter(ctx context.Context, h *Harness) error {
	const keys = 100
	for i := range keys {
		if _, err := put(ctx, h.Store, fmt.Sprintf("s.%d.x", i), "1", 0, 0); err != nil {
			return err
		}
	}
	if _, err := put(ctx, h.Store, "t.1", "1", 0, 0); err != nil {
		return err
	}
	count := func(filter string) (n int, err error) {
		err = h.Store.Scan(ctx, filter, func(kv.Entry) error { n++; return nil })
		return n, err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) { // a replica may be behind
		n, err := count("s.>")
		if err == nil && n == keys {
			break
		}
		if err != nil || time.Now().After(deadline) {
			return fmt.Errorf("scanned %d of %d keys, %v", n, keys, err)
		}
	}
	if n, err := count("u.>"); err != nil || n != 0 {
		return fmt.Errorf("scanned %d keys that are not there, %v", n, err)
	}
	enough := errors.New("enough")
	if err := h.Store.Scan(ctx, "s.*.x", func(kv.Entry) error { return enough }); !errors.Is(err, enough) {
		return fmt.Errorf("ended by its caller: %v", err)
	}
	return nil
}

package storagetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

var writing = []Case{
	{"absent is absent", absentIsAbsent},
	{"what is created is there, once", createOnce},
	{"a swap takes the newest version only", swap},
	{"what was saved is seen at once by everybody", seenAtOnce},
	{"metadata comes back", metadata},
	{"nothing is kept of the caller's bytes", callersBytes},
	{"no body is no document", emptyBody},
	{"bodies of all sizes come back", sizes},
	{"writers at the same time lose nothing", writers},
	{"one of those who create at the same time wins", creators},
}

func absentIsAbsent(ctx context.Context, h *Harness) error {
	d := document("never")
	if err := isAbsent(ctx, h.Store, d); err != nil {
		return err
	}
	v, err := h.Store.Save(ctx, document("other"), storage.Absent, storage.Meta{}, bodyOf("x"))
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if got, err := h.Store.Save(ctx, d, v, storage.Meta{}, bodyOf("y")); conflicts(got, err, storage.Info{}) != nil {
		return fmt.Errorf("save on a version of what is not there: %w", conflicts(got, err, storage.Info{}))
	}
	if got, err := h.Store.Delete(ctx, d, v, storage.Meta{Generation: 1}); conflicts(got, err, storage.Info{}) != nil {
		return fmt.Errorf("delete on a version of what is not there: %w", conflicts(got, err, storage.Info{}))
	}
	return isAbsent(ctx, h.Store, d)
}

func createOnce(ctx context.Context, h *Harness) error {
	d, first := document("once"), bodyOf("first")
	v, err := h.Store.Save(ctx, d, storage.Absent, storage.Meta{Generation: 7}, first)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	for _, s := range []storage.Store{h.Other, h.Store} {
		got, err := s.Save(ctx, d, storage.Absent, storage.Meta{}, bodyOf("second"))
		if err := conflicts(got, err, described(storage.Meta{Generation: 7}, first, v)); err != nil {
			return fmt.Errorf("create again: %w", err)
		}
		if err := holds(ctx, s, d, first, v); err != nil {
			return err
		}
	}
	return nil
}

func swap(ctx context.Context, h *Harness) error {
	d := document("swap")
	v1, err1 := h.Store.Save(ctx, d, storage.Absent, storage.Meta{}, bodyOf("one"))
	v2, err2 := h.Other.Save(ctx, d, v1, storage.Meta{}, bodyOf("two"))
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	if v1 == v2 {
		return fmt.Errorf("two bodies have the version %q", v1)
	}
	got, err := h.Store.Save(ctx, d, v1, storage.Meta{}, bodyOf("three"))
	if err := conflicts(got, err, described(storage.Meta{}, bodyOf("two"), v2)); err != nil {
		return fmt.Errorf("save on the version before: %w", err)
	}
	if err := holds(ctx, h.Store, d, bodyOf("two"), v2); err != nil {
		return err
	}
	var conflict *storage.ConflictError
	errors.As(err, &conflict)
	v3, err := h.Store.Save(ctx, d, conflict.Current.Version, storage.Meta{}, bodyOf("two and three"))
	if err != nil {
		return fmt.Errorf("save on the version that the conflict told: %w", err)
	}
	return holds(ctx, h.Other, d, bodyOf("two and three"), v3)
}

func seenAtOnce(ctx context.Context, h *Harness) error {
	d := document("seen")
	version := storage.Absent
	for i := range 20 {
		body := fmt.Appendf(nil, "body %d", i)
		v, err := h.Store.Save(ctx, d, version, storage.Meta{}, body)
		if err != nil {
			return fmt.Errorf("save: %w", err)
		}
		for _, s := range []storage.Store{h.Other, h.Store} {
			if err := holds(ctx, s, d, body, v); err != nil {
				return fmt.Errorf("after save %d: %w", i, err)
			}
		}
		version = v
	}
	return nil
}

func metadata(ctx context.Context, h *Harness) error {
	d := document("metadata")
	m := storage.Meta{
		Generation: storage.NewGeneration(), Epoch: "epoch-1 ä/%", Revision: 1<<63 + 5, Region: "eu-central-1",
		KeepDeleted: true, Time: time.Date(2026, 2, 3, 4, 5, 6, 789_000_000, time.UTC),
	}
	version := storage.Absent
	for _, m := range []storage.Meta{m, {Time: m.Time}, m} {
		v, err := h.Store.Save(ctx, d, version, m, bodyOf("body of "+m.Epoch))
		if err != nil {
			return fmt.Errorf("save: %w", err)
		}
		info, err := h.Other.Stat(ctx, d)
		if err != nil {
			return fmt.Errorf("stat: %w", err)
		}
		if !info.Time.Equal(m.Time) {
			return fmt.Errorf("time %v, expected %v", info.Time, m.Time)
		}
		if info.Time = m.Time; info.Meta != m {
			return fmt.Errorf("metadata %+v, expected %+v", info.Meta, m)
		}
		version = v
	}
	return nil
}

func callersBytes(ctx context.Context, h *Harness) error {
	d, body := document("bytes"), bodyOf("as it was")
	v, err := h.Store.Save(ctx, d, storage.Absent, storage.Meta{}, body)
	if err != nil {
		return fmt.Errorf("save: %w", err)
	}
	clear(body)
	got, err := h.Store.Load(ctx, d, nil)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	clear(got.Body)
	return holds(ctx, h.Store, d, bodyOf("as it was"), v)
}

func emptyBody(ctx context.Context, h *Harness) error {
	d := document("empty")
	if _, err := h.Store.Save(ctx, d, storage.Absent, storage.Meta{}, nil); err == nil {
		return errors.New("a body of 0 bytes was saved")
	}
	return isAbsent(ctx, h.Store, d)
}

func sizes(ctx context.Context, h *Harness) error {
	large := h.Large
	if large == 0 {
		large = 8 << 20
	}
	d, random := document("sizes"), rand.NewChaCha8([32]byte{1})
	version := storage.Absent
	for _, size := range []int{1, 2, 1000, 64<<10 + 1, storage.UnreservedBytes - 1, storage.UnreservedBytes, storage.UnreservedBytes + 1, large, 3} {
		body := make([]byte, size)
		_, _ = random.Read(body)
		v, err := h.Store.Save(ctx, d, version, storage.Meta{}, body)
		if err != nil {
			return fmt.Errorf("save of %d bytes: %w", size, err)
		}
		if err := holds(ctx, h.Other, d, body, v); err != nil {
			return fmt.Errorf("%d bytes: %w", size, err)
		}
		version = v
	}
	return nil
}

// appendByte adds one byte to the document by compare-and-swap, however often that
// takes, and returns how often others came first.
func appendByte(ctx context.Context, s storage.Store, d docid.Document, b byte) (conflicts int, err error) {
	for ctx.Err() == nil {
		stored, err := s.Load(ctx, d, nil)
		if err != nil {
			return conflicts, err
		}
		_, err = s.Save(ctx, d, stored.Version, stored.Meta, append(stored.Body, b))
		if !errors.Is(err, storage.ErrConflict) {
			return conflicts, err
		}
		conflicts++
	}
	return conflicts, ctx.Err()
}

func writers(ctx context.Context, h *Harness) error {
	const writers, swaps = 6, 10
	d := document("writers")
	if _, err := h.Store.Save(ctx, d, storage.Absent, storage.Meta{}, bodyOf("0")); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for w := range writers {
		s := h.Store
		if w%2 == 1 {
			s = h.Other
		}
		wg.Go(func() {
			for range swaps {
				_, err := appendByte(ctx, s, d, byte('a'+w))
				errs[w] = errors.Join(errs[w], err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("swap: %w", err)
	}
	got, err := h.Store.Load(ctx, d, nil)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	slices.Sort(got.Body)
	expected := bodyOf("0")
	for w := range writers {
		expected = append(expected, slices.Repeat([]byte{byte('a' + w)}, swaps)...)
	}
	if string(got.Body) != string(expected) {
		return fmt.Errorf("%d writers made %d swaps each and left %q, expected %q", writers, swaps, got.Body, expected)
	}
	return nil
}

func creators(ctx context.Context, h *Harness) error {
	for round := range 5 {
		const many = 6
		d := document(fmt.Sprint("creators ", round))
		var wg sync.WaitGroup
		errs, versions := make([]error, many), make([]storage.Version, many)
		for w := range many {
			s := h.Store
			if w%2 == 1 {
				s = h.Other
			}
			wg.Go(func() { versions[w], errs[w] = s.Save(ctx, d, storage.Absent, storage.Meta{}, []byte{byte('a' + w)}) })
		}
		wg.Wait()
		winner := -1
		for w, err := range errs {
			switch {
			case err == nil && winner < 0:
				winner = w
			case err == nil:
				return fmt.Errorf("creators %d and %d both won", winner, w)
			case !errors.Is(err, storage.ErrConflict):
				return fmt.Errorf("create: %w", err)
			}
		}
		if winner < 0 {
			return errors.New("nobody won")
		}
		if err := holds(ctx, h.Store, d, []byte{byte('a' + winner)}, versions[winner]); err != nil {
			return err
		}
	}
	return nil
}

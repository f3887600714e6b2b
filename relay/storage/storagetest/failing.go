package storagetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

var failing = []Case{
	{"a store that is down states nothing", func(ctx context.Context, h *Harness) error { return statesNothing(ctx, h, Down) }},
	{"a store that fails states nothing", func(ctx context.Context, h *Harness) error { return statesNothing(ctx, h, Failing) }},
	{"a refusal is a refusal", func(ctx context.Context, h *Harness) error { return statesNothing(ctx, h, Refusal) }},
	{"a slow store holds nobody up for longer than asked", func(ctx context.Context, h *Harness) error { return statesNothing(ctx, h, Slow) }},
	{"a body that breaks off is no body", truncated},
	{"a lost reply leaves the write open, and a conflict settles it", lostReply},
	{"a lost reply to a deletion is settled by its generation", lostDeletion},
	{"a store that fails loses no version", versioned(failingVersions)},
}

// patience is how long the suite waits for a store that is slower than that.
const patience = 100 * time.Millisecond

// during runs do while the fault lasts.
func during(h *Harness, f Fault, do func()) error {
	end, err := h.Inject(f)
	if err != nil {
		return fmt.Errorf("inject %s: %w", f, err)
	}
	defer end()
	do()
	return nil
}

// statesNothing demands that all calls fail, none of them with a fact, and that
// nothing has changed afterwards.
func statesNothing(ctx context.Context, h *Harness, f Fault) error {
	if h.Inject == nil {
		return nil
	}
	there, never := document("there during "+string(f)), document("never during "+string(f))
	v, err := h.Store.Save(ctx, there, storage.Absent, storage.Meta{}, bodyOf("text"))
	if err != nil {
		return fmt.Errorf("save: %w", err)
	}
	failures := map[string]error{}
	err = during(h, f, func() {
		// A slow store may do late what it was asked for, so no write is tried on it.
		brief := func(ctx context.Context, call func(context.Context) error) error { return call(ctx) }
		if f == Slow {
			brief = briefly
		}
		for _, d := range []docid.Document{there, never} {
			failures["load "+d.Name] = brief(ctx, func(ctx context.Context) error { _, err := h.Store.Load(ctx, d, nil); return err })
			failures["stat "+d.Name] = brief(ctx, func(ctx context.Context) error { _, err := h.Store.Stat(ctx, d); return err })
		}
		if !h.Unlisted {
			failures["list"] = brief(ctx, func(ctx context.Context) error {
				_, err := h.Store.List(ctx, storage.Query{License: License})
				return err
			})
		}
		if f == Slow {
			return
		}
		_, failures["save"] = h.Store.Save(ctx, there, v, storage.Meta{}, bodyOf("other"))
		_, failures["create"] = h.Store.Save(ctx, never, storage.Absent, storage.Meta{}, bodyOf("other"))
		_, failures["delete"] = h.Store.Delete(ctx, there, v, deletedMeta())
	})
	if err != nil {
		return err
	}
	for what, err := range failures {
		if fault := isFault(err); fault != nil {
			return fmt.Errorf("%s: %w", what, fault)
		}
		if f == Refusal && !errors.Is(err, storage.ErrRefused) {
			return fmt.Errorf("%s: %v, expected ErrRefused", what, err)
		}
		if f != Refusal && errors.Is(err, storage.ErrRefused) {
			return fmt.Errorf("%s: %w, which lasts until an operator acts", what, err)
		}
	}
	if err := holds(ctx, h.Store, there, bodyOf("text"), v); err != nil {
		return fmt.Errorf("afterwards: %w", err)
	}
	return isAbsent(ctx, h.Store, never)
}

// briefly gives a call little time.
func briefly(ctx context.Context, call func(context.Context) error) error {
	brief, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return call(brief)
}

func truncated(ctx context.Context, h *Harness) error {
	if h.Inject == nil {
		return nil
	}
	d, body := document("breaks off"), make([]byte, 256<<10)
	for i := range body {
		body[i] = byte(i % 251)
	}
	v, err := h.Store.Save(ctx, d, storage.Absent, storage.Meta{}, body)
	if err != nil {
		return fmt.Errorf("save: %w", err)
	}
	var got storage.Stored
	var loadErr error
	if err := during(h, Truncated, func() { got, loadErr = h.Store.Load(ctx, d, nil) }); err != nil {
		return err
	}
	if loadErr == nil {
		return fmt.Errorf("load gave %d of %d bytes for the whole", len(got.Body), len(body))
	}
	if err := isFault(loadErr); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	return holds(ctx, h.Store, d, body, v)
}

func lostReply(ctx context.Context, h *Harness) error {
	if h.Inject == nil {
		return nil
	}
	d, ours := document("lost reply"), bodyOf("ours")
	base, err := h.Store.Save(ctx, d, storage.Absent, storage.Meta{}, bodyOf("base"))
	if err != nil {
		return fmt.Errorf("save: %w", err)
	}
	var lost error
	if err := during(h, LostReply, func() { _, lost = h.Store.Save(ctx, d, base, storage.Meta{}, ours) }); err != nil {
		return err
	}
	if err := isFault(lost); err != nil {
		return fmt.Errorf("save whose reply is lost: %w", err)
	}
	_, again := h.Store.Save(ctx, d, base, storage.Meta{}, ours)
	var conflict *storage.ConflictError
	if !errors.As(again, &conflict) || conflict.Current.SHA256 != storage.Sum(ours) {
		return fmt.Errorf("the same save again: %v; expected a *ConflictError with the hash of our body, which was written", again)
	}
	return holds(ctx, h.Store, d, ours, conflict.Current.Version)
}

func lostDeletion(ctx context.Context, h *Harness) error {
	if h.Inject == nil {
		return nil
	}
	d, m := document("lost deletion"), deletedMeta()
	base, err := h.Store.Save(ctx, d, storage.Absent, storage.Meta{}, bodyOf("base"))
	if err != nil {
		return fmt.Errorf("save: %w", err)
	}
	var lost error
	if err := during(h, LostReply, func() { _, lost = h.Store.Delete(ctx, d, base, m) }); err != nil {
		return err
	}
	if err := isFault(lost); err != nil {
		return fmt.Errorf("delete whose reply is lost: %w", err)
	}
	_, again := h.Store.Delete(ctx, d, base, m)
	var deleted *storage.DeletedError
	if !errors.As(again, &deleted) || deleted.Tombstone.Generation != m.Generation {
		return fmt.Errorf("the same deletion again: %v; expected a *DeletedError with our generation %s", again, m.Generation)
	}
	return nil
}

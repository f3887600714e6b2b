package storagetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wsnode/wsnode/relay/storage"
)

var deleting = []Case{
	{"a deletion leaves a tombstone with its generation", tombstone},
	{"what is absent can be deleted", deleteAbsent},
	{"a deletion takes the newest version only", deleteStale},
	{"creating over a tombstone is explicit", recreate},
	{"the same bytes after a deletion are another version", sameBytesAgain},
}

// deletedMeta is a deletion's.
func deletedMeta() storage.Meta {
	return storage.Meta{Generation: storage.NewGeneration(), Epoch: "last", Region: "eu-central-1", Time: time.Now()}
}

// tombstoneOf is what must be known of a deletion.
func tombstoneOf(m storage.Meta, v storage.Version) storage.Info { return described(m, nil, v) }

func tombstone(ctx context.Context, h *Harness) error {
	d, m := document("tombstone"), deletedMeta()
	before, err := h.Store.Save(ctx, d, storage.Absent, storage.Meta{}, bodyOf("text"))
	if err != nil {
		return fmt.Errorf("save: %w", err)
	}
	v, err := h.Other.Delete(ctx, d, before, m)
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	expected := tombstoneOf(m, v)
	for _, s := range []storage.Store{h.Store, h.Other} {
		_, loadErr := s.Load(ctx, d, nil)
		_, statErr := s.Stat(ctx, d)
		_, createErr := s.Save(ctx, d, storage.Absent, storage.Meta{}, bodyOf("revived"))
		_, swapErr := s.Save(ctx, d, before, storage.Meta{}, bodyOf("revived"))
		_, againErr := s.Delete(ctx, d, before, deletedMeta())
		for what, err := range map[string]error{
			"load": loadErr, "stat": statErr, "create": createErr, "save on the version before": swapErr, "delete again on the version before": againErr,
		} {
			if err := isDeleted(err, expected); err != nil {
				return fmt.Errorf("%s after the deletion: %w", what, err)
			}
		}
	}
	return nil
}

func deleteAbsent(ctx context.Context, h *Harness) error {
	d, m := document("delete absent"), deletedMeta()
	v, err := h.Store.Delete(ctx, d, storage.Absent, m)
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	_, err = h.Store.Load(ctx, d, nil)
	if err := isDeleted(err, tombstoneOf(m, v)); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	again := deletedMeta()
	v2, err := h.Store.Delete(ctx, d, v, again)
	if err != nil {
		return fmt.Errorf("delete on the tombstone's version: %w", err)
	}
	_, err = h.Other.Stat(ctx, d)
	return isDeleted(err, tombstoneOf(again, v2))
}

func deleteStale(ctx context.Context, h *Harness) error {
	d := document("delete stale")
	v1, err1 := h.Store.Save(ctx, d, storage.Absent, storage.Meta{}, bodyOf("one"))
	v2, err2 := h.Store.Save(ctx, d, v1, storage.Meta{}, bodyOf("two"))
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	for _, expect := range []storage.Version{v1, storage.Absent} {
		got, err := h.Store.Delete(ctx, d, expect, deletedMeta())
		if err := conflicts(got, err, described(storage.Meta{}, bodyOf("two"), v2)); err != nil {
			return fmt.Errorf("delete on %q: %w", expect, err)
		}
	}
	return holds(ctx, h.Store, d, bodyOf("two"), v2)
}

func recreate(ctx context.Context, h *Harness) error {
	d, m := document("recreate"), deletedMeta()
	v, err := h.Store.Delete(ctx, d, storage.Absent, m)
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	anew, err := h.Other.Save(ctx, d, v, storage.Meta{Generation: m.Generation}, bodyOf("anew"))
	if err != nil {
		return fmt.Errorf("save on the tombstone's version: %w", err)
	}
	if err := holds(ctx, h.Store, d, bodyOf("anew"), anew); err != nil {
		return err
	}
	info, err := h.Store.Stat(ctx, d)
	if err != nil || info.Generation != m.Generation {
		return fmt.Errorf("generation %s, %v; expected %s", info.Generation, err, m.Generation)
	}
	got, err := h.Store.Save(ctx, d, v, storage.Meta{}, bodyOf("twice"))
	if err := conflicts(got, err, info); err != nil {
		return fmt.Errorf("save on the tombstone's version again: %w", err)
	}
	return nil
}

// A writer of the document's former life must not take the new one for its own,
// though an operator brought back a copy that has the very same bytes.
func sameBytesAgain(ctx context.Context, h *Harness) error {
	d, m, body := document("same bytes"), deletedMeta(), bodyOf("the same")
	before, err1 := h.Store.Save(ctx, d, storage.Absent, storage.Meta{}, body)
	v, err2 := h.Store.Delete(ctx, d, before, m)
	now, err3 := h.Store.Save(ctx, d, v, storage.Meta{Generation: m.Generation}, body)
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("save, delete, save: %w", err)
	}
	got, err := h.Other.Save(ctx, d, before, storage.Meta{}, bodyOf("of the former life"))
	if err := conflicts(got, err, described(storage.Meta{Generation: m.Generation}, body, now)); err != nil {
		return fmt.Errorf("save on the version of the former life: %w", err)
	}
	return holds(ctx, h.Store, d, body, now)
}

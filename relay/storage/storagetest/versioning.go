package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// The demands on storage.Versioned. Others hold them without looking.
var versioning = []Case{
	{"the last body of an hour is kept", versioned(lastOfAnHour)},
	{"the body before a deletion is kept, and a tombstone is not", versioned(keptDeleted)},
	{"a refused write keeps nothing new", versioned(refusedKeepsNothing)},
	{"each document has its own versions", versioned(ownVersions)},
	{"versions are no documents", versioned(versionsUnlisted)},
	{"versions end with their time", versioned(expiring)},
	{"erased versions are gone", versioned(erasing)},
	{"a version that is not there is absent", versioned(noVersion)},
}

func versioned(holds func(context.Context, *Harness) error) func(context.Context, *Harness) error {
	return func(ctx context.Context, h *Harness) error {
		if h.Versioned == nil {
			return nil
		}
		return holds(ctx, h)
	}
}

// hour is the beginning of an hour of the suite's own calendar.
func hour(n int) time.Time { return time.Date(2026, 3, 1, n, 0, 0, 0, time.UTC) }

// writes saves bodies at times, one on the other, and returns the last version.
func writes(ctx context.Context, h *Harness, d docid.Document, at map[string]time.Time) (v storage.Version, err error) {
	var bodies []string
	for body := range at {
		bodies = append(bodies, body)
	}
	slices.SortFunc(bodies, func(a, b string) int { return at[a].Compare(at[b]) })
	for _, body := range bodies {
		if v, err = h.Versioned.Save(ctx, d, v, storage.Meta{Epoch: body, Time: at[body]}, bodyOf(body)); err != nil {
			return v, fmt.Errorf("save %s: %w", body, err)
		}
	}
	return v, nil
}

// former checks that exactly these bodies are kept of a document, the newest first, each
// as it was written.
func former(ctx context.Context, h *Harness, d docid.Document, bodies ...string) ([]storage.Copy, error) {
	copies, err := h.Versioned.Copies(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("copies: %w", err)
	}
	var got []string
	for _, c := range copies {
		var asked int64
		stored, err := h.Versioned.LoadCopy(ctx, d, c.ID, func(_ context.Context, bytes int64) error { asked = bytes; return nil })
		if err != nil {
			return nil, fmt.Errorf("load copy %s: %w", c.ID, err)
		}
		if asked != c.Size || c.Size != int64(len(stored.Body)) || stored.SHA256 != storage.Sum(stored.Body) || stored.Epoch != string(stored.Body) ||
			!c.Time.Equal(stored.Time) || c.Replaced.IsZero() {
			return nil, fmt.Errorf("copy %+v, asked for memory for %d bytes, loaded as %+v: expected what was written", c, asked, stored)
		}
		got = append(got, string(stored.Body))
	}
	if !slices.Equal(got, bodies) {
		return nil, fmt.Errorf("kept are %q, expected %q", got, bodies)
	}
	return copies, nil
}

func lastOfAnHour(ctx context.Context, h *Harness) error {
	d := document("hours")
	v, err := writes(ctx, h, d, map[string]time.Time{
		"first": hour(1), "second": hour(1).Add(20 * time.Minute), "third": hour(2).Add(-time.Second), "fourth": hour(2),
		"fifth": hour(7).Add(time.Minute), "sixth": hour(7).Add(2 * time.Minute),
	})
	if err != nil {
		return err
	}
	copies, err := former(ctx, h, d, "fourth", "third")
	if err != nil {
		return err
	}
	at, ok, err := storage.CopyAt(copies, hour(7).Add(2*time.Minute), hour(5))
	if err != nil || !ok || at.ID != copies[0].ID {
		return fmt.Errorf("at five: %+v, %v, %v; expected the fourth", at, ok, err)
	}
	return holds(ctx, h.Other, d, bodyOf("sixth"), v)
}

func keptDeleted(ctx context.Context, h *Harness) error {
	d := document("versions of a deleted one")
	v, err := writes(ctx, h, d, map[string]time.Time{"text": hour(1), "last": hour(1).Add(time.Minute)})
	if err != nil {
		return err
	}
	v, err = h.Versioned.Delete(ctx, d, v, storage.Meta{Generation: 7, Time: hour(1).Add(2 * time.Minute)})
	if err == nil {
		_, err = h.Versioned.Save(ctx, d, v, storage.Meta{Generation: 7, Epoch: "again", Time: hour(3)}, bodyOf("again"))
	}
	if err != nil {
		return err
	}
	_, err = former(ctx, h, d, "last")
	return err
}

func refusedKeepsNothing(ctx context.Context, h *Harness) error {
	d := document("versions of a refused write")
	v, err := writes(ctx, h, d, map[string]time.Time{"one": hour(1), "two": hour(1).Add(time.Minute)})
	if err != nil {
		return err
	}
	for _, expect := range []storage.Version{storage.Absent, v + "0"} {
		if _, err := h.Versioned.Save(ctx, d, expect, storage.Meta{Time: hour(5)}, bodyOf("three")); !errors.Is(err, storage.ErrConflict) {
			return fmt.Errorf("save on version %q: %v, expected ErrConflict", expect, err)
		}
	}
	if _, err := former(ctx, h, d); err != nil {
		return err
	}
	return holds(ctx, h.Versioned, d, bodyOf("two"), v)
}

// neighbours have names of which one begins with the other, or that are spelled oddly.
func neighbours() []docid.Document {
	var all []docid.Document
	for _, name := range []string{"v", "va", "v/a", "v a", "v.yjs", "V", strings.Repeat("v", 600), strings.Repeat("v", 601)} {
		all = append(all, document(name))
	}
	other := document("v")
	other.App = "notes2"
	return append(all, other)
}

func ownVersions(ctx context.Context, h *Harness) error {
	for i, d := range neighbours() {
		body := fmt.Sprint("body ", i)
		if _, err := writes(ctx, h, d, map[string]time.Time{body: hour(1), "now": hour(2)}); err != nil {
			return err
		}
	}
	for i, d := range neighbours() {
		if _, err := former(ctx, h, d, fmt.Sprint("body ", i)); err != nil {
			return fmt.Errorf("%.20q: %w", d.Name, err)
		}
	}
	return nil
}

func versionsUnlisted(ctx context.Context, h *Harness) error {
	d := document("versions unlisted")
	if _, err := writes(ctx, h, d, map[string]time.Time{"one": hour(1), "two": hour(2)}); err != nil {
		return err
	}
	for _, q := range []storage.Query{{}, {License: License}, {License: License, Tenant: d.Tenant, App: d.App, Name: d.Name}} {
		seen := 0
		for {
			page, err := h.Versioned.List(ctx, q)
			if err != nil {
				return fmt.Errorf("list: %w", err)
			}
			for _, e := range page.Entries {
				if e.Document == d {
					seen++
				}
			}
			if q.After = page.Next; page.Next == "" {
				break
			}
		}
		if seen != 1 {
			return fmt.Errorf("listed %d times, expected once", seen)
		}
	}
	return nil
}

func expiring(ctx context.Context, h *Harness) error {
	d := document("versions expire")
	if _, err := writes(ctx, h, d, map[string]time.Time{"one": hour(1), "two": hour(2), "three": hour(3)}); err != nil {
		return err
	}
	// All were written long ago, and replaced just now.
	for l, before := range map[docid.LicenseRegion]time.Time{License: time.Now().Add(-time.Hour), License + "2": time.Now().Add(time.Hour)} {
		if n, err := h.Versioned.Expire(ctx, l, before); err != nil || n != 0 {
			return fmt.Errorf("%d of %s expired that were replaced just now, or are of another license region, %v", n, l, err)
		}
	}
	if _, err := former(ctx, h, d, "two", "one"); err != nil {
		return err
	}
	if n, err := h.Versioned.Expire(ctx, License, time.Now().Add(time.Hour)); err != nil || n < 2 {
		return fmt.Errorf("%d expired, %v; expected 2 and those of others", n, err)
	}
	_, err := former(ctx, h, d)
	return err
}

func erasing(ctx context.Context, h *Harness) error {
	d, beside := document("versions erased"), document("versions erased, not")
	for _, one := range []docid.Document{d, beside} {
		if _, err := writes(ctx, h, one, map[string]time.Time{"one": hour(1), "two": hour(2)}); err != nil {
			return err
		}
	}
	for _, expected := range []int{1, 0} {
		if n, err := h.Versioned.Erase(ctx, d); err != nil || n != expected {
			return fmt.Errorf("%d erased, %v; expected %d", n, err, expected)
		}
	}
	if _, err := former(ctx, h, d); err != nil {
		return err
	}
	if _, err := former(ctx, h, beside, "one"); err != nil {
		return err
	}
	got, err := h.Versioned.Load(ctx, d, nil)
	if err != nil || string(got.Body) != "two" {
		return fmt.Errorf("the present body: %q, %v", got.Body, err)
	}
	return nil
}

func noVersion(ctx context.Context, h *Harness) error {
	d := document("versions absent")
	if _, err := former(ctx, h, d); err != nil {
		return err
	}
	if n, err := h.Versioned.Erase(ctx, d); err != nil || n != 0 {
		return fmt.Errorf("%d erased of nothing, %v", n, err)
	}
	for _, id := range []string{"", "x", "../versions", storage.CopyID(storage.Info{Meta: storage.Meta{Time: hour(1)}})} {
		if _, err := h.Versioned.LoadCopy(ctx, d, id, nil); !errors.Is(err, storage.ErrAbsent) {
			return fmt.Errorf("load copy %q: %v, expected ErrAbsent", id, err)
		}
	}
	return nil
}

// failingVersions demands that no body is replaced before its copy is there, whatever
// fails, and that each is kept once.
func failingVersions(ctx context.Context, h *Harness) error {
	if h.Inject == nil {
		return nil
	}
	for _, f := range []Fault{Down, Failing, Refusal, LostReply} {
		d := document("versions during " + string(f))
		notice(ctx, h.Versioned, d)
		v, err := writes(ctx, h, d, map[string]time.Time{"zero": hour(0), "one": hour(1)})
		if err != nil {
			return err
		}
		copies, err := former(ctx, h, d, "zero")
		if err != nil {
			return err
		}
		two := storage.Meta{Epoch: "two", Time: hour(2)}
		failures := map[string]error{}
		err = during(h, f, func() {
			_, failures["save"] = h.Versioned.Save(ctx, d, v, two, bodyOf("two"))
			_, failures["copies"] = h.Versioned.Copies(ctx, d)
			_, failures["load copy"] = h.Versioned.LoadCopy(ctx, d, copies[0].ID, nil)
			_, failures["expire"] = h.Versioned.Expire(ctx, "none", time.Now().Add(-24*time.Hour))
		})
		if err != nil {
			return err
		}
		for what, err := range failures {
			if f == LostReply && err == nil && what != "save" {
				continue // a reading
			}
			if err := isFault(err); err != nil {
				return fmt.Errorf("%s during %s: %w", what, f, err)
			}
		}
		var conflict *storage.ConflictError
		notice(ctx, h.Versioned, d)
		_, err = h.Versioned.Save(ctx, d, v, two, bodyOf("two"))
		if err != nil && !(errors.As(err, &conflict) && conflict.Current.SHA256 == storage.Sum(bodyOf("two"))) {
			return fmt.Errorf("save after %s: %w", f, err)
		}
		if _, err := former(ctx, h, d, "one", "zero"); err != nil {
			return fmt.Errorf("after %s: %w", f, err)
		}
	}
	return nil
}

// notice has a store find out which of its connections broke in a fault before: that is
// noticed only when they are used.
func notice(ctx context.Context, s storage.Store, d docid.Document) {
	for range 5 {
		if _, err := s.Stat(ctx, d); err == nil || errors.Is(err, storage.ErrAbsent) {
			return
		}
	}
}

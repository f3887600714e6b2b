package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

var reading = []Case{
	{"names are kept apart", names},
	{"pages list everything once", pages},
	{"listings are narrowed by prefix", narrowed},
	{"a load asks for memory first", reserves},
	{"a body of nothing is corrupt", planted},
	{"a damaged body is corrupt", damaged},
	{"the marker says whose store this is", marker},
	{"nothing happens for a caller who is gone", cancelled},
}

// OddNames are document names that a store may confuse: with each other, or with
// something of its own.
func OddNames() []string {
	names := []string{
		"todo", "Todo", "TODO", "to.do", "to=2Edo", "a/b", "a=2Fb", "a=2fb", "a//b", "a b", "a+b", "a b ", " a b", "=", "==", "=3D", "*", ">", "~", "+", "&", "a&b=c;d",
		"'", `"`, "`", "$(x)", "${x}", "{}", "<x>", "|", ":", "a:b", "@", "x@2026", "^", ",", ";", "!", "(", "[a]", "-", "--", "_", ".x", "x.", "...",
		"x.yjs", "x.json", "con", "nul", "CON", ".wsnode/store", ".versions/x", "é", "e\u0301", "ß", "SS", "İ", "😀", "\u202e", "\u00a0", "\ufeff", "日本語",
	}
	for _, r := range []string{"a", "A", "é", "😀", "="} {
		long := strings.Repeat(r, docid.MaxNameLength-1)
		names = append(names, long, long+"b", long+"c", long+"B")
	}
	return names
}

// oddDocuments are the same name in tenants and apps that may be confused, and
// odd names in one of them.
func oddDocuments() []docid.Document {
	var all []docid.Document
	for _, scope := range [][2]string{{"names", "x"}, {"names.x", "x"}, {"names", "x.x"}, {"Names", "x"}, {".", ".."}, {"..", "."}, {"names", ".yjs"}} {
		all = append(all, docid.Document{License: License, Tenant: docid.Tenant(scope[0]), App: docid.App(scope[1]), Name: "x"})
	}
	for _, name := range OddNames() {
		all = append(all, docid.Document{License: License, Tenant: "names", App: "odd", Name: name})
	}
	return all
}

func names(ctx context.Context, h *Harness) error {
	all := oddDocuments()
	versions := make([]storage.Version, len(all))
	for i, d := range all {
		v, err := h.Store.Save(ctx, d, storage.Absent, storage.Meta{}, bodyOf(d.String()))
		if err != nil {
			return fmt.Errorf("create %q: %w", d, err)
		}
		versions[i] = v
	}
	for i, d := range all {
		if err := holds(ctx, h.Other, d, bodyOf(d.String()), versions[i]); err != nil {
			return fmt.Errorf("%q: %w", d, err)
		}
		// A store may have room for a long name, and none for what replaces it.
		if _, err := h.Store.Save(ctx, d, versions[i], storage.Meta{}, bodyOf("again")); err != nil {
			return fmt.Errorf("write %q again: %w", d, err)
		}
	}
	if h.Unlisted {
		return nil
	}
	listed, err := listAll(ctx, h.Store, storage.Query{License: License, Tenant: "names", App: "odd"})
	if err != nil {
		return err
	}
	for _, d := range all {
		if d.App == "odd" && !slices.ContainsFunc(listed, func(e storage.Entry) bool { return e.Document == d }) {
			return fmt.Errorf("%q is not listed", d)
		}
	}
	if len(listed) != len(OddNames()) {
		return fmt.Errorf("%d documents are listed, expected %d", len(listed), len(OddNames()))
	}
	return nil
}

func listAll(ctx context.Context, s storage.Store, q storage.Query) ([]storage.Entry, error) {
	var all []storage.Entry
	for range 10_000 {
		page, err := s.List(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("list %+v: %w", q, err)
		}
		if len(page.Entries) > q.PageSize() {
			return nil, fmt.Errorf("list %+v: %d entries", q, len(page.Entries))
		}
		all = append(all, page.Entries...)
		if page.Next == "" {
			return all, nil
		}
		q.After = page.Next
	}
	return nil, fmt.Errorf("list %+v: the pages do not end", q)
}

// paged are the documents of the listing cases: of two apps, one of them deleted.
func paged(ctx context.Context, h *Harness) (map[docid.Document]storage.Entry, error) {
	expected := map[docid.Document]storage.Entry{}
	for i := range 25 {
		d := docid.Document{License: License, Tenant: "pages", App: "one", Name: fmt.Sprintf("doc/%02d", i)}
		if i%5 == 0 {
			d.App = "two"
		}
		_, err := h.Store.Save(ctx, d, storage.Absent, storage.Meta{Time: time.Now()}, bodyOf(d.Name))
		if err != nil && !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrDeleted) {
			return nil, fmt.Errorf("save: %w", err)
		}
		expected[d] = storage.Entry{Document: d, Size: int64(len(d.Name))}
		if i != 7 {
			continue
		}
		expected[d] = storage.Entry{Document: d, Deleted: true}
		if info, err := h.Store.Stat(ctx, d); err == nil {
			if _, err := h.Store.Delete(ctx, d, info.Version, deletedMeta()); err != nil {
				return nil, fmt.Errorf("delete: %w", err)
			}
		}
	}
	return expected, nil
}

func pages(ctx context.Context, h *Harness) error {
	if h.Unlisted {
		if _, err := h.Store.List(ctx, storage.Query{}); !errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("list: %v, expected errors.ErrUnsupported", err)
		}
		return nil
	}
	expected, err := paged(ctx, h)
	if err != nil {
		return err
	}
	for _, limit := range []int{1, 2, 3, 7, 24, 25, 26, 0} {
		q := storage.Query{License: License, Tenant: "pages", Limit: limit}
		if err := lists(ctx, h, q, expected); err != nil {
			return fmt.Errorf("pages of %d: %w", limit, err)
		}
	}
	return nil
}

// lists checks that q gives each of the expected entries once and no other.
func lists(ctx context.Context, h *Harness, q storage.Query, expected map[docid.Document]storage.Entry) error {
	got, err := listAll(ctx, h.Other, q)
	if err != nil {
		return err
	}
	seen := map[docid.Document]bool{}
	for _, e := range got {
		want, ok := expected[e.Document]
		switch {
		case !ok:
			return fmt.Errorf("%q is listed, which does not match", e.Document)
		case seen[e.Document]:
			return fmt.Errorf("%q is listed twice", e.Document)
		case e.Time.IsZero():
			return fmt.Errorf("%q is listed without a time", e.Document)
		}
		seen[e.Document] = true
		if e.Time = want.Time; e != want {
			return fmt.Errorf("listed as %+v, expected %+v", e, want)
		}
	}
	if len(seen) != len(expected) {
		return fmt.Errorf("%d documents are listed, expected %d", len(seen), len(expected))
	}
	return nil
}

func narrowed(ctx context.Context, h *Harness) error {
	if h.Unlisted {
		return nil
	}
	expected, err := paged(ctx, h)
	if err != nil {
		return err
	}
	long := strings.Repeat("é", docid.MaxNameLength-2)
	for _, name := range []string{long + "aa", long + "ab", long + "b"} {
		d := docid.Document{License: License, Tenant: "pages", App: "three", Name: name}
		if _, err := h.Store.Save(ctx, d, storage.Absent, storage.Meta{Time: time.Now()}, bodyOf("x")); err != nil && !errors.Is(err, storage.ErrConflict) {
			return fmt.Errorf("save: %w", err)
		}
		expected[d] = storage.Entry{Document: d, Size: 1}
	}
	for _, q := range []storage.Query{
		{License: License, Tenant: "pages"}, {License: License, Tenant: "page"}, {License: "suit", Tenant: "pages"},
		{License: License, Tenant: "pages", App: "one"}, {License: License, Tenant: "pages", App: "two"}, {License: License, Tenant: "pages", App: "on"},
		{License: License, Tenant: "pages", App: "one", Name: "doc/1"}, {License: License, Tenant: "pages", App: "one", Name: "doc"},
		{License: License, Tenant: "pages", App: "one", Name: "doc/11"}, {License: License, Tenant: "pages", App: "one", Name: "Doc"},
		{License: License, Tenant: "pages", App: "three", Name: long + "a"}, {License: License, Tenant: "pages", App: "three", Name: "é"},
	} {
		matching := map[docid.Document]storage.Entry{}
		for d, e := range expected {
			if q.Matches(d) {
				matching[d] = e
			}
		}
		q.Limit = 4
		if err := lists(ctx, h, q, matching); err != nil {
			return fmt.Errorf("%+v: %w", q, err)
		}
	}
	if _, err := h.Store.List(ctx, storage.Query{App: "one"}); err == nil {
		return errors.New("an app without its tenant was listed")
	}
	return nil
}

func reserves(ctx context.Context, h *Harness) error {
	d, body := document("reserve"), make([]byte, 3<<20)
	v, err := h.Store.Save(ctx, d, storage.Absent, storage.Meta{}, body)
	if err != nil {
		return fmt.Errorf("save: %w", err)
	}
	var asked []int64
	if _, err := h.Store.Load(ctx, d, func(_ context.Context, n int64) error { asked = append(asked, n); return nil }); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	if len(asked) != 1 || asked[0] != int64(len(body)) {
		return fmt.Errorf("load asked for %v bytes, expected once for %d", asked, len(body))
	}
	full := errors.New("no memory")
	if got, err := h.Store.Load(ctx, d, func(context.Context, int64) error { return full }); !errors.Is(err, full) || got.Body != nil {
		return fmt.Errorf("load without memory: %d bytes, %v; expected what was answered to it", len(got.Body), err)
	}
	return holds(ctx, h.Store, d, body, v)
}

func planted(ctx context.Context, h *Harness) error {
	if h.Plant == nil {
		return nil
	}
	d := document("planted nothing")
	if err := h.Plant(d, nil); err != nil {
		return fmt.Errorf("plant: %w", err)
	}
	if _, err := h.Store.Load(ctx, d, nil); !errors.Is(err, storage.ErrCorrupt) {
		return fmt.Errorf("load of 0 bytes without metadata: %v, expected ErrCorrupt", err)
	}
	if _, err := h.Store.Stat(ctx, d); !errors.Is(err, storage.ErrCorrupt) {
		return fmt.Errorf("stat of 0 bytes without metadata: %v, expected ErrCorrupt", err)
	}
	if _, err := h.Store.Save(ctx, d, storage.Absent, storage.Meta{}, bodyOf("over it")); err == nil {
		return errors.New("0 bytes without metadata were taken for absent, and overwritten")
	}
	// What other tools put there is a document, if it has a body.
	d = document("planted")
	if err := h.Plant(d, bodyOf("by hand")); err != nil {
		return fmt.Errorf("plant: %w", err)
	}
	got, err := h.Store.Load(ctx, d, nil)
	if err != nil || string(got.Body) != "by hand" || got.Generation != 0 {
		return fmt.Errorf("load of a body without metadata: %q of generation %s, %v", got.Body, got.Generation, err)
	}
	v, err := h.Store.Save(ctx, d, got.Version, storage.Meta{}, bodyOf("by us"))
	if err != nil {
		return fmt.Errorf("save over a body without metadata: %w", err)
	}
	return holds(ctx, h.Other, d, bodyOf("by us"), v)
}

func damaged(ctx context.Context, h *Harness) error {
	if h.Damage == nil {
		return nil
	}
	d := document("damaged")
	if _, err := h.Store.Save(ctx, d, storage.Absent, storage.Meta{}, bodyOf("whole")); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	if err := h.Damage(d); err != nil {
		return fmt.Errorf("damage: %w", err)
	}
	if got, err := h.Store.Load(ctx, d, nil); !errors.Is(err, storage.ErrCorrupt) {
		return fmt.Errorf("load of a body without its last byte: %q, %v; expected ErrCorrupt", got.Body, err)
	}
	return nil
}

func marker(ctx context.Context, h *Harness) error {
	if _, err := storage.Identify(ctx, h.Store); !errors.Is(err, storage.ErrAbsent) {
		return fmt.Errorf("identify a new store: %v, expected ErrAbsent", err)
	}
	if err := storage.Check(ctx, h.Store); !errors.Is(err, storage.ErrAbsent) {
		return fmt.Errorf("check a new store: %v, expected ErrAbsent", err)
	}
	id := storage.Identity{ID: storage.NewStoreID(), License: License, KeyFormat: storage.KeyFormat}
	if err := storage.Init(ctx, h.Store, id); err != nil {
		return err
	}
	other := id
	other.ID = storage.NewStoreID()
	if err := storage.Init(ctx, h.Other, other); !errors.Is(err, storage.ErrConflict) {
		return fmt.Errorf("init again: %v, expected ErrConflict", err)
	}
	if err := storage.Check(ctx, h.Other); err != nil {
		return err
	}
	errs := make([]error, 4) // as nodes do that start at once
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = storage.Check(ctx, []storage.Store{h.Store, h.Other}[i%2]) })
	}
	if wg.Wait(); errors.Join(errs...) != nil {
		return fmt.Errorf("checks at the same time: %w", errors.Join(errs...))
	}
	if got, err := storage.Identify(ctx, h.Other); err != nil || got != id {
		return fmt.Errorf("identity %+v, %v; expected %+v", got, err, id)
	}
	if h.Unlisted {
		return nil
	}
	for _, q := range []storage.Query{{}, {Limit: 50}} {
		listed, err := listAll(ctx, h.Store, q)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(listed, func(e storage.Entry) bool { return e.Document.License == "" }) {
			return errors.New("the marker is listed")
		}
	}
	return nil
}

func cancelled(ctx context.Context, h *Harness) error {
	d := document("cancelled")
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, saveErr := h.Store.Save(gone, d, storage.Absent, storage.Meta{}, bodyOf("x"))
	_, deleteErr := h.Store.Delete(gone, d, storage.Absent, deletedMeta())
	_, loadErr := h.Store.Load(gone, d, nil)
	_, statErr := h.Store.Stat(gone, d)
	for what, err := range map[string]error{"save": saveErr, "delete": deleteErr, "load": loadErr, "stat": statErr} {
		if err := isFault(err); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return isAbsent(ctx, h.Store, d)
}

package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/admin"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

// naming is a registry that several nodes share.
type naming struct {
	mu    sync.Mutex
	named string
	used  bool
	away  error
}

func (r *naming) StoreID(context.Context, docid.LicenseRegion) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.named, r.away
}

func (r *naming) NameStore(_ context.Context, _ docid.LicenseRegion, id string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.named == "" {
		r.named = id
	}
	return r.named, r.away
}

func (r *naming) Unused(context.Context, docid.LicenseRegion) (bool, error) { return !r.used, r.away }

// private is a store that one process has for itself.
type private struct{ storage.Store }

func (private) Exclusive() bool { return true }

func marked(t *testing.T, s storage.Store, id string, license docid.LicenseRegion) storage.Store {
	t.Helper()
	if err := storage.Init(t.Context(), s, storage.Identity{ID: id, License: license, KeyFormat: storage.KeyFormat}); err != nil {
		t.Fatal(err)
	}
	return s
}

func holding(t *testing.T, s storage.Store) storage.Store {
	t.Helper()
	d := docid.Document{License: license, Tenant: "acme", App: "notes", Name: "todo"}
	if _, err := s.Save(t.Context(), d, storage.Absent, storage.Meta{}, []byte{0, 0}); err != nil {
		t.Fatal(err)
	}
	return s
}

// identified has a store identified until that waits no more, or for a minute.
func identified(t *testing.T, r *naming, s storage.Store) (stores, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	of := guardStores(&Options{Config: Config{Log: slog.New(slog.DiscardHandler)}, Stores: map[docid.LicenseRegion]storage.Store{license: s}})
	p := newIdentifying(of, r, slog.New(slog.DiscardHandler))
	var run sync.WaitGroup
	run.Go(func() { p.run(ctx) })
	err := p.wait(ctx, nil)
	cancel()
	run.Wait()
	return of, err
}

func TestOnlyTheStoreThatTheRegistryNamesIsUsed(t *testing.T) {
	empty := func(*testing.T) storage.Store { return storagetest.NewMemory() }
	faulty := func(s storage.Store, f storagetest.Fault) storage.Store {
		faulty := &storagetest.Faulty{Store: s}
		faulty.Set(f)
		return faulty
	}
	waits, starts := "wait for the stores", ""
	for name, c := range map[string]struct {
		named    string // by the registry
		used     bool   // documents are live
		store    func(*testing.T) storage.Store
		expected string // in the error
		then     string // named by the registry; "new": any
	}{
		"empty store, empty registry":              {"", false, empty, starts, "new"},
		"empty store, documents are live":          {"", true, empty, waits, ""},
		"empty directory, documents are live":      {"", true, func(t *testing.T) storage.Store { return private{empty(t)} }, starts, "new"},
		"empty store, the registry names one":      {"A", true, empty, "no marker", "A"},
		"empty directory, the registry names one":  {"A", false, func(t *testing.T) storage.Store { return private{empty(t)} }, "no marker", "A"},
		"documents without a marker":               {"", false, func(t *testing.T) storage.Store { return holding(t, empty(t)) }, waits, ""},
		"documents in a directory, without marker": {"", false, func(t *testing.T) storage.Store { return private{holding(t, empty(t))} }, waits, ""},
		"the named one":                            {"A", true, func(t *testing.T) storage.Store { return marked(t, holding(t, empty(t)), "A", license) }, starts, "A"},
		"another one":                              {"A", true, func(t *testing.T) storage.Store { return marked(t, empty(t), "B", license) }, "another store", "A"},
		"of another license region":                {"A", true, func(t *testing.T) storage.Store { return marked(t, empty(t), "A", "aws-us-east-1") }, "another store", "A"},
		"for all license regions":                  {"A", true, func(t *testing.T) storage.Store { return marked(t, empty(t), "A", storage.AllLicenses) }, starts, "A"},
		"an empty one of nobody knows whom":        {"", false, func(t *testing.T) storage.Store { return marked(t, empty(t), "B", license) }, starts, "B"},
		"a full one of nobody knows whom":          {"", false, func(t *testing.T) storage.Store { return marked(t, holding(t, empty(t)), "B", license) }, waits, ""},
		"a full directory, the registry was lost":  {"", false, func(t *testing.T) storage.Store { return private{marked(t, holding(t, empty(t)), "B", license)} }, starts, "B"},
		"down, the registry names one":             {"A", true, func(t *testing.T) storage.Store { return faulty(empty(t), storagetest.Down) }, starts, "A"},
		"hanging, the registry names one":          {"A", true, func(t *testing.T) storage.Store { return faulty(empty(t), storagetest.Slow) }, starts, "A"},
		"refusing, the registry names one":         {"A", true, func(t *testing.T) storage.Store { return faulty(empty(t), storagetest.Refusal) }, starts, "A"},
		"down, the registry names none":            {"", false, func(t *testing.T) storage.Store { return faulty(empty(t), storagetest.Down) }, waits, ""},
		"no conditions":                            {"A", true, func(t *testing.T) storage.Store { return careless{marked(t, empty(t), "A", license)} }, "conditional", "A"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &naming{named: c.named, used: c.used}
				of, err := identified(t, r, c.store(t))
				if c.expected == starts && err != nil || c.expected != starts && (err == nil || !strings.Contains(err.Error(), c.expected)) {
					t.Errorf("%v, expected %q", err, c.expected)
				}
				if r.named != c.then && !(c.then == "new" && r.named != "") {
					t.Errorf("the registry names %q, expected %q", r.named, c.then)
				}
				if s, id := of.of(license); s == nil || id != r.named || of.named(license) != r.named {
					t.Errorf("the store is %v, %q", s, id)
				}
			})
		})
	}
	if s, id := (stores{}).of(license); s != nil || id != "" || (stores{}).named(license) != kvpin.NoStore {
		t.Errorf("a node without stores has %v, %q", s, id)
	}
}

// careless writes whatever the version is.
type careless struct{ storage.Store }

func (c careless) Save(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta, body []byte) (storage.Version, error) {
	if info, err := c.Stat(ctx, d); err == nil {
		expect = info.Version
	}
	return c.Store.Save(ctx, d, expect, m, body)
}

func TestNodesThatStartAtOnceNameOneStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := &naming{}, storagetest.NewMemory()
		ids := make([]string, 5)
		var nodes sync.WaitGroup
		for i := range ids {
			nodes.Go(func() {
				of, err := identified(t, r, s)
				if err != nil {
					t.Error(err)
				}
				_, ids[i] = of.of(license)
			})
		}
		nodes.Wait()
		id, err := storage.Identify(t.Context(), s)
		for _, got := range ids {
			if err != nil || got != id.ID || got != r.named {
				t.Errorf("the store is %q, the registry names %q, a node uses %q, %v", id.ID, r.named, got, err)
			}
		}
	})
}

// A registry that does not answer keeps its documents from being opened, but not the
// node from serving others'.
func TestARegistryThatIsAwayKeepsItsStoreOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &naming{named: "A", away: kvpin.ErrUnavailable}
		of, err := identified(t, r, marked(t, storagetest.NewMemory(), "A", license))
		if err != nil {
			t.Fatal(err)
		}
		s, _ := of.of(license)
		if _, err := s.Load(t.Context(), docid.Document{License: license, Tenant: "a", App: "b", Name: "c"}, nil); !errors.Is(err, storage.ErrRefused) {
			t.Errorf("a store that no registry has named was asked: %v", err)
		}
	})
}

func TestAStoreOfSeveralLicenseRegionsIsMarkedForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		s := storagetest.NewMemory()
		of := guardStores(&Options{Config: Config{Log: slog.New(slog.DiscardHandler)}, Stores: map[docid.LicenseRegion]storage.Store{license: s, "aws-us-east-1": s}})
		p := newIdentifying(of, &naming{}, slog.New(slog.DiscardHandler))
		var run sync.WaitGroup
		run.Go(func() { p.run(ctx) })
		if err := p.wait(ctx, nil); err != nil {
			t.Error(err)
		}
		cancel()
		run.Wait()
		if id, err := storage.Identify(t.Context(), s); err != nil || id.License != storage.AllLicenses {
			t.Errorf("it is %+v, %v", id, err)
		}
	})
}

func TestOutcomesOfCallsToStoresAreThoseOfTheMetrics(t *testing.T) {
	doc := docid.Document{License: license, Tenant: "acme", App: "notes", Name: "todo"}
	for err, expected := range map[error][2]string{
		nil:                                    {"found", "stored"},
		fmt.Errorf("x: %w", storage.ErrAbsent): {"absent", "unknown"},
		storage.Mismatch(doc, storage.Info{Deleted: true}): {"deleted", "conflict"},
		storage.Mismatch(doc, storage.Info{Version: "1"}):  {"failed", "conflict"},
		storage.Corrupt(doc, "cut"):                        {"corrupt", "unknown"},
		storage.ErrRefused:                                 {"failed", "failed"},
		storage.ErrTooLarge:                                {"failed", "failed"},
		context.DeadlineExceeded:                           {"failed", "unknown"},
	} {
		if got := [2]string{loadOutcome(err), saveOutcome(err)}; got != expected {
			t.Errorf("%v: %v, expected %v", err, got, expected)
		}
		if !slices.Contains(admin.LoadOutcomes, loadOutcome(err)) || !slices.Contains(admin.SaveOutcomes, saveOutcome(err)) {
			t.Errorf("%v: metrics do not know its outcome", err)
		}
	}
}

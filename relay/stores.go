package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/internal/pause"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/natsconn"
	"github.com/wsnode/wsnode/relay/admin"
	"github.com/wsnode/wsnode/relay/storage"
)

// DefaultStoreTimeout bounds one call to a store, and is longer by a second for each
// MiB of a body.
const DefaultStoreTimeout = 30 * time.Second

// stores are where documents are kept between their lives, by license region.
type stores map[docid.LicenseRegion]*storage.Guard

// guardStores makes sure that only the stores that registries name are used.
func guardStores(o *Options) stores {
	timeout := o.StoreTimeout
	if timeout == 0 {
		timeout = DefaultStoreTimeout
	}
	found := make(stores, len(o.Stores))
	for license, s := range o.Stores {
		log := o.Config.Log.With("license", license)
		found[license] = storage.NewGuard(storage.GuardConfig{
			Store: s, License: license, Timeout: timeout, Observe: observeStore(o.Config.Metrics),
			Changed: func(err error) {
				if err != nil {
					log.Error("the store fails: documents that are open go on, others are refused", "error", err)
				} else {
					log.Info("the store works")
				}
			},
		})
	}
	return found
}

// observeStore measures calls to stores.
func observeStore(m *admin.Metrics) func(storage.Op, int, time.Duration, error) {
	return func(op storage.Op, bytes int, took time.Duration, err error) {
		if op == storage.OpLoad {
			m.StoreLoad(loadOutcome(err), took)
		} else {
			m.StoreSave(saveOutcome(err), took, bytes)
		}
	}
}

func loadOutcome(err error) string {
	switch {
	case err == nil:
		return "found"
	case errors.Is(err, storage.ErrAbsent):
		return "absent"
	case errors.Is(err, storage.ErrDeleted):
		return "deleted"
	case errors.Is(err, storage.ErrCorrupt):
		return "corrupt"
	}
	return "failed"
}

func saveOutcome(err error) string {
	switch {
	case err == nil:
		return "stored"
	case errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrDeleted):
		return "conflict"
	case errors.Is(err, storage.ErrRefused), errors.Is(err, storage.ErrTooLarge):
		return "failed"
	}
	return "unknown"
}

// figures are what the metrics show of stores.
func (s stores) figures() (all []admin.StoreFigures) {
	for license, g := range s {
		_, why := g.Down()
		all = append(all, admin.StoreFigures{License: string(license), Up: why == nil})
	}
	return all
}

// of returns the store of a license region and its id, which is empty while no
// registry has named it; nil: there is none.
func (s stores) of(license docid.LicenseRegion) (storage.Store, string) {
	if g := s[license]; g != nil {
		return g, g.ID()
	}
	return nil, ""
}

// named is for kvpin.Config: what the node says of its store in its leases.
func (s stores) named(license docid.LicenseRegion) string {
	if g := s[license]; g != nil {
		return g.ID()
	}
	return kvpin.NoStore
}

// keeps is whose documents the store of a license region is for.
func (s stores) keeps(license docid.LicenseRegion) docid.LicenseRegion {
	for other, g := range s {
		if other != license && g.Unwrap() == s[license].Unwrap() {
			return storage.AllLicenses
		}
	}
	return license
}

// down reports whether a store fails.
func (s stores) down() bool {
	for _, g := range s {
		if _, why := g.Down(); why != nil {
			return true
		}
	}
	return false
}

// storeRegistry is what stores are named in; *kvpin.Registry is one.
type storeRegistry interface {
	StoreID(context.Context, docid.LicenseRegion) (string, error)
	NameStore(ctx context.Context, license docid.LicenseRegion, id string) (string, error)
	Unused(context.Context, docid.LicenseRegion) (bool, error)
}

// identifying finds out whether the stores are those that the registries name, and names
// new ones.
type identifying struct {
	stores   stores
	registry storeRegistry
	log      *slog.Logger
	tried    sync.Map // stores

	mu      sync.Mutex                    // guards all below
	pending map[docid.LicenseRegion]error // why a store is not used yet
	changed chan struct{}                 // closed and replaced with each change of pending
}

func newIdentifying(s stores, registry storeRegistry, log *slog.Logger) *identifying {
	p := &identifying{stores: s, registry: registry, log: log, pending: map[docid.LicenseRegion]error{}, changed: make(chan struct{})}
	for license := range s {
		p.pending[license] = errStarting
	}
	return p
}

// run identifies all stores, and looks after those that fail, until ctx ends.
func (p *identifying) run(ctx context.Context) {
	var tasks sync.WaitGroup
	for license, g := range p.stores {
		tasks.Go(func() {
			p.identifyStore(ctx, license, g)
			g.Run(ctx)
		})
		tasks.Go(func() { expireVersions(ctx, license, g, p.log) })
	}
	tasks.Wait()
}

const (
	identifyEvery = 500 * time.Millisecond
	// identifyTimeout bounds one attempt: a store that hangs must not keep a node
	// from starting for long.
	identifyTimeout = 10 * time.Second
)

// identifyStore tries until the store is known, or is the wrong one.
func (p *identifying) identifyStore(ctx context.Context, license docid.LicenseRegion, g *storage.Guard) {
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, identifyTimeout)
		err := p.identify(attempt, license, g)
		cancel()
		if ctx.Err() != nil {
			return
		}
		p.set(license, err)
		if err == nil || isWrongStore(err) {
			return
		}
		pause.For(ctx, identifyEvery)
	}
}

// why says why a store is not used yet.
func (p *identifying) why(license docid.LicenseRegion) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pending[license]
}

func (p *identifying) set(license docid.LicenseRegion, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		delete(p.pending, license)
	} else {
		p.pending[license] = err
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// unnamedError is the state of a store that an operator has to name.
type unnamedError struct{ why string }

func (e *unnamedError) Error() string {
	return "no registry names the store yet: " + e.why + "; wsctl store init makes it this installation's"
}

// isWrongStore reports whether a store is not the one that was meant.
func isWrongStore(err error) bool {
	return errors.Is(err, storage.ErrOtherStore) || errors.Is(err, storage.ErrUnmarked) || errors.Is(err, storage.ErrUnconditional)
}

// identify is one attempt. A store that does not answer is identified if the registry
// names one: nothing is believed before its marker was seen.
func (p *identifying) identify(ctx context.Context, license docid.LicenseRegion, g *storage.Guard) error {
	named, err := p.registry.StoreID(ctx, license)
	if err != nil {
		return err
	}
	if named != "" {
		g.Expect(named)
	}
	id, err := g.Look(ctx)
	switch {
	case err == nil && named == "":
		err = p.adopt(ctx, license, g, id)
	case errors.Is(err, storage.ErrUnmarked) && named == "":
		err = p.found(ctx, license, g)
	case errors.Is(err, storage.ErrUnmarked):
		return fmt.Errorf("%w, and the registry names store %s: a wrong prefix, an emptied bucket, a volume that is not mounted", err, named)
	case err != nil && named != "" && !isWrongStore(err):
		return nil
	}
	if err != nil {
		return err
	}
	return p.try(ctx, license, g)
}

// try finds out whether the store obeys conditions, once for all license regions that
// it is for. One that fails meanwhile is noticed by those who use it.
func (p *identifying) try(ctx context.Context, license docid.LicenseRegion, g *storage.Guard) error {
	if _, tried := p.tried.LoadOrStore(g.Unwrap(), true); tried {
		return nil
	}
	err := storage.Check(ctx, g.Unwrap())
	if err != nil && !errors.Is(err, storage.ErrUnconditional) {
		p.log.Warn("the store could not be tried out", "license", license, "error", err)
		err = nil
	}
	return err
}

// exclusive reports whether nobody but this process can use a store: it implements
// Exclusive.
func exclusive(s storage.Store) bool {
	x, ok := s.(interface{ Exclusive() bool })
	return ok && x.Exclusive()
}

// fresh says why a store may not be named without an operator; "": it may.
func (p *identifying) fresh(ctx context.Context, license docid.LicenseRegion, g *storage.Guard) (why string, err error) {
	page, err := g.Unwrap().List(ctx, storage.Query{License: license, Limit: 1})
	switch {
	case errors.Is(err, errors.ErrUnsupported):
	case err != nil:
		return "", err
	case len(page.Entries) > 0 || page.Next != "":
		return "it holds documents", nil
	}
	if exclusive(g.Unwrap()) {
		return "", nil
	}
	unused, err := p.registry.Unused(ctx, license)
	if err == nil && !unused {
		why = "documents are live without it"
	}
	return why, err
}

// adopt names a store that has a marker in a registry that names none.
func (p *identifying) adopt(ctx context.Context, license docid.LicenseRegion, g *storage.Guard, id storage.Identity) error {
	if !exclusive(g.Unwrap()) {
		if why, err := p.fresh(ctx, license, g); err != nil || why != "" {
			return orUnnamed(err, "it has the id "+id.ID+", and "+why)
		}
	}
	return p.name(ctx, license, g, id.ID)
}

func orUnnamed(err error, why string) error {
	if err != nil {
		return err
	}
	return &unnamedError{why}
}

func (p *identifying) name(ctx context.Context, license docid.LicenseRegion, g *storage.Guard, id string) error {
	named, err := p.registry.NameStore(ctx, license, id)
	if err != nil {
		return err
	}
	p.log.Info("the registry names the store", "license", license, "store", named)
	g.Expect(named)
	_, err = g.Look(ctx)
	return err
}

// found makes an empty store this installation's. Of nodes that do so at once the
// store lets one win, whose id the others find.
func (p *identifying) found(ctx context.Context, license docid.LicenseRegion, g *storage.Guard) error {
	why, err := p.fresh(ctx, license, g)
	if err != nil || why != "" {
		return orUnnamed(err, "it has no marker, and "+why)
	}
	id, err := initStore(ctx, p.stores.keeps(license), g, storage.NewStoreID())
	if err != nil {
		return err
	}
	return p.name(ctx, license, g, id)
}

// initStore writes the marker and returns the id of the store, which somebody else may
// have written a moment earlier.
func initStore(ctx context.Context, keeps docid.LicenseRegion, g *storage.Guard, id string) (string, error) {
	err := storage.Init(ctx, g.Unwrap(), storage.Identity{ID: id, License: keeps, KeyFormat: storage.KeyFormat})
	if err != nil && !errors.Is(err, storage.ErrConflict) {
		return "", err
	}
	is, err := g.Look(ctx)
	return is.ID, err
}

// wait returns when all stores are identified but those whose registry does not answer,
// and an error if one is not what was meant.
func (p *identifying) wait(ctx context.Context, failed <-chan error) error {
	reminder := time.NewTicker(natsconn.RemindEvery)
	defer reminder.Stop()
	told := map[docid.LicenseRegion]string{}
	for {
		waiting, changed, err := p.look(told)
		if err != nil || !waiting {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the stores: %w", ctx.Err())
		case err := <-failed:
			return err
		case <-reminder.C:
			clear(told)
		case <-changed:
		}
	}
}

// look says what wait still waits for, once in told.
func (p *identifying) look(told map[docid.LicenseRegion]string) (waiting bool, changed <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for license, why := range p.pending {
		if isWrongStore(why) {
			return false, nil, fmt.Errorf("store of %s: %w", license, why)
		}
		if errors.Is(why, kvpin.ErrUnavailable) {
			continue
		}
		waiting = true
		if text := why.Error(); told[license] != text && !errors.Is(why, errStarting) {
			told[license] = text
			p.log.Warn("taking no clients yet: waiting for the store", "license", license, "error", why)
		}
	}
	return waiting, p.changed, nil
}

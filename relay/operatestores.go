package relay

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/docs"
	"github.com/wsnode/wsnode/relay/live"
	"github.com/wsnode/wsnode/relay/storage"
)

// operatorShare is the part of StoreBytes that operators' requests may take beside the
// node's own loads and saves.
const operatorShare = 4

// defaultStoreBytes is Config.StoreBytes if it is 0.
const defaultStoreBytes = 256 << 20

// storeOperator answers what operators ask about stores, and about documents in them. What
// it changes is of a document that nobody has open, or is told to those who have it open
// before the answer; a store that holds something becomes this installation's by their word
// alone.
type storeOperator struct {
	cfg       *Config
	life      *lifetime
	docs      *live.Documents
	stored    *docs.Docs
	whyUnused func(docid.LicenseRegion) error // why a store is not used yet; nil: it is, or nobody knows
}

func newStoreOperator(cfg *Config, life *lifetime, d *live.Documents, keepsDeleted func(docid.Document) bool, whyUnused func(docid.LicenseRegion) error) storeOperator {
	return storeOperator{cfg, life, d, docs.New(docs.Config{
		Region: cfg.Region, Store: cfg.stores.of, Pins: cfg.Registry, KeepsDeleted: keepsDeleted,
		Budget: storage.NewBudget(cmp.Or(cfg.StoreBytes, defaultStoreBytes) / operatorShare),
	}), whyUnused}
}

// Stores says which stores the node has. With check it tries each out, once for all
// license regions that it is for.
func (o *storeOperator) Stores(ctx context.Context, check bool) []control.StoreState {
	states := []control.StoreState{}
	tried := map[storage.Store]error{}
	for _, license := range slices.Sorted(maps.Keys(o.cfg.stores)) {
		g := o.cfg.stores[license]
		s := o.storeState(ctx, license, g)
		if check && s.State == control.StoreOK {
			began := time.Now()
			err, done := tried[g.Unwrap()]
			if !done {
				err = storage.Check(ctx, g.Unwrap())
				tried[g.Unwrap()] = err
			}
			if s.CheckMS = milliseconds(time.Since(began)); err != nil {
				s.State, s.Detail = control.StoreDown, err.Error()
			}
		}
		states = append(states, s)
	}
	return states
}

// storeState looks at the marker of a store.
func (o *storeOperator) storeState(ctx context.Context, license docid.LicenseRegion, g *storage.Guard) control.StoreState {
	s := control.StoreState{License: license, State: control.StoreOK, ID: g.ID()}
	id, err := g.Look(ctx)
	s.Marker, s.Keeps = id.ID, id.License
	switch {
	case s.ID == "" && (err == nil || errors.Is(err, storage.ErrUnmarked)):
		s.State, s.Detail = control.StoreUnnamed, "no registry names it yet"
		if why := o.whyUnused(license); why != nil {
			s.Detail = why.Error()
		}
	case isWrongStore(err):
		s.State, s.Detail = control.StoreWrong, err.Error()
	case err != nil:
		s.State, s.Detail = control.StoreDown, err.Error()
		s.Since, _ = g.Down()
	}
	return s
}

// StoreName makes the store of a license region this installation's: it writes the
// marker, if the store has none, and the id into the registry.
func (o *storeOperator) StoreName(ctx context.Context, r control.StoreNameRequest) (control.StoreState, error) {
	g := o.cfg.stores[r.License]
	if g == nil {
		return control.StoreState{}, storeError(docs.ErrNoStore)
	}
	if id := g.ID(); id != "" {
		return control.StoreState{}, control.Wrong("the registry of %s names store %s already", r.License, id)
	}
	id, err := g.Look(ctx)
	switch {
	case errors.Is(err, storage.ErrUnmarked) && r.Marker == "":
		id.ID, err = initStore(ctx, o.cfg.stores.keeps(r.License), g, storage.NewStoreID())
	case err == nil && id.ID != r.Marker:
		return control.StoreState{}, control.Wrong("the store has the id %q now: look again", id.ID)
	}
	if err != nil {
		return control.StoreState{}, storeError(err)
	}
	named, err := o.cfg.Registry.NameStore(ctx, r.License, id.ID)
	if err != nil {
		return control.StoreState{}, storeError(err)
	}
	g.Expect(named)
	return o.storeState(ctx, r.License, g), nil
}

// Stored says what the store has of a document.
func (o *storeOperator) Stored(ctx context.Context, d control.Document) (control.Stored, error) {
	info, err := o.stored.Stat(ctx, d.Docname())
	s := control.Stored{Document: d, State: control.StoredBody}
	var tombstone *storage.DeletedError
	switch {
	case errors.Is(err, storage.ErrAbsent):
		s.State = control.StoredAbsent
		return s, nil
	case errors.Is(err, storage.ErrCorrupt):
		s.State, s.Detail = control.StoredCorrupt, err.Error()
		return s, nil
	case errors.As(err, &tombstone):
		s.State, info = control.StoredDeleted, tombstone.Tombstone
	case err != nil:
		return s, storeError(err)
	}
	s.Version, s.Generation, s.Size, s.SHA256 = string(info.Version), info.Generation.String(), info.Size, info.SHA256.String()
	s.Time, s.Epoch, s.Region, s.KeepDeleted = info.Time, info.Epoch, info.Region, info.KeepDeleted
	return s, nil
}

// Fetch returns the stored body of a document, or a former one.
func (o *storeOperator) Fetch(ctx context.Context, d control.Document, version string) ([]byte, error) {
	get := o.stored.Get
	if version != "" {
		get = func(ctx context.Context, d docid.Document) (storage.Stored, func(), error) {
			return o.stored.GetVersion(ctx, d, version)
		}
	}
	stored, done, err := get(ctx, d.Docname())
	if err != nil {
		return nil, storeError(err)
	}
	// What an operator is fetching is kept by control, a few bodies at most.
	done()
	return stored.Body, nil
}

// StoreList lists what a store has.
func (o *storeOperator) StoreList(ctx context.Context, r control.StoreListRequest) (p control.StoreListPage, err error) {
	q := storage.Query{License: r.License, Tenant: r.Tenant, App: r.App, Name: r.Name, After: r.After, Limit: r.Limit}
	if err := q.Check(); err != nil || q.License == "" {
		return p, control.Wrong("%+v: a name needs its app, an app its tenant, a tenant its license region", r)
	}
	found, err := o.stored.List(ctx, q)
	if err != nil {
		return p, storeError(err)
	}
	p.Rows, p.Next = make([]control.StoreEntry, 0, len(found.Entries)), found.Next
	for _, e := range found.Entries {
		p.Rows = append(p.Rows, control.StoreEntry{Document: control.NewDocument(e.Document), Size: e.Size, Time: e.Time, Deleted: e.Deleted})
	}
	return p, nil
}

// Save has the store keep a document that is open here now.
func (o *storeOperator) Save(ctx context.Context, doc control.Document) (control.Kept, error) {
	d := o.docs.Get(doc.Docname())
	if d == nil {
		return control.Kept{}, control.NotFound("%s is not open here", doc)
	}
	if err := o.docs.Save(ctx, d); err != nil {
		return control.Kept{}, storeError(err)
	}
	return *o.kept(d), nil
}

// kept is what is known of an open document in its store; nil: it has none.
func (o *storeOperator) kept(d *live.Document) *control.Kept {
	k, ok := o.docs.Kept(d)
	if !ok {
		return nil
	}
	return &control.Kept{Version: k.Version, Time: k.At, Clean: k.Clean}
}

// MaxPut is the largest update that StorePut takes.
func (o *storeOperator) MaxPut() int { return o.cfg.Sessions.MaxDocumentBytes }

// StorePut merges an update into what the store has of a document.
func (o *storeOperator) StorePut(ctx context.Context, r control.StorePutRequest, update []byte) (control.StoreResult, error) {
	result, err := o.stored.Put(ctx, r.Document.Docname(), update, docs.PutOptions{
		Create: r.Create, Undelete: r.Undelete, DryRun: r.DryRun, KeepDeleted: r.KeepDeleted,
	})
	if err != nil {
		return control.StoreResult{}, storeError(err)
	}
	return control.StoreResult{Outcome: string(result.Outcome), Version: string(result.Version), Size: result.Size, KeepDeleted: r.KeepDeleted}, nil
}

// StoreDelete puts a tombstone in the place of a document.
func (o *storeOperator) StoreDelete(ctx context.Context, d control.Document) (control.StoreResult, error) {
	result, err := o.stored.Delete(ctx, d.Docname())
	if err != nil {
		return control.StoreResult{}, storeError(err)
	}
	return control.StoreResult{Outcome: string(result.Outcome), Version: string(result.Version)}, nil
}

// StoreDrop takes the content of what is deleted out of a document.
func (o *storeOperator) StoreDrop(ctx context.Context, d control.Document) (control.StoreResult, error) {
	result, err := o.stored.Drop(ctx, d.Docname())
	if err != nil {
		return control.StoreResult{}, storeError(err)
	}
	return control.StoreResult{Outcome: string(result.Outcome), Version: string(result.Version), Size: result.Size}, nil
}

// StoreVersions lists the former bodies of a document.
func (o *storeOperator) StoreVersions(ctx context.Context, d control.Document) ([]control.StoreVersion, error) {
	copies, err := o.stored.Versions(ctx, d.Docname())
	if err != nil {
		return nil, storeError(err)
	}
	versions := make([]control.StoreVersion, 0, len(copies))
	for _, c := range copies {
		versions = append(versions, control.StoreVersion{ID: c.ID, Time: c.Time, Replaced: c.Replaced, Size: c.Size})
	}
	return versions, nil
}

// StoreErase removes the former bodies of a document that is deleted.
func (o *storeOperator) StoreErase(ctx context.Context, d control.Document) (control.StoreErased, error) {
	removed, err := o.stored.Erase(ctx, d.Docname())
	if errors.Is(err, storage.ErrNoCopies) {
		return control.StoreErased{Detail: err.Error()}, nil
	}
	if err != nil {
		return control.StoreErased{}, storeError(err)
	}
	return control.StoreErased{Versions: removed}, nil
}

// StoreAccept goes on with what there is of a document that has lost something.
func (o *storeOperator) StoreAccept(ctx context.Context, r control.StoreAcceptRequest) (control.StoreAccepted, error) {
	var lost error
	err := o.life.during(ctx, func(ctx context.Context) (err error) { // it may open a room
		lost, err = o.docs.Accept(ctx, r.Document.Docname(), r.DryRun)
		return err
	})
	a := control.StoreAccepted{Region: o.cfg.Region}
	if lost != nil {
		a.Lost = lost.Error()
	}
	if err != nil {
		return a, storeError(err)
	}
	return a, nil
}

// storeError says to an operator what went wrong, and whether it can go well later.
func storeError(err error) error {
	code := control.CodeUnavailable
	var open *docs.LiveError
	switch {
	case errors.Is(err, docs.ErrNoStore), errors.Is(err, storage.ErrAbsent):
		code = control.CodeNotFound
	case errors.Is(err, storage.ErrDeleted):
		code = control.CodeGone
	case errors.As(err, &open), errors.Is(err, docs.ErrExists), errors.Is(err, docs.ErrNotDeleted), errors.Is(err, live.ErrElsewhere), errors.Is(err, storage.ErrConflict):
		code = control.CodeConflict
	case errors.Is(err, docs.ErrNotUpdate), errors.Is(err, errors.ErrUnsupported):
		code = control.CodeWrong
	case errors.Is(err, storage.ErrCorrupt), errors.Is(err, storage.ErrTooLarge):
		code = control.CodeFailed
	case errors.Is(err, kvpin.ErrNotServed):
		code = control.CodeNotFound
	}
	return &control.Error{Code: code, Description: err.Error()}
}

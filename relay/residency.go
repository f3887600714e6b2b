package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/apps"
	"github.com/wsnode/wsnode/relay/live"
)

// errNoResidence is returned for a document that is in no region where it may be, and can
// be in none now.
var errNoResidence = errors.New("no region in which the app's documents may be can be reached")

// homes says in which region a document is at home, or may be. An app may be bound to
// regions: elsewhere its documents are neither opened, nor stored, nor carried, and nobody
// is sent to where a document may not be. It asks for an app's settings each time, which
// change while the node runs, and claims nothing.
type homes struct {
	region   docid.Region
	registry *kvpin.Registry
	apps     func(docid.AppID) apps.Settings // nil: all have the defaults
}

func newHomes(cfg *Config) *homes { return &homes{cfg.Region, cfg.Registry, cfg.Apps} }

// settings are those of an app.
func (h *homes) settings(app docid.AppID) apps.Settings {
	if h.apps == nil {
		return apps.Settings{}
	}
	return h.apps(app)
}

// here reports whether the app's documents may be in this region.
func (h *homes) here(app docid.AppID) bool { return h.settings(app).In(h.region) }

// resides returns an error for a document that may not be in this region.
func (h *homes) resides(ctx context.Context, doc docid.Document, preferred docid.Region) error {
	if h.here(doc.AppID()) {
		return nil
	}
	to, err := h.toResidence(ctx, doc, preferred)
	if err != nil {
		return err
	}
	to.bound = true
	return to
}

// elsewhere returns the error that sends the clients of a document that lives nowhere out of
// this region, which is evacuated.
func (h *homes) elsewhere(ctx context.Context, doc docid.Document) error {
	to, err := h.toResidence(ctx, doc, "")
	if err != nil {
		return err
	}
	return to
}

func (h *homes) toResidence(ctx context.Context, doc docid.Document, preferred docid.Region) (*redirectError, error) {
	region, err := h.residence(ctx, doc, preferred)
	if err != nil {
		return nil, err
	}
	url, err := h.registry.RegionURL(ctx, region)
	if err != nil {
		return nil, err
	}
	return &redirectError{region: region, url: url, name: doc.Name}, nil
}

// residence is a region in which the document may be: where it lives, else the
// preferred one, else the first by name; of those that are live.
func (h *homes) residence(ctx context.Context, doc docid.Document, preferred docid.Region) (docid.Region, error) {
	settings := h.settings(doc.AppID())
	known, err := h.registry.Regions(ctx)
	if err != nil {
		return "", err
	}
	var first docid.Region
	may := map[docid.Region]bool{}
	for _, k := range known {
		if k.Region == h.region && h.registry.Evacuated(doc.License) { // known sooner than its status
			continue
		}
		if k.Status == kvpin.RegionLive && settings.In(k.Region) {
			may[k.Region] = true
			if first == "" {
				first = k.Region
			}
		}
	}
	if first == "" {
		return "", fmt.Errorf("%w: %v", errNoResidence, settings.Regions)
	}
	if pin, state, err := h.registry.Lookup(ctx, doc); err == nil && state != kvpin.Free && may[pin.Region] {
		return pin.Region, nil
	}
	if may[preferred] {
		return preferred, nil
	}
	return first, nil
}

// redirect is returned for a document that lives in another region.
func (h *homes) redirect(ctx context.Context, doc docid.Document, pin kvpin.Pin) error {
	if !h.settings(doc.AppID()).In(pin.Region) {
		return fmt.Errorf("%w: it still lives in %s", errNoResidence, pin.Region)
	}
	url, err := h.registry.RegionURL(ctx, pin.Region)
	if err != nil {
		return err
	}
	return &redirectError{region: pin.Region, url: url, name: doc.Name}
}

// locate returns the region of a document. If it lives nowhere, that is the token's
// preference if that region is live, else this node's own, unless that is evacuated. A
// document whose whole region is gone lives nowhere, though it is pinned: the next client
// takes it over, wherever it comes.
func (h *homes) locate(ctx context.Context, doc docid.Document, preferred docid.Region, docs *live.Documents) (region docid.Region, isNew bool, err error) {
	pin, state, err := h.registry.Lookup(ctx, doc)
	switch {
	case errors.Is(err, kvpin.ErrUnavailable):
		if _, here, _ := docs.Who(ctx, doc); here {
			return h.region, false, nil
		}
		return "", false, err
	case err != nil:
		return "", false, err
	case !h.here(doc.AppID()), state != kvpin.Free && !h.settings(doc.AppID()).In(pin.Region):
		region, err = h.residence(ctx, doc, preferred)
		return region, state == kvpin.Free || region != pin.Region, err
	case state == kvpin.Free || (state == kvpin.Orphaned || state == kvpin.Owed) && !h.live(ctx, pin.Region):
		if preferred == "" || !h.settings(doc.AppID()).In(preferred) || !h.live(ctx, preferred) {
			preferred = h.region
		}
		if preferred == h.region && h.registry.Evacuated(doc.License) {
			preferred, err = h.residence(ctx, doc, "")
		}
		return preferred, true, err
	}
	return pin.Region, false, nil
}

// live reports whether clients may be sent to a region, as far as is known.
func (h *homes) live(ctx context.Context, region docid.Region) bool {
	if region == h.region {
		return true
	}
	known, err := h.registry.Regions(ctx)
	return err == nil && slices.ContainsFunc(known, func(k kvpin.RegionInfo) bool {
		return k.Region == region && k.Status == kvpin.RegionLive
	})
}

// keepsDeleted reports whether a document's life that begins now keeps the content of what
// is deleted: its app's setting says so, and each node of the region could open it.
func (h *homes) keepsDeleted(doc docid.Document) bool {
	return h.settings(doc.AppID()).KeepDeleted && h.registry.AllCan(doc.License, kvpin.CanKeep)
}

// evictEvery is how often the node looks for documents that may not be here any more,
// since the settings of their apps have changed.
const evictEvery = 5 * time.Second

// evict sends the clients of such documents away. What was typed goes along with them.
func (h *homes) evict(ctx context.Context, docs *live.Documents) {
	ticker := time.NewTicker(evictEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		may := map[docid.AppID]bool{} // a look at all rules for each app, not for each document
		for _, d := range docs.All() {
			app := d.Name().AppID()
			here, known := may[app]
			if !known {
				here = h.here(app)
				may[app] = here
			}
			if open := docs.Get(d.Name()); !here && open != nil {
				if err := h.resides(ctx, d.Name(), ""); err != nil { // else the settings have changed back
					told := answer(err)
					open.Room().CloseAll(told.code, told.reason)
				}
			}
		}
	}
}

package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
)

// An app may be bound to regions: elsewhere its documents are neither opened, nor stored,
// nor carried, and its clients are sent where they may be.

// errNoResidence is returned for a document that is in no region where it may be, and can
// be in none now.
var errNoResidence = errors.New("no region in which the app's documents may be can be reached")

// resides returns an error for a document that may not be in this region.
func (n *Node) resides(ctx context.Context, doc docid.Document, preferred docid.Region) error {
	if n.settings(doc.AppID()).In(n.cfg.Region) {
		return nil
	}
	to, err := n.toResidence(ctx, doc, preferred)
	if err != nil {
		return err
	}
	to.bound = true
	return to
}

// elsewhere returns the error that sends the clients of a document that lives nowhere out of
// this region, which is evacuated.
func (n *Node) elsewhere(ctx context.Context, doc docid.Document) error {
	to, err := n.toResidence(ctx, doc, "")
	if err != nil {
		return err
	}
	return to
}

func (n *Node) toResidence(ctx context.Context, doc docid.Document, preferred docid.Region) (*redirectError, error) {
	region, err := n.residence(ctx, doc, preferred)
	if err != nil {
		return nil, err
	}
	url, err := n.cfg.Registry.RegionURL(ctx, region)
	if err != nil {
		return nil, err
	}
	return &redirectError{region: region, url: url, name: doc.Name}, nil
}

// residence is a region in which the document may be: where it lives, else the
// preferred one, else the first by name; of those that are live.
func (n *Node) residence(ctx context.Context, doc docid.Document, preferred docid.Region) (docid.Region, error) {
	settings := n.settings(doc.AppID())
	known, err := n.cfg.Registry.Regions(ctx)
	if err != nil {
		return "", err
	}
	var first docid.Region
	may := map[docid.Region]bool{}
	for _, k := range known {
		if k.Region == n.cfg.Region && n.cfg.Registry.Evacuated(doc.License) { // known sooner than its status
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
	if pin, state, err := n.cfg.Registry.Lookup(ctx, doc); err == nil && state != kvpin.Free && may[pin.Region] {
		return pin.Region, nil
	}
	if may[preferred] {
		return preferred, nil
	}
	return first, nil
}

// evictEvery is how often the node looks for documents that may not be here any more,
// since the settings of their apps have changed.
const evictEvery = 5 * time.Second

// evict sends the clients of such documents away. What was typed goes along with them.
func (n *Node) evict(ctx context.Context) {
	ticker := time.NewTicker(evictEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		may := map[docid.AppID]bool{} // a look at all rules for each app, not for each document
		for _, d := range n.docs.All() {
			app := d.Name().AppID()
			here, known := may[app]
			if !known {
				here = n.settings(app).In(n.cfg.Region)
				may[app] = here
			}
			if open := n.docs.Get(d.Name()); !here && open != nil {
				if err := n.resides(ctx, d.Name(), ""); err != nil { // else the settings have changed back
					told := answer(err)
					open.Room().CloseAll(told.code, told.reason)
				}
			}
		}
	}
}

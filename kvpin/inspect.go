package kvpin

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// Inspector looks at registries without taking a lease, for operators. It changes
// nothing but what Unpin is asked to. Its methods may be called concurrently.
type Inspector struct {
	stores map[docid.LicenseRegion]kv.Store
	links  *kv.Links
}

// PinFilter selects pins; empty fields stand for any.
type PinFilter struct {
	Tenant docid.Tenant
	App    docid.App
	Region docid.Region
}

// PinInfo is a document's pin and what it amounts to. The holders of a live pin are
// those that are alive: who died stays in the record until the last holder leaves.
type PinInfo struct {
	Document docid.Document
	Pin      Pin
	State    State // Free: the pin is gone; the other fields but Document are empty
}

// Lease is a node's lease as the registry has it.
type Lease struct {
	Node     docid.NodeID
	Region   docid.Region
	ID       LeaseID
	Draining bool
	// Settling are earlier leases whose pins the node is going through.
	Settling []LeaseID
	Started  time.Time       // by the node's clock
	Renewed  time.Time       // by the registry's clock
	Clock    time.Time       // the node's, just before Renewed; zero: it is of a version that does not say
	Time     time.Duration   // that it is good for; 0: as Clock
	Load     json.RawMessage // what Config.Load said
	About
}

// OpenInspector connects to the registries. Their buckets must exist.
func OpenInspector(ctx context.Context, registries map[docid.LicenseRegion]Source) (*Inspector, error) {
	i := &Inspector{stores: make(map[docid.LicenseRegion]kv.Store), links: kv.NewLinks("wsnode registry inspector", nil)}
	for _, license := range slices.Sorted(maps.Keys(registries)) {
		source := registries[license]
		source.Create = false
		source.Replicas = 0
		link, err := i.links.To(source)
		if err == nil {
			s := link.Bucket(bucketName(license), source.Domain)
			i.stores[license] = s
			if err = link.Ready(ctx); err == nil {
				_, err = s.Ensure(ctx, source)
			}
		}
		if err != nil {
			i.Close()
			return nil, fmt.Errorf("license region %s: %w", license, err)
		}
	}
	return i, nil
}

// Close closes the connections.
func (i *Inspector) Close() { i.links.Close() }

func (i *Inspector) store(license docid.LicenseRegion) (kv.Store, error) {
	if s := i.stores[license]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrNotServed, license)
}

// Leases returns the leases in a registry, sorted by region and node. Those given
// back in order are left out.
func (i *Inspector) Leases(ctx context.Context, license docid.LicenseRegion) ([]Lease, error) {
	s, err := i.store(license)
	if err != nil {
		return nil, err
	}
	var leases []Lease
	clock := clockOf(ctx, s)
	err = s.Scan(ctx, leasePrefix+">", func(e kv.Entry) error {
		record, err := decodeLease(e)
		if !e.Present || err != nil || record.Left || record.ended(e, unknownLife, clock.now()) {
			return nil
		}
		leases = append(leases, Lease{
			Node: nodeOfLease(e.Key), Region: record.Region, ID: record.Lease, Draining: record.Draining,
			Settling: record.Settling, Started: record.Started, Renewed: e.Written,
			Clock: record.Clock, Time: time.Duration(record.TTL) * time.Second, Load: record.Load, About: record.About,
		})
		return nil
	})
	slices.SortFunc(leases, func(a, b Lease) int {
		return strings.Compare(string(a.Region)+" "+string(a.Node), string(b.Region)+" "+string(b.Node))
	})
	return leases, err
}

// nodeOfLease is the node that a lease's key names: what follows the region, which
// has no dots.
func nodeOfLease(key string) docid.NodeID {
	_, node, _ := strings.Cut(strings.TrimPrefix(key, leasePrefix), ".")
	return docid.NodeID(node)
}

// leaseTable says which leases are current, by their keys.
type leaseTable struct {
	clock  *bucketClock
	leases map[string]leaseRecord
}

func newLeaseTable(clock *bucketClock) leaseTable {
	return leaseTable{clock, make(map[string]leaseRecord)}
}

// take reports whether the entry is a lease that is current.
func (t leaseTable) take(e kv.Entry) bool {
	record, err := decodeLease(e)
	if !e.Present || err != nil || record.ended(e, unknownLife, t.clock.now()) {
		delete(t.leases, e.Key)
		return false
	}
	t.leases[e.Key] = record
	return true
}

// judge says what the pin of an entry amounts to.
func (t leaseTable) judge(e kv.Entry, p Pin) (Pin, State) {
	if p.lasted(e, unknownLife, t.clock.now()) {
		return Pin{Revision: e.Revision}, Free
	}
	if len(p.Holders) == 0 {
		return p, p.idle()
	}
	alive := p.without(func(h Holder) bool { return !t.leases[leaseKey(p.Region, h.Node)].covers(h.Lease) })
	if len(alive.Holders) == 0 {
		return p, Orphaned
	}
	return alive, Live
}

// info reads a pin's entry; ok is false if it is none that the filter wants.
func (f PinFilter) info(license docid.LicenseRegion, e kv.Entry, leases leaseTable) (info PinInfo, ok bool) {
	doc, err := docid.ParsePinKey(license, e.Key)
	if err != nil {
		return PinInfo{}, false
	}
	if !e.Present {
		return PinInfo{Document: doc}, true
	}
	p, err := decodePin(e)
	if err != nil || f.Region != "" && f.Region != p.Region {
		return PinInfo{}, false
	}
	p, state := leases.judge(e, p)
	return PinInfo{doc, p, state}, true
}

var errEnough = errors.New("enough")

// Pins streams the pins of a registry that the filter selects, in no order. An
// error is the last thing it yields.
func (i *Inspector) Pins(ctx context.Context, license docid.LicenseRegion, f PinFilter) iter.Seq2[PinInfo, error] {
	return func(yield func(PinInfo, error) bool) {
		s, err := i.store(license)
		var leases leaseTable
		if err == nil {
			leases = newLeaseTable(clockOf(ctx, s))
			err = s.Scan(ctx, leasePrefix+">", func(e kv.Entry) error { leases.take(e); return nil })
		}
		if err == nil {
			err = s.Scan(ctx, docid.PinFilter(f.Tenant, f.App), func(e kv.Entry) error {
				if info, ok := f.info(license, e, leases); ok && info.State != Free && !yield(info, nil) {
					return errEnough
				}
				return nil
			})
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield(PinInfo{}, err)
		}
	}
}

// WatchPins calls handle for each pin that the filter selects and then for each
// change of one, until ctx ends. A pin that is gone is reported as Free, whatever
// region the filter names. A change of a lease alone is not reported, and of changes
// in quick succession only the last.
func (i *Inspector) WatchPins(ctx context.Context, license docid.LicenseRegion, f PinFilter, handle func(PinInfo)) error {
	s, err := i.store(license)
	if err != nil {
		return err
	}
	leases := newLeaseTable(clockOf(ctx, s))
	var early []kv.Entry // pins that came before all leases were known
	synced := false
	report := func(e kv.Entry) {
		if info, ok := f.info(license, e, leases); ok {
			handle(info)
		}
	}
	s.Watch(ctx, []string{leasePrefix + ">", docid.PinFilter(f.Tenant, f.App)}, func(c kv.Change) {
		switch {
		case c.Synced:
			synced = true
			for _, e := range early {
				report(e)
			}
			early = nil
		case strings.HasPrefix(c.Key, leasePrefix):
			leases.take(c.Entry)
		case synced:
			report(c.Entry)
		case c.Present:
			early = append(early, c.Entry)
		}
	})
	return nil
}

// Pin returns one document's pin as the leader has it. Of one that cannot be read
// there is the revision beside the error, for Unpin.
func (i *Inspector) Pin(ctx context.Context, doc docid.Document) (PinInfo, error) {
	s, err := i.store(doc.License)
	if err != nil {
		return PinInfo{}, err
	}
	e, err := s.Get(ctx, doc.PinKey())
	if err != nil || !e.Present {
		return PinInfo{Document: doc}, err
	}
	p, err := decodePin(e)
	if err != nil {
		return PinInfo{Document: doc, Pin: Pin{Revision: e.Revision}}, err
	}
	leases := newLeaseTable(clockOf(ctx, s))
	for _, h := range p.Holders {
		l, err := s.Get(ctx, leaseKey(p.Region, h.Node))
		if err != nil {
			return PinInfo{}, err
		}
		leases.take(l)
	}
	p, state := leases.judge(e, p)
	return PinInfo{doc, p, state}, nil
}

// Unpin deletes a document's pin if it has the given revision, else ErrConflict. It
// is for pins that nobody holds: living holders are told, and pin the document
// again within seconds.
func (i *Inspector) Unpin(ctx context.Context, doc docid.Document, revision uint64) error {
	s, err := i.store(doc.License)
	if err != nil {
		return err
	}
	e, err := s.Get(ctx, doc.PinKey())
	if err != nil {
		return err
	}
	if !e.Present {
		return fmt.Errorf("unpin %s: %w", doc, ErrNotFound)
	}
	if err := s.Delete(ctx, doc.PinKey(), revision); err != nil {
		return fmt.Errorf("unpin %s: %w", doc, err)
	}
	p, err := decodePin(e)
	if err != nil {
		return nil // unreadable, and gone
	}
	for _, h := range p.Holders {
		key := noticePrefix + string(h.Node) + "." + rand.Text()[:12]
		if _, err := s.Put(ctx, key, []byte(doc.PinKey()), 0, time.Minute); err != nil {
			return fmt.Errorf("tell node %s that %s was unpinned: %w", h.Node, doc, err)
		}
	}
	return nil
}

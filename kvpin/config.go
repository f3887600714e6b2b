package kvpin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// Source says where the bucket of a license region is and how it is looked after.
type Source = kv.Source

// BucketError says what is wrong with a registry's bucket or server.
type BucketError = kv.BucketError

// BucketDescription is what a bucket's stream says of itself.
const BucketDescription = kv.Description

// Config describes a node's registry. Zero durations stand for the defaults.
type Config struct {
	// Region is the region of this node. Required.
	Region docid.Region
	// Node is the id of this node: 1 to 64 of letters, digits, '.', '_', '-'.
	// Required.
	Node docid.NodeID
	// URL is the public URL of the region, such as "wss://eu-central-1.example".
	// The region's first node writes it into each registry; it is never overwritten.
	URL string
	// RegionURLs are the public URLs of regions that registries have no say in.
	RegionURLs map[docid.Region]string
	// Registries by the license region that they serve.
	Registries map[docid.LicenseRegion]Source

	// Grace is how long a pin stays after the last holder's last session: whole
	// seconds, at least 1. Default 10 s.
	Grace time.Duration
	// LeaseTTL is how long a node counts as alive after its last renewal: whole
	// seconds, at least 2. Default 10 s.
	LeaseTTL time.Duration
	// RenewEvery is the time between renewals. Default 3/10 of LeaseTTL.
	RenewEvery time.Duration
	// Backstop is the expiry of a pin with holders, should all of them vanish and
	// nobody sweep. One holder renews it in half that time. Default 4 h.
	Backstop time.Duration
	// Timeout bounds the wait for one answer of the registry. Default 800 ms.
	Timeout time.Duration
	// Deadline bounds Lookup, Hold and Release as a whole. Default 1.5 s.
	Deadline time.Duration
	// StartTimeout is how long Open waits for a registry that cannot be reached
	// before it goes on without. Default 5 s.
	StartTimeout time.Duration
	// SweepAfter is how long after the loss of a lease the region looks for orphans.
	// At least the lease time; default 30 s or twice that.
	SweepAfter time.Duration
	// SweepEvery is the time between looks for orphans without such a cause.
	// Default 1 h.
	SweepEvery time.Duration

	// Load describes the node's load in its lease, for people: any JSON. Called at
	// each renewal; may be nil.
	Load func() json.RawMessage
	// About says what the node tells the others about itself in its lease. Called at
	// each renewal; nil: nothing.
	About func() About
	// Store is About.Store in the registry of a license region: the store that keeps its
	// documents, or NoStore. Nil: About says it for all.
	Store func(docid.LicenseRegion) string
	// Alive asks this region's other nodes whether one of them has a document open in
	// an epoch, although no lease says so: a node that has lost the registry may still
	// have its clients. ErrSilent says that there is one that does not answer, other
	// errors that nobody could be asked. Nil disables the question.
	Alive func(context.Context, docid.Document, Epoch) (bool, error)
	// Covered is asked about a stored life whose last holder leaves: whether the store has
	// all that its history holds. If not, or on an error, the pin is owed. Required with
	// Store; must end within half a second or with its context.
	Covered func(context.Context, docid.Document, Epoch) (bool, error)
	// Unpinned is told of a document whose last holder the registry took out in the
	// background: a release that was owed, or an orphan. Its history is to be purged
	// once the pin is gone. May be nil; must not block.
	Unpinned func(docid.Document, Pin)
	// Swept is told of a license region whose orphans this node has unpinned because another
	// node of the region has died, or has ended and left something to be done, or may have before
	// this one was there to see it: what else that was to do no registry knows. May be nil; must
	// not block.
	Swept func(docid.LicenseRegion)
	// Owes reports whether this node, which leaves a license region in order, leaves something
	// to be done of which no registry knows: the others then look as if it had died, and are
	// told by Swept. May be nil; must not block.
	Owes func(docid.LicenseRegion) bool
	// Observe is told of every operation, how long it took and what came of it: the
	// requests "read" and "write", and what they serve, "lookup", "hold", "release",
	// "renew", "reconcile" (what is owed, a validation) and "sweep". May be nil; must not
	// block.
	Observe func(op string, d time.Duration, err error)
	// Log takes what an operator should know. Nil discards it.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&c.Grace, 10*time.Second)
	set(&c.LeaseTTL, 10*time.Second)
	set(&c.RenewEvery, c.LeaseTTL*3/10)
	set(&c.Backstop, 4*time.Hour)
	set(&c.Timeout, 800*time.Millisecond)
	set(&c.Deadline, 1500*time.Millisecond)
	set(&c.StartTimeout, 5*time.Second)
	set(&c.SweepAfter, max(30*time.Second, 2*c.LeaseTTL))
	set(&c.SweepEvery, time.Hour)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Observe == nil {
		c.Observe = func(string, time.Duration, error) {}
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !docid.ValidRegion(string(c.Region)) {
		fail("region %q: expected 1 to 64 of lower-case letters, digits and '-'", c.Region)
	}
	if n := string(c.Node); !docid.ValidID(n) || strings.HasPrefix(n, ".") || strings.HasSuffix(n, ".") || strings.Contains(n, "..") {
		fail("node id %q: expected 1 to 64 of letters, digits, '_', '-' and single dots inside", c.Node)
	}
	for region, url := range c.RegionURLs {
		if err := CheckRegionURL(url); err != nil {
			fail("URL of region %s: %w", region, err)
		}
	}
	for license, source := range c.Registries {
		if !docid.ValidRegion(string(license)) {
			fail("license region %q: expected 1 to 64 of lower-case letters, digits and '-'", license)
		}
		if source.Replicas < 0 || source.Replicas > 5 {
			fail("registry %s: %d replicas: expected 1 to 5", license, source.Replicas)
		}
	}
	if c.Grace < time.Second || c.Grace%time.Second != 0 {
		fail("grace period %s: expected whole seconds, at least 1", c.Grace)
	}
	if c.LeaseTTL < 2*time.Second || c.LeaseTTL%time.Second != 0 {
		fail("lease time %s: expected whole seconds, at least 2", c.LeaseTTL)
	}
	if c.RenewEvery <= 0 || c.RenewEvery > c.LeaseTTL/2 {
		fail("lease renewal every %s: expected at most half the lease time %s", c.RenewEvery, c.LeaseTTL)
	}
	if c.SweepAfter < c.LeaseTTL {
		fail("sweep %s after a lost lease: expected at least the lease time %s", c.SweepAfter, c.LeaseTTL)
	}
	if c.Backstop < 10*c.LeaseTTL || c.Backstop%time.Second != 0 {
		fail("backstop %s: expected whole seconds, at least ten lease times", c.Backstop)
	}
	return errors.Join(errs...)
}

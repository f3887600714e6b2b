package kvpin

import (
	"errors"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

var errRegionURL = errors.New("expected ws:// or wss://, a host, and no user, query or fragment")

// CheckRegionURL says what keeps a string from being the public URL of a region.
// Clients are sent there with their tokens, so whatever a registry holds is looked
// at before it is used.
func CheckRegionURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil,
		u.Scheme != "ws" && u.Scheme != "wss",
		u.Hostname() == "" || u.Opaque != "" || u.User != nil,
		strings.ContainsAny(text, "?# \\"):
		return errRegionURL // url.Parse's own error repeats the text
	}
	return nil
}

// fixedURL is the URL that a setting gives a region: no registry is asked then.
func (c *Config) fixedURL(r docid.Region) (string, bool) {
	u, ok := c.RegionURLs[r]
	return u, ok
}

// regions are what one registry says about regions: where they are, and whether they
// are live. A URL that is there is never overwritten by a node, and what is no URL
// leaves the last good one in force, so that a registry that was damaged, or a node
// that was, sends nobody's token astray.
type regions struct {
	cfg      *Config // static
	license  docid.LicenseRegion
	requests *requests
	clock    *bucketClock
	survey   survey

	due time.Time // when publish tries again; owned by the lease keeper

	mu   sync.Mutex
	urls map[docid.Region]string

	evacuated map[docid.Region]struct{} // guarded by mu
}

func newRegions(cfg *Config, license docid.LicenseRegion, requests *requests, clock *bucketClock) *regions {
	return &regions{
		cfg: cfg, license: license, requests: requests, clock: clock,
		survey: survey{turn: make(chan struct{}, 1)}, urls: make(map[docid.Region]string), evacuated: make(map[docid.Region]struct{}),
	}
}

func (rs *regions) setURL(r docid.Region, e kv.Entry) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if e.Present {
		rs.urls[r] = string(e.Value)
	} else {
		delete(rs.urls, r)
	}
}

func (rs *regions) url(r docid.Region) (string, bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	url, ok := rs.urls[r]
	return url, ok
}

// take notes what the watch reports of a region's URL. One that is none leaves
// the last good one in force: a registry that was damaged sends nobody astray.
func (rs *regions) take(r docid.Region, e kv.Entry) {
	if e.Present && !rs.usable(r, e) {
		return
	}
	rs.setURL(r, e)
}

func (rs *regions) usable(r docid.Region, e kv.Entry) bool {
	err := CheckRegionURL(string(e.Value))
	if err != nil {
		rs.cfg.Log.Warn("the registry holds what is no URL for a region, and it is not used: an operator can mend it by wsctl regions set",
			"license", rs.license, "region", r, "revision", e.Revision, "error", err)
	}
	return err == nil
}

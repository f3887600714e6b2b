package kvpin

import (
	"errors"
	"net/url"
	"strings"

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

// takeURL notes what the watch reports of a region's URL. One that is none leaves
// the last good one in force: a registry that was damaged sends nobody astray.
func (b *bucket) takeURL(r docid.Region, e kv.Entry) {
	if e.Present && !b.usableURL(r, e) {
		return
	}
	b.peers.setURL(r, e)
}

func (b *bucket) usableURL(r docid.Region, e kv.Entry) bool {
	err := CheckRegionURL(string(e.Value))
	if err != nil {
		b.cfg.Log.Warn("the registry holds what is no URL for a region, and it is not used: an operator can mend it by wsctl regions set",
			"license", b.license, "region", r, "revision", e.Revision, "error", err)
	}
	return err == nil
}

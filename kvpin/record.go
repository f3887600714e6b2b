package kvpin

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin/kv"
)

// Keys of the bucket. Pins and limit counters are spelled by docid.
const (
	pinKeys      = "pin.>"
	leasePrefix  = "lease."
	regionPrefix = "region."
	// A key below noticePrefix asks the node that it names to look at a pin again.
	noticePrefix = "notice."
	// A key below sweepPrefix names the node that is looking for a region's orphans.
	sweepPrefix = "sweep."
	// Keys below storePrefix say where documents are kept between their lives.
	storePrefix = "store."
	// Keys below carryPrefix are for nodes that carry clients to other regions.
	carryPrefix = "carry."
	// Keys below evacuatedPrefix name regions in which no document begins to live.
	evacuatedPrefix = "evacuated."
)

// pinRecord is a pin as the bucket stores it.
type pinRecord struct {
	Region  docid.Region `json:"region"`
	Epoch   Epoch        `json:"epoch"`
	Holders []Holder     `json:"holders"`
	Since   time.Time    `json:"since"`
	Left    time.Time    `json:"left,omitzero"`
	Owed    bool         `json:"owed,omitempty"`
	Moving  *Moving      `json:"moving,omitempty"`
	TTL     int64        `json:"ttl,omitempty"` // seconds that the key was written for; 0: an earlier version did
}

// encode returns the pin as it is written with an expiry.
func (p Pin) encode(ttl time.Duration) []byte {
	b, err := json.Marshal(pinRecord{p.Region, p.Epoch, p.Holders, p.Since.UTC(), p.Left.UTC(), p.Owed, p.Moving, int64(ttl / time.Second)})
	if err != nil {
		panic(err) // nothing in the record can fail
	}
	return b
}

func decodePin(e kv.Entry) (Pin, error) {
	var r pinRecord
	if err := json.Unmarshal(e.Value, &r); err != nil {
		return Pin{}, fmt.Errorf("%w: %s at revision %d is not readable: %w", ErrUnavailable, e.Key, e.Revision, err)
	}
	return Pin{
		Region: r.Region, Epoch: r.Epoch, Holders: r.Holders, Since: r.Since, Left: r.Left, Owed: r.Owed, Moving: r.Moving,
		Revision: e.Revision, ttl: time.Duration(r.TTL) * time.Second,
	}, nil
}

// lists reports whether the node is among the holders, under any lease.
func (p Pin) lists(node docid.NodeID) bool {
	return slices.ContainsFunc(p.Holders, func(h Holder) bool { return h.Node == node })
}

// has reports whether h itself is among the holders.
func (p Pin) has(h Holder) bool { return slices.Contains(p.Holders, h) }

// without returns the pin without the holders that leave matches. The result
// shares no holders with p.
func (p Pin) without(leave func(Holder) bool) Pin {
	p.Holders = slices.DeleteFunc(slices.Clone(p.Holders), leave)
	if p.Holders == nil {
		p.Holders = []Holder{}
	}
	return p
}

// with returns the pin with the holder in it, in place of what its node had.
func (p Pin) with(h Holder) Pin {
	p = p.without(func(o Holder) bool { return o.Node == h.Node })
	p.Holders, p.Owed = append(p.Holders, h), false
	return p
}

// leaseRecord is a lease as the bucket stores it. A node writes its own only, and
// readers ignore what they do not know, so that later versions can say more.
type leaseRecord struct {
	Region docid.Region `json:"region"`
	Lease  LeaseID      `json:"lease"`
	// Settling are lost leases whose pins the node is going through: they count as
	// current until it is done, so that an outage that took everybody's lease does
	// not free a live document before its holder came to it.
	Settling []LeaseID       `json:"settling,omitempty"`
	Draining bool            `json:"draining,omitempty"`
	Left     bool            `json:"left,omitempty"` // given back in order: nothing to sweep, unless Owes
	Owes     bool            `json:"owes,omitempty"` // who has left leaves pins behind that others are to look for
	Started  time.Time       `json:"started"`
	TTL      int64           `json:"ttl,omitempty"`  // as that of a pin
	Clock    time.Time       `json:"clock,omitzero"` // of the node when it wrote this, so that others can tell how far it is off
	Load     json.RawMessage `json:"load,omitempty"`
	About
}

func (l leaseRecord) encode() []byte {
	b, err := json.Marshal(l)
	if err != nil { // only the caller's load can fail
		l.Load = nil
		b, _ = json.Marshal(l)
	}
	return b
}

func decodeLease(e kv.Entry) (leaseRecord, error) {
	var l leaseRecord
	if err := json.Unmarshal(e.Value, &l); err != nil {
		return l, fmt.Errorf("%s at revision %d is not readable: %w", e.Key, e.Revision, err)
	}
	return l, nil
}

// covers reports whether a holder with this lease counts as alive.
func (l leaseRecord) covers(id LeaseID) bool {
	return id != "" && !l.Left && (l.Lease == id || slices.Contains(l.Settling, id))
}

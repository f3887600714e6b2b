package main

import "time"

// The rules of the product, as kvpin, relay and relay/room have them by default.
// TestRulesAreTheProducts compares what can be compared.
const (
	leaseTTL     = 10 * time.Second
	renewEvery   = 3 * time.Second // kvpin.Config.RenewEvery
	grace        = 10 * time.Second
	backstop     = 4 * time.Hour    // renewed after 3/8 to 1/2 of it, see kvpin.Hold
	releaseDelay = 3 * time.Second  // relay: a node keeps a document that long after its last session
	sweepAfter   = 30 * time.Second // kvpin.Config.SweepAfter, and up to a quarter more
	sweepEvery   = time.Hour        // kvpin.Config.SweepEvery, by one node of the region
	historySweep = 10 * time.Minute // relay.Config.SweepEvery, by one node of the region
	beaconEvery  = 5 * time.Second  // relay/room.Config.BeaconEvery
	batchWindow  = 50 * time.Millisecond
	watchEvery   = 5 * time.Second // kvpin: a watch looks without a hint; with hints, twice a second at most
	timeout      = 800 * time.Millisecond
	paceFirst    = 4  // kvpin: documents of one registry that a node reconciles at once, at first
	paceMost     = 64 // and at most
	maxWatches   = 100_000

	lateExpiry = 150 * time.Millisecond  // measured: 0 to 0.3 s
	retryMost  = 2500 * time.Millisecond // y-websocket's longest pause before it dials again
)

// Faults of the timeline.
const (
	faultAt   = 60 * time.Second // a pod of region 0 dies, and all pods of region 1
	backAfter = 20 * time.Second // until they run again
)

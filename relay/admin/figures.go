package admin

import (
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wsnode/wsnode/relay/bus"
)

// Figures are what a node counts by itself, read when somebody asks for metrics.
// Totals count since the node's start.
type Figures struct {
	Connections int
	Documents   int
	Draining    bool
	Overloaded  bool
	Load        float64 // share of what the node may carry that is in use

	Handshakes map[string]int64 // by outcome; a small, fixed set

	Server           ServerFigures
	UnheededForwards int64 // requests whose X-Forwarded-For was not believed

	FramesIn, FramesOut int64
	BytesIn, BytesOut   int64

	Rooms    RoomFigures
	InFlight int // appends that wait for the history

	NATSConnected bool
	NATS          bus.Stats
	Strangers     int // nodes of the region that do not belong together with this one
	Unheard       int // documents that other nodes have open, too, which are not heard

	Carried             CarriedFigures
	Moved, MoveFailures int64 // documents that this node moved to another region, or could not

	Tokens TokenFigures
	Places PlaceFigures

	History HistoryFigures

	Registries []RegistryFigures
	Stores     []StoreFigures
	Kept       KeptFigures
	Tenants    []TenantFigures // empty unless asked for
}

// ServerFigures are about connections before there is a WebSocket.
type ServerFigures struct {
	Arriving                int   // have not brought a request
	Cut, Declined, Failures int64 // of those that arrive; at once, for want of descriptors; of accepting
}

// RoomFigures are those of all rooms of the node; the maps have small, fixed sets of keys.
type RoomFigures struct {
	Edits, Appends                int64 // updates from clients; messages to the history
	Overflows                     int64 // members that fell behind and were sent a difference
	Gaps, Repairs                 int64
	Rereads                       int64
	Compactions, Retries, Refused int64
	UnackedBytes                  int64
	Unsaved                       time.Duration    // the age of the oldest edit that the history has not acknowledged
	AwarenessDropped              map[string]int64 // by reason
	Stateless                     map[string]int64 // by outcome
}

// RegistryFigures are those of one registry.
type RegistryFigures struct {
	License string
	RegistryCounts
}

// RegistryCounts are what a node counts of a registry.
type RegistryCounts struct {
	Reads, Writes, LeasesLost, Takeovers, Swept uint64
	Held, Owed, Unsettled, Validating           int
	Reachable                                   bool
}

// CarriedFigures are those of clients that are relayed to another region, or from one.
type CarriedFigures struct {
	Links                                int
	Queued                               int   // bytes that wait for clients
	Carried, Refused, Failed, Astray     int64 // attempts to reach a home
	BytesToClients, BytesToHomes         int64
	Arrived, Unverified, AddressUnsigned int64
}

// TokenFigures are those of the verifier of tokens.
type TokenFigures struct {
	Remembered             int
	Cached                 uint64
	Issuers                int
	Fetches, FetchFailures uint64
}

// PlaceFigures are those of the plan limits.
type PlaceFigures struct {
	Apps, Limited, Waiting         int
	Writes, Conflicts, Unavailable uint64
}

// HistoryFigures are what the region's streams hold, the same on all its nodes, up
// to a minute old.
type HistoryFigures struct {
	Up                        bool // the streams' leaders answered
	Messages, Bytes, Subjects uint64
	FullRatio                 float64 // of the fullest stream that has a limit, or of the account
	Replicas                  int     // of the stream that has the fewest
	ReplicasExpected          int     // as this node was told
}

// TenantFigures are those of one tenant, or of all that are not told apart.
type TenantFigures struct {
	Tenant                 string
	Connections, Documents int
}

// metric is one family of metrics without labels of its own.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	value      func(*Figures) float64
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// metrics are all families without labels of their own. Names follow the
// conventions of Prometheus: base units, _total for counters.
var metrics = []metric{
	{"connections", "WebSocket sessions on this node.", gauge, func(f *Figures) float64 { return float64(f.Connections) }},
	{"documents", "Documents that are live on this node.", gauge, func(f *Figures) float64 { return float64(f.Documents) }},
	{"draining", "1 while the node is on its way out.", gauge, func(f *Figures) float64 { return truth(f.Draining) }},
	{"overloaded", "1 while the node refuses new connections because of its load.", gauge, func(f *Figures) float64 { return truth(f.Overloaded) }},
	{"load_ratio", "Share of the connections, memory or file descriptors that the node may have, whichever is largest; scale out well before 0.8.", gauge, func(f *Figures) float64 { return f.Load }},

	{"connections_arriving", "Connections that have not brought a request yet, or are kept for another one.", gauge, func(f *Figures) float64 { return float64(f.Server.Arriving) }},
	{"arrivals_cut_total", "Those of them that were cut because there were too many.", counter, func(f *Figures) float64 { return float64(f.Server.Cut) }},
	{"connections_declined_total", "Connections closed at once because the process has too many files open.", counter, func(f *Figures) float64 { return float64(f.Server.Declined) }},
	{"accept_errors_total", "Failed attempts to accept connections.", counter, func(f *Figures) float64 { return float64(f.Server.Failures) }},
	{"unheeded_forwards_total", "Requests with X-Forwarded-For from a peer that is no trusted proxy: if it is your proxy, its clients share one address and its limits.", counter, func(f *Figures) float64 { return float64(f.UnheededForwards) }},

	{"carried_sessions", "Clients of this node whose document is in another region, and who are relayed there.", gauge, func(f *Figures) float64 { return float64(f.Carried.Links) }},
	{"carried_waiting_bytes", "Bytes that wait for those of them who are slow.", gauge, func(f *Figures) float64 { return float64(f.Carried.Queued) }},
	{"carried_to_clients_bytes_total", "Bytes relayed to them.", counter, func(f *Figures) float64 { return float64(f.Carried.BytesToClients) }},
	{"carried_to_homes_bytes_total", "Bytes relayed from them.", counter, func(f *Figures) float64 { return float64(f.Carried.BytesToHomes) }},
	{"carried_unsigned_total", "Clients that were carried without a signature, since the registry gave no secret: their homes count them for this node's address.", counter, func(f *Figures) float64 { return float64(f.Carried.AddressUnsigned) }},
	{"carried_arrivals_total", "Handshakes of clients that another region carries here.", counter, func(f *Figures) float64 { return float64(f.Carried.Arrived) }},
	{"carried_unverified_total", "Those of them whose mark was not believed, so that they count for the address that connects.", counter, func(f *Figures) float64 { return float64(f.Carried.Unverified) }},

	{"tokens_remembered", "Verified tokens that need no signature check when they come again.", gauge, func(f *Figures) float64 { return float64(f.Tokens.Remembered) }},
	{"tokens_cached_total", "Tokens that needed none.", counter, func(f *Figures) float64 { return float64(f.Tokens.Cached) }},
	{"issuers", "Issuers whose keys are kept, or were asked for in vain.", gauge, func(f *Figures) float64 { return float64(f.Tokens.Issuers) }},
	{"issuer_fetches_total", "Fetches of key sets.", counter, func(f *Figures) float64 { return float64(f.Tokens.Fetches) }},
	{"issuer_fetch_failures_total", "Fetches of key sets that brought none.", counter, func(f *Figures) float64 { return float64(f.Tokens.FetchFailures) }},

	{"apps", "Apps with sessions or reserved places on this node.", gauge, func(f *Figures) float64 { return float64(f.Places.Apps) }},
	{"limited_apps", "Those of them that have limits.", gauge, func(f *Figures) float64 { return float64(f.Places.Limited) }},
	{"admissions_waiting", "Sessions that wait for a place in their app's limits.", gauge, func(f *Figures) float64 { return float64(f.Places.Waiting) }},
	{"limit_writes_total", "Writes to registries for the sake of limits.", counter, func(f *Figures) float64 { return float64(f.Places.Writes) }},
	{"limit_conflicts_total", "Those of them that came too late and were repeated.", counter, func(f *Figures) float64 { return float64(f.Places.Conflicts) }},
	{"limit_refusals_unavailable_total", "Sessions of apps with limits that were refused because nobody answered.", counter, func(f *Figures) float64 { return float64(f.Places.Unavailable) }},

	{"edits_received_total", "Updates from clients that brought something new.", counter, func(f *Figures) float64 { return float64(f.Rooms.Edits) }},
	{"appends_total", "Messages published to the other nodes and the history.", counter, func(f *Figures) float64 { return float64(f.Rooms.Appends) }},
	{"frames_received_total", "Frames from clients.", counter, func(f *Figures) float64 { return float64(f.FramesIn) }},
	{"frames_sent_total", "Frames to clients.", counter, func(f *Figures) float64 { return float64(f.FramesOut) }},
	{"received_bytes_total", "Bytes from clients.", counter, func(f *Figures) float64 { return float64(f.BytesIn) }},
	{"sent_bytes_total", "Bytes to clients.", counter, func(f *Figures) float64 { return float64(f.BytesOut) }},

	{"queue_overflows_total", "Clients that fell behind and were sent a difference instead of every edit.", counter, func(f *Figures) float64 { return float64(f.Rooms.Overflows) }},
	{"gaps_total", "Messages of other nodes that were noticed to be missing.", counter, func(f *Figures) float64 { return float64(f.Rooms.Gaps) }},
	{"repairs_total", "Differences taken from other nodes.", counter, func(f *Figures) float64 { return float64(f.Rooms.Repairs) }},
	{"refused_messages_total", "Messages of other nodes that made no sense.", counter, func(f *Figures) float64 { return float64(f.Rooms.Refused) }},
	{"history_rereads_total", "Histories read because another node did not answer.", counter, func(f *Figures) float64 { return float64(f.Rooms.Rereads) }},
	{"compactions_total", "Histories replaced by a snapshot.", counter, func(f *Figures) float64 { return float64(f.Rooms.Compactions) }},
	{"append_retries_total", "Appends that were tried again.", counter, func(f *Figures) float64 { return float64(f.Rooms.Retries) }},
	{"unacknowledged_bytes", "Edits kept in memory because the history has refused them so far.", gauge, func(f *Figures) float64 { return float64(f.Rooms.UnackedBytes) }},
	{"unacknowledged_seconds", "Age of the oldest edit that the history has not acknowledged.", gauge, func(f *Figures) float64 { return f.Rooms.Unsaved.Seconds() }},
	{"appends_in_flight", "Appends that wait for the history's acknowledgement.", gauge, func(f *Figures) float64 { return float64(f.InFlight) }},

	{"history_up", "1 while the leaders of the history streams answer; looked at every minute.", gauge, func(f *Figures) float64 { return truth(f.History.Up) }},
	{"history_messages", "Messages in the region's history streams.", gauge, func(f *Figures) float64 { return float64(f.History.Messages) }},
	{"history_bytes", "Size of the region's history streams.", gauge, func(f *Figures) float64 { return float64(f.History.Bytes) }},
	{"history_subjects", "Documents in the region's history streams.", gauge, func(f *Figures) float64 { return float64(f.History.Subjects) }},
	{"history_full_ratio", "How full the fullest history stream is that has a limit, or the account's storage, whichever is fuller; 0 if neither has a limit. A full one refuses edits.", gauge, func(f *Figures) float64 { return f.History.FullRatio }},

	{"history_replicas", "Replicas of the history stream that has the fewest.", gauge, func(f *Figures) float64 { return float64(f.History.Replicas) }},
	{"history_replicas_expected", "Replicas that this node was told the history streams have.", gauge, func(f *Figures) float64 { return float64(f.History.ReplicasExpected) }},

	{"nats_up", "1 while there is a connection to the region's NATS.", gauge, func(f *Figures) float64 { return truth(f.NATSConnected) }},
	{"nats_reconnects_total", "Connections to the region's NATS made anew.", counter, func(f *Figures) float64 { return float64(f.NATS.Reconnects) }},
	{"store_dirty_documents", "Documents of this node with edits that their store does not have yet.", gauge, func(f *Figures) float64 { return float64(f.Kept.Dirty) }},
	{"store_oldest_seconds", "Age of the oldest edit that its store does not have, as far as this node knows.", gauge, func(f *Figures) float64 { return f.Kept.Oldest.Seconds() }},
	{"store_debts", "Lives of documents that ended before all was stored: their histories keep it until it is.", gauge, func(f *Figures) float64 { return float64(f.Kept.Owed) }},
	{"documents_moved_total", "Documents that this node moved to another region, for an operator.", counter, func(f *Figures) float64 { return float64(f.Moved) }},
	{"documents_move_failures_total", "Attempts of this node to move a document after which it stayed.", counter, func(f *Figures) float64 { return float64(f.MoveFailures) }},
	{"store_waiting", "Loads and saves that wait for memory of --store-bytes.", gauge, func(f *Figures) float64 { return float64(f.Kept.Waiting) }},

	{"region_strangers", "Nodes of the region that do not belong together with this one, such as those on another NATS cluster.", gauge, func(f *Figures) float64 { return float64(f.Strangers) }},
	{"unheard_documents", "Documents that another node of the region has open by their pins, which is not heard.", gauge, func(f *Figures) float64 { return float64(f.Unheard) }},
	{"nats_drops_total", "Episodes of messages dropped because handlers were slow.", counter, func(f *Figures) float64 { return float64(f.NATS.Dropped) }},
	{"nats_backlog_bytes", "Bytes that wait for NATS to take them.", gauge, func(f *Figures) float64 { return float64(f.NATS.Backlog) }},
	{"nats_waiting_messages", "Messages that wait for their handlers.", gauge, func(f *Figures) float64 { return float64(f.NATS.Waiting) }},
	{"nats_subscriptions", "Subscriptions of the node's rooms.", gauge, func(f *Figures) float64 { return float64(f.NATS.Subscriptions) }},
}

// registryMetrics are the families with the label license.
var registryMetrics = []struct {
	name, help string
	kind       prometheus.ValueType
	value      func(*RegistryFigures) float64
}{
	{"registry_up", "1 while the node's lease in the registry is current: the registry answers.", gauge, func(r *RegistryFigures) float64 { return truth(r.Reachable) }},
	{"registry_reads_total", "Requests sent to the registry's leader.", counter, func(r *RegistryFigures) float64 { return float64(r.Reads) }},
	{"registry_writes_total", "Writes sent to the registry.", counter, func(r *RegistryFigures) float64 { return float64(r.Writes) }},
	{"registry_leases_lost_total", "Leases of this node that ran out or were taken away.", counter, func(r *RegistryFigures) float64 { return float64(r.LeasesLost) }},
	{"registry_takeovers_total", "Attempts to take over orphans of other regions.", counter, func(r *RegistryFigures) float64 { return float64(r.Takeovers) }},
	{"registry_swept_total", "Orphans of this region that were unpinned.", counter, func(r *RegistryFigures) float64 { return float64(r.Swept) }},
	{"registry_held_documents", "Documents whose pins name this node.", gauge, func(r *RegistryFigures) float64 { return float64(r.Held) }},
	{"registry_owed_writes", "Registry writes that are to be repeated.", gauge, func(r *RegistryFigures) float64 { return float64(r.Owed) }},
	{"registry_validating_documents", "Documents to go through after a lost lease.", gauge, func(r *RegistryFigures) float64 { return float64(r.Validating) }},
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Descriptions of the families with other labels.
var (
	handshakesDesc = desc("handshakes_total", "WebSocket handshakes by their outcome: admitted, redirect, or why not.", "outcome")
	droppedDesc    = desc("awareness_dropped_total", "Awareness states of clients that were dropped, by why.", "reason")
	dialsDesc      = desc("carried_dials_total", "Attempts to reach the home of a carried client, by outcome: carried, refused by the home, failed, or misrouted.", "outcome")
	statelessDesc  = desc("stateless_total", "Stateless messages of clients: passed on, or why not.", "outcome")
	buildDesc      = desc("build_info", "1; the labels say what runs.", "version", "protocol", "go_version")

	tenantConnectionsDesc = desc("tenant_connections", "WebSocket sessions by tenant, the busiest only.", "tenant")
	tenantDocumentsDesc   = desc("tenant_documents", "Live documents by tenant, the busiest only.", "tenant")
)

const namespace = "wsnode_"

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+name, help, labels, nil)
}

// figures is the collector of a node's figures.
type figures struct {
	version  string
	protocol string // format version of messages between pods
	read     func() Figures

	plain      []*prometheus.Desc // of metrics
	registries []*prometheus.Desc // of registryMetrics
}

func newFigures(version string, protocol int, read func() Figures) *figures {
	c := &figures{version: version, protocol: strconv.Itoa(protocol), read: read}
	for _, m := range metrics {
		c.plain = append(c.plain, desc(m.name, m.help))
	}
	for _, m := range registryMetrics {
		c.registries = append(c.registries, desc(m.name, m.help, "license"))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *figures) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.plain {
		ch <- d
	}
	for _, d := range c.registries {
		ch <- d
	}
	for _, d := range []*prometheus.Desc{handshakesDesc, droppedDesc, statelessDesc, dialsDesc, buildDesc, storeUpDesc, tenantConnectionsDesc, tenantDocumentsDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *figures) Collect(ch chan<- prometheus.Metric) {
	f := c.read()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	for i, m := range metrics {
		send(c.plain[i], m.kind, m.value(&f))
	}
	for _, r := range f.Registries {
		for i, m := range registryMetrics {
			send(c.registries[i], m.kind, m.value(&r), r.License)
		}
	}
	for _, s := range f.Stores {
		send(storeUpDesc, gauge, truth(s.Up), s.License)
	}
	for outcome, count := range f.Handshakes {
		send(handshakesDesc, counter, float64(count), outcome)
	}
	for reason, count := range f.Rooms.AwarenessDropped {
		send(droppedDesc, counter, float64(count), reason)
	}
	for outcome, count := range map[string]int64{
		"carried": f.Carried.Carried, "refused": f.Carried.Refused, "failed": f.Carried.Failed, "misrouted": f.Carried.Astray,
	} {
		send(dialsDesc, counter, float64(count), outcome)
	}
	for outcome, count := range f.Rooms.Stateless {
		send(statelessDesc, counter, float64(count), outcome)
	}
	send(buildDesc, gauge, 1, c.version, c.protocol, runtime.Version())
	for _, t := range f.Tenants {
		send(tenantConnectionsDesc, gauge, float64(t.Connections), t.Tenant)
		send(tenantDocumentsDesc, gauge, float64(t.Documents), t.Tenant)
	}
}

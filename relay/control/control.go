// Package control lets operators look at nodes and steer them, over the region's
// NATS: each node runs a service of the NATS service protocol (ADR-32), so that
// the stock NATS tools see the nodes too. Serve is the node's side, Client is
// that of wsctl. Every endpoint is one request with one answer; what is long goes
// in pages that the asker fetches, so that neither side holds all of it.
//
// The subjects tell reading from changing, and end in the node's id:
//
//	wsn.c.read.<verb>.<node>     info, sessions, documents, stat, export, recent, trace,
//	                             stores, stored, fetch, storelist, storeversions,
//	                             unstored
//	wsn.c.change.<verb>.<node>   kick, drain, save, storeput, storedelete, storeerase,
//	                             storeaccept, storename, move
//
// so that one permission rule lets people look and not touch.
package control

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// ServiceName is the name under which nodes are found: $SRV.PING.wsnode.
const ServiceName = "wsnode"

// Subject prefixes of the endpoints.
const (
	ReadPrefix   = "wsn.c.read"
	ChangePrefix = "wsn.c.change"
)

// The endpoints. Those after Trace change something.
const (
	InfoVerb      = "info"
	SessionsVerb  = "sessions"
	DocumentsVerb = "documents"
	StatVerb      = "stat"
	ExportVerb    = "export"
	RecentVerb    = "recent"
	TraceVerb     = "trace"
	KickVerb      = "kick"
	DrainVerb     = "drain"
)

// Subject is where a node takes requests of a verb.
func Subject(verb string, node docid.NodeID) string {
	prefix := ReadPrefix
	switch verb {
	case KickVerb, DrainVerb, SaveVerb, StorePutVerb, StoreDelVerb, StoreDropVerb, EraseVerb, AcceptVerb, StoreNameVerb, MoveVerb:
		prefix = ChangePrefix
	}
	return prefix + "." + verb + "." + string(node)
}

// Error is a node's refusal. Code is that of the HTTP status that means the same.
type Error struct {
	Code        int
	Description string
}

func (e *Error) Error() string { return e.Description }

// Codes of Error.
const (
	CodeWrong       = 400 // the request makes no sense
	CodeNotFound    = 404 // not on this node, or not in the store
	CodeConflict    = 409 // it is live, or there already
	CodeGone        = 410 // deleted
	CodeFailed      = 500
	CodeUnavailable = 503 // try again
)

func refuse(code int, format string, args ...any) error {
	return &Error{code, fmt.Sprintf(format, args...)}
}

// NotFound is what a Node returns for what it does not have.
func NotFound(format string, args ...any) error { return refuse(CodeNotFound, format, args...) }

// Wrong is what a Node returns for a request that makes no sense.
func Wrong(format string, args ...any) error { return refuse(CodeWrong, format, args...) }

// Document names a document in requests and answers.
type Document struct {
	License docid.LicenseRegion `json:"license"`
	Tenant  docid.Tenant        `json:"tenant"`
	App     docid.App           `json:"app"`
	Name    string              `json:"name"`
}

// NewDocument returns the document as it is sent.
func NewDocument(d docid.Document) Document { return Document(d) }

// Docname returns the document as the rest of the product knows it.
func (d Document) Docname() docid.Document { return docid.Document(d) }

// String spells the document as docid does.
func (d Document) String() string { return docid.Document(d).String() }

// A node's state, as operators see it.
const (
	StateReady      = "ready"
	StateDraining   = "draining"   // takes no new clients
	StateOverloaded = "overloaded" // takes no new clients for now
	StateDegraded   = "degraded"   // a registry or a store does not answer, or the node does not belong together with others of its region
)

// Info describes a node.
type Info struct {
	Node        docid.NodeID `json:"node"`
	Region      docid.Region `json:"region"`
	Version     string       `json:"version"`
	State       string       `json:"state"`
	Started     time.Time    `json:"started"`
	Connections int          `json:"connections"`
	Documents   int          `json:"documents"`
	MemoryBytes int64        `json:"memoryBytes"`
	Goroutines  int          `json:"goroutines"`
	Load        float64      `json:"loadRatio"` // share of what the node may carry that is in use; 0 if nothing is configured
	Traffic     Traffic      `json:"traffic"`
	Registries  []Lease      `json:"registries"`
}

// LeaseLoad is what a node says about itself in its leases, for wsctl in other
// regions.
type LeaseLoad struct {
	Version     string  `json:"version"`
	Connections int     `json:"connections"`
	Documents   int     `json:"documents"`
	Load        float64 `json:"load"`
}

// Traffic counts since the node's start.
type Traffic struct {
	EditsIn   int64 `json:"editsIn"`   // updates from clients that brought something new
	FramesIn  int64 `json:"framesIn"`  // from clients
	FramesOut int64 `json:"framesOut"` // to clients
	BytesIn   int64 `json:"bytesIn"`
	BytesOut  int64 `json:"bytesOut"`
	Refused   int64 `json:"refused"` // handshakes, redirects not counted
}

// Lease is a node's lease in one registry.
type Lease struct {
	License docid.LicenseRegion `json:"license"`
	Current bool                `json:"current"` // the registry has answered lately
	ID      string              `json:"id,omitempty"`
	Until   time.Time           `json:"until,omitzero"`
	Held    int                 `json:"held"` // documents whose pins name this node
	Owed    int                 `json:"owed"` // registry writes that are to be repeated
}

// Filter selects sessions or documents; empty fields stand for any.
type Filter struct {
	License  docid.LicenseRegion `json:"license,omitempty"`
	Tenant   docid.Tenant        `json:"tenant,omitempty"`
	App      docid.App           `json:"app,omitempty"`
	Document string              `json:"document,omitempty"` // the exact name
	Remote   string              `json:"remote,omitempty"`   // the client's IP address
	Sessions []uint64            `json:"sessions,omitempty"`
}

// TakesDocument reports whether the filter takes a document.
func (f *Filter) TakesDocument(d docid.Document) bool {
	return (f.License == "" || f.License == d.License) && (f.Tenant == "" || f.Tenant == d.Tenant) &&
		(f.App == "" || f.App == d.App) && (f.Document == "" || f.Document == d.Name)
}

// Takes reports whether the filter takes a session.
func (f *Filter) Takes(s Session) bool {
	if !f.TakesDocument(s.Document.Docname()) || len(f.Sessions) > 0 && !slices.Contains(f.Sessions, s.ID) {
		return false
	}
	if f.Remote == "" || f.Remote == s.Remote {
		return true
	}
	host, _, err := net.SplitHostPort(s.Remote)
	return err == nil && host == f.Remote
}

// Empty reports whether the filter takes everything.
func (f *Filter) Empty() bool {
	return f.License == "" && f.Tenant == "" && f.App == "" && f.Document == "" && f.Remote == "" && len(f.Sessions) == 0
}

// PageRequest asks for rows that come after those seen: After is Page.Next of the
// page before, 0 at first.
type PageRequest struct {
	Filter Filter `json:"filter"`
	After  uint64 `json:"after,omitempty"`
	Limit  int    `json:"limit,omitempty"` // rows at most; 0: as many as an answer holds
	// Busiest asks for the documents with the most edits per second instead, that
	// many at most, on one page.
	Busiest int `json:"busiest,omitempty"`
}

// Page is a part of a listing. A page may hold no rows and still not be the last.
type Page[T any] struct {
	Rows []T    `json:"rows"`
	Next uint64 `json:"next"`
	More bool   `json:"more"`
}

// Session is a client's connection. ID is unique on its node, also over restarts,
// and grows with time.
type Session struct {
	ID        uint64    `json:"id"`
	Document  Document  `json:"document"`
	Remote    string    `json:"remote"`
	UserAgent string    `json:"userAgent"`
	ReadOnly  bool      `json:"readOnly,omitempty"`
	Since     time.Time `json:"since"`
	FramesIn  int64     `json:"framesIn"`
	FramesOut int64     `json:"framesOut"`
	BytesIn   int64     `json:"bytesIn"`
	BytesOut  int64     `json:"bytesOut"`
	Queued    int       `json:"queuedBytes"` // what waits for a slow client
	RTT       float64   `json:"rttMs"`       // of the TCP connection, as the kernel has it; 0: unknown
}

// SessionID spells a session's id for people.
func SessionID(id uint64) string { return strconv.FormatUint(id, 36) }

// ParseSessionID is the inverse of SessionID.
func ParseSessionID(s string) (uint64, error) { return strconv.ParseUint(s, 36, 64) }

// DocumentRow is a document that is live on a node.
type DocumentRow struct {
	ID        uint64   `json:"id"`
	Document  Document `json:"document"`
	Epoch     string   `json:"epoch"`
	Sessions  int      `json:"sessions"` // on this node
	Clients   int      `json:"clients"`  // awareness clients, from all nodes
	Peers     int      `json:"peers"`    // other nodes of the region that have it
	Edits     int64    `json:"edits"`    // from clients of this node, since the document was opened here
	Rate      float64  `json:"editsPerSecond"`
	Bytes     int      `json:"bytes"` // encoded
	Structs   int      `json:"structs"`
	Writers   int      `json:"writers"`         // Yjs client ids that the document holds
	Pending   int      `json:"pending"`         // structs that wait for others
	Messages  int      `json:"historyMessages"` // behind the last snapshot
	Unacked   int      `json:"unackedBytes"`    // not yet durable
	UnsavedMS float64  `json:"unsavedMs"`       // the age of the oldest edit that is not; 0: all are
	LoadState string   `json:"loadState"`       // open, opening, moving or closing
}

// DocumentStat is what one node knows of one document.
type DocumentStat struct {
	DocumentRow
	Node        docid.NodeID `json:"node"`
	StateVector []Clock      `json:"stateVector"`
	DurableMS   float64      `json:"durableMs"` // how long the last append took to be acknowledged; 0: none yet
	History     HistoryStat  `json:"history"`
	Kept        *Kept        `json:"kept,omitempty"` // nil: no store keeps it
}

// Clock is one entry of a state vector.
type Clock struct {
	Client uint64 `json:"client"`
	Clock  uint64 `json:"clock"`
}

// HistoryStat is what the stream holds of a document.
type HistoryStat struct {
	Subject  string  `json:"subject"`
	Messages int     `json:"messages"`
	Bytes    int     `json:"bytes"`
	Last     uint64  `json:"lastSequence"`
	ReadMS   float64 `json:"readMs"` // how long reading it took
}

// Refusal is a client that was turned away, for the same reason from the same
// address to the same document once or more often.
type Refusal struct {
	Seq       uint64    `json:"seq"` // grows with each time
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	Count     int       `json:"count"`
	Code      int       `json:"code"`   // WebSocket close code or HTTP status
	Reason    string    `json:"reason"` // what the client was told
	Detail    string    `json:"detail"` // what it was not
	Document  Document  `json:"document"`
	Remote    string    `json:"remote"`
	UserAgent string    `json:"userAgent"`
	Origin    string    `json:"origin,omitempty"`
	Request   string    `json:"request"` // connect or discovery
}

// Ended is a session that ended lately.
type Ended struct {
	Seq     uint64    `json:"seq"`
	At      time.Time `json:"at"`
	Session Session   `json:"session"`
	Code    int       `json:"code"`
	Reason  string    `json:"reason"`
	ByNode  bool      `json:"byNode"` // the node closed it, not the client
}

// RecentRequest asks for what happened after those sequences.
type RecentRequest struct {
	AfterRefusal uint64 `json:"afterRefusal,omitempty"`
	AfterEnded   uint64 `json:"afterEnded,omitempty"`
}

// Recent is what a node remembers of clients that are not there: the oldest is
// forgotten first.
type Recent struct {
	Refusals Page[Refusal] `json:"refusals"`
	Ended    Page[Ended]   `json:"ended"`
}

// KickRequest ends the sessions that the filter selects. An empty filter is
// refused.
type KickRequest struct {
	Filter Filter `json:"filter"`
	Code   int    `json:"code"`
	Reason string `json:"reason"`
	DryRun bool   `json:"dryRun,omitempty"`
}

// KickAnswer says how many sessions were, or would be, ended.
type KickAnswer struct {
	Sessions int `json:"sessions"`
}

// DrainRequest takes a node out of service: at once it turns unhealthy, after the
// delay it takes no new clients and ends the sessions over the spread.
type DrainRequest struct {
	DelayMS  int64 `json:"delayMs"`
	SpreadMS int64 `json:"spreadMs"`
}

// TraceRequest asks what would happen to a client that connects now.
type TraceRequest struct {
	Document Document `json:"document"`
	Name     string   `json:"name,omitempty"`   // with Token: the document, in its app
	Token    string   `json:"token,omitempty"`  // empty: take the document as granted
	Origin   string   `json:"origin,omitempty"` // of the page
}

// Trace is the answer: the steps of the connect path as far as they go.
type Trace struct {
	Node     docid.NodeID `json:"node"`
	Region   docid.Region `json:"region"`
	Document Document     `json:"document"`
	Steps    []Step       `json:"steps"`
	Code     int          `json:"code"`   // the close code that the client would see; 0: it is admitted
	Reason   string       `json:"reason"` // with it
}

// Step is one step of a trace.
type Step struct {
	Name   string  `json:"name"`
	OK     bool    `json:"ok"`
	Detail string  `json:"detail"`
	MS     float64 `json:"ms"`
}

// StatRequest and ExportRequest name a document.
type StatRequest struct {
	Document Document `json:"document"`
}

// ExportRequest asks for a part of a document's state. The first request names
// the document, the others the export that the first answer named.
type ExportRequest struct {
	Document Document `json:"document,omitzero"`
	Export   uint64   `json:"export,omitempty"`
	Offset   int      `json:"offset,omitempty"`
	Version  string   `json:"version,omitempty"` // a former body of a store; empty: the present one
}

// Export is a part of a document's state as one Yjs update.
type Export struct {
	Export uint64 `json:"export"`
	Size   int    `json:"size"` // of the whole
	Data   []byte `json:"data"`
}

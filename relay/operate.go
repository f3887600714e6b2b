package relay

import (
	"cmp"
	"context"
	"encoding/json"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/live"
	"github.com/wsnode/wsnode/relay/room"
	"github.com/wsnode/wsnode/relay/roster"
	"github.com/wsnode/wsnode/relay/session"
	"github.com/wsnode/wsnode/relay/ystore"
)

// A Node is what operators look at and steer.
var _ control.Node = (*Node)(nil)

// admitted is the outcome of a handshake that became a session.
const admitted = "admitted"

// Info describes the node as it is now.
func (n *Node) Info() control.Info {
	i := control.Info{
		Node: string(n.cfg.Node), Region: string(n.cfg.Region), Version: n.cfg.Version, State: n.state(), Started: n.started,
		Connections: n.sessions.Len(), Documents: n.docs.Len(), Load: n.gate.gauge.Load(), MemoryBytes: memory(), Goroutines: runtime.NumGoroutine(),
		Traffic: n.traffic.sum(n),
	}
	for _, license := range n.cfg.Registry.LicenseRegions() {
		stats := n.cfg.Registry.Stats(license)
		l := control.Lease{License: license, Current: stats.Reachable, Held: stats.Held, Owed: stats.Owed}
		if id, until, ok := n.cfg.Registry.Lease(license); ok {
			l.ID, l.Until = string(id), until
		}
		i.Registries = append(i.Registries, l)
	}
	return i
}

// Draining reports whether the node is on its way out.
func (n *Node) Draining() bool { return n.unready.Load() }

// leaseLoad is what the node says about itself in its leases.
func (n *Node) leaseLoad() json.RawMessage {
	load, _ := json.Marshal(control.LeaseLoad{ // cannot fail
		Version: n.cfg.Version, Connections: n.sessions.Len(), Documents: n.docs.Len(), Load: n.gate.gauge.Load(),
	})
	return load
}

func (n *Node) state() string {
	if n.unready.Load() {
		return control.StateDraining
	}
	if n.gate.gauge.Overloaded() {
		return control.StateOverloaded
	}
	if n.Apart() != nil || n.cfg.stores.down() {
		return control.StateDegraded
	}
	for _, license := range n.cfg.Registry.LicenseRegions() {
		if !n.cfg.Registry.Reachable(license) {
			return control.StateDegraded
		}
	}
	return control.StateReady
}

// memory is what the process has taken from the system and not given back.
func memory() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}

// traffic adds up what sessions did that have ended.
type traffic struct {
	mu    sync.Mutex
	ended control.Traffic
}

func addTraffic(t *control.Traffic, s *session.Session) {
	framesIn, framesOut, bytesIn, bytesOut := s.Traffic()
	t.FramesIn += framesIn
	t.FramesOut += framesOut
	t.BytesIn += bytesIn
	t.BytesOut += bytesOut
}

// leave takes a client off the roster and keeps its share, both at once, so that
// no sum goes down.
func (t *traffic) leave(n *Node, s *seated) {
	t.mu.Lock()
	defer t.mu.Unlock()
	addTraffic(&t.ended, s.session)
	n.sessions.Remove(s.id)
}

// sum adds up the sessions that are there and those that were.
func (t *traffic) sum(n *Node) control.Traffic {
	t.mu.Lock()
	sum := t.ended
	for _, v := range n.sessions.All() {
		addTraffic(&sum, v.session)
	}
	t.mu.Unlock()
	sum.EditsIn = n.rooms.Counters.EditsIn.Load()
	for outcome, count := range n.recent.counts() {
		if outcome != admitted && outcome != redirected {
			sum.Refused += count
		}
	}
	return sum
}

// scan is how many entries one page looks at, at most: a filter that selects
// little must not hold the node up.
const scan = 20_000

// listing is what can be paged through: a roster, or what holds one.
type listing[T any] interface {
	After(id uint64, n int) (found []roster.Entry[T], more bool)
}

// page lists entries of a listing that pick turns into rows.
func page[T, R any](list listing[T], after uint64, limit int, pick func(id uint64, v T) (R, bool)) control.Page[R] {
	p := control.Page[R]{Next: after}
	for looked := 0; looked < scan; {
		found, more := list.After(p.Next, limit)
		for _, e := range found {
			p.Next = e.ID
			if row, ok := pick(e.ID, e.Value); ok {
				if p.Rows = append(p.Rows, row); len(p.Rows) == limit {
					p.More = more || e.ID != found[len(found)-1].ID
					return p
				}
			}
		}
		if p.More = more; !more {
			return p
		}
		looked += len(found)
	}
	return p
}

// Sessions lists the sessions that the filter selects, oldest first.
func (n *Node) Sessions(f *control.Filter, after uint64, limit int) control.Page[control.Session] {
	return page[*seated](&n.sessions, after, limit, func(id uint64, s *seated) (row control.Session, ok bool) {
		if !s.selected(id, f) {
			return row, false
		}
		return s.row(id, s.session.Stats()), true
	})
}

func (s *seated) selected(id uint64, f *control.Filter) bool {
	return f.Takes(control.Session{ID: id, Document: control.NewDocument(s.doc), Remote: s.remote})
}

func (s *seated) row(id uint64, stats conn.Stats) control.Session {
	return control.Session{
		ID: id, Document: control.NewDocument(s.doc), Remote: s.remote, UserAgent: clip(s.userAgent), ReadOnly: s.readOnly,
		Since: stats.Since, FramesIn: stats.FramesIn, FramesOut: stats.FramesOut, BytesIn: stats.BytesIn, BytesOut: stats.BytesOut,
		Queued: stats.Queued, RTT: milliseconds(stats.RoundTrip),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Documents lists the documents that are live here and that the filter selects,
// in the order in which they were opened.
func (n *Node) Documents(f *control.Filter, after uint64, limit int) control.Page[control.DocumentRow] {
	return page[*live.Document](n.docs, after, limit, func(id uint64, d *live.Document) (row control.DocumentRow, ok bool) {
		if !f.TakesDocument(d.Name()) {
			return row, false
		}
		if !d.IsOpen() {
			return control.DocumentRow{ID: id, Document: control.NewDocument(d.Name()), LoadState: "opening"}, true
		}
		return n.documentRow(d, d.Room().Brief()), true
	})
}

// Busiest lists the open documents with the most edits per second, at most n.
func (n *Node) Busiest(f *control.Filter, most int) []control.DocumentRow {
	var rows []control.DocumentRow
	for _, d := range n.docs.All() {
		if !d.IsOpen() || !f.TakesDocument(d.Name()) {
			continue
		}
		rate, sessions := d.Room().Activity()
		at, _ := slices.BinarySearchFunc(rows, d, func(row control.DocumentRow, _ *live.Document) int {
			return cmp.Or(cmp.Compare(rate, row.Rate), cmp.Compare(sessions, row.Sessions))
		})
		if at == most {
			continue
		}
		rows = slices.Insert(rows, at, n.documentRow(d, d.Room().Brief()))
		rows = rows[:min(len(rows), most)]
	}
	return rows
}

// documentRow describes a document that is open.
func (n *Node) documentRow(d *live.Document, s room.Stat) control.DocumentRow {
	row := control.DocumentRow{
		Document: control.NewDocument(d.Name()), Epoch: s.Epoch, Sessions: s.Sessions, Clients: s.Clients, Peers: s.Peers, Edits: s.Edits, Rate: s.Rate,
		Bytes: s.Store.Bytes, Structs: s.Store.Structs, Writers: s.Store.Clients, Pending: s.Store.Pending,
		Messages: s.Messages, Unacked: s.UnackedBytes, UnsavedMS: milliseconds(s.Unsaved), LoadState: "open",
	}
	var closing bool
	if row.ID, closing = n.docs.Entry(d); closing {
		row.LoadState = "closing"
	}
	return row
}

// Stat describes a document that is open here, and reads its history to say what
// the stream holds.
func (n *Node) Stat(ctx context.Context, doc control.Document) (control.DocumentStat, error) {
	d := n.docs.Get(doc.Docname())
	if d == nil {
		return control.DocumentStat{}, control.NotFound("%s is not open here", doc)
	}
	s := d.Room().Stat()
	stat := control.DocumentStat{
		DocumentRow: n.documentRow(d, s), Node: string(n.cfg.Node), StateVector: clocks(s.StateVector), DurableMS: milliseconds(s.Durable),
		Kept: n.kept(d),
	}
	var err error
	stat.History, err = n.historyStat(ctx, doc.Docname(), s.Epoch)
	return stat, err
}

// historyStat reads what the stream holds of an epoch of a document.
func (n *Node) historyStat(ctx context.Context, doc docid.Document, epoch string) (h control.HistoryStat, err error) {
	h.Subject = doc.UpdatesSubject(n.cfg.lives().Shard(doc.PinKey()), epoch)
	start := time.Now()
	h.Last, err = n.cfg.lives().LoadFrom(ctx, h.Subject, 1, func(_ uint64, data []byte) error {
		h.Messages++
		h.Bytes += len(data)
		return nil
	})
	h.ReadMS = milliseconds(time.Since(start))
	return h, err
}

// clocks takes a state vector apart.
func clocks(stateVector []byte) (clocks []control.Clock) {
	of, _ := ystore.ReadProgress(stateVector) // what a room never makes shows as empty
	for client, clock := range of.All() {
		clocks = append(clocks, control.Clock{Client: client, Clock: clock})
	}
	return clocks
}

// Export returns the whole document as one Yjs update, which must not be changed.
func (n *Node) Export(doc control.Document) ([]byte, error) {
	d := n.docs.Get(doc.Docname())
	if d == nil {
		return nil, control.NotFound("%s is not open here", doc)
	}
	return d.Room().Export(), nil
}

// Recent returns whom the node turned away, and which sessions ended.
func (n *Node) Recent(r control.RecentRequest) control.Recent { return n.recent.since(r) }

// Kick ends the sessions that the filter selects.
func (n *Node) Kick(r control.KickRequest) (answer control.KickAnswer, err error) {
	switch {
	case r.Filter.Empty():
		return answer, control.Wrong("expected a filter: a drain ends all sessions")
	case !closecode.Sendable(r.Code):
		return answer, control.Wrong("code %d: expected 1012, 1013 or 4000 to 4999", r.Code)
	case len(r.Reason) > conn.MaxReason:
		return answer, control.Wrong("reason: expected at most %d bytes", conn.MaxReason)
	}
	for after, more := uint64(0), true; more; {
		var found []roster.Entry[*seated]
		found, more = n.sessions.After(after, scan)
		for _, e := range found {
			if after = e.ID; !e.Value.selected(e.ID, &r.Filter) {
				continue
			}
			if answer.Sessions++; !r.DryRun {
				e.Value.session.Close(r.Code, r.Reason)
			}
		}
	}
	return answer, nil
}

// StartDrain begins to drain and does not wait for it. What is left when the node
// ends is left to Close.
func (n *Node) StartDrain(delay, spread time.Duration) {
	n.unready.Store(true) // already in the answer to whoever asks next
	n.done.Go(func() {
		if err := n.Drain(n.ctx, delay, spread); err != nil && n.ctx.Err() == nil {
			n.log.Warn("drained, but not cleanly", "err", err)
		}
	})
}

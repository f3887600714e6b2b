package relay

import (
	"cmp"
	"context"
	"log/slog"
	"runtime"
	"runtime/metrics"
	"slices"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/live"
	"github.com/wsnode/wsnode/relay/room"
	"github.com/wsnode/wsnode/relay/roster"
	"github.com/wsnode/wsnode/relay/ystore"
)

// operator answers what operators ask of a node, and does what they want: control.Node. It
// keeps nothing: an answer is what there is at its moment, and no page holds a lock longer
// than its rows take. What it ends or changes goes the way of the node's own.
type operator struct {
	storeOperator
	log     *slog.Logger
	started time.Time
	health  *health
	rooms   *room.Rooms
	gate    *gate
	homes   *homes
	clients *clients
	recent  *recent
	drain   func(ctx context.Context, delay, spread time.Duration) error // Node.Drain
}

var _ control.Node = (*operator)(nil)

// Operators is what operators look at and steer a node by: control.Serve answers with it.
func (n *Node) Operators() control.Node { return n.operator }

// admitted is the outcome of a handshake that became a session.
const admitted = "admitted"

// Info describes the node as it is now.
func (o *operator) Info() control.Info {
	i := control.Info{
		Node: o.cfg.Node, Region: o.cfg.Region, Version: o.cfg.Version, State: o.health.state(), Started: o.started,
		Connections: o.clients.len(), Documents: o.docs.Len(), Load: o.gate.gauge.Load(), MemoryBytes: memory(), Goroutines: runtime.NumGoroutine(),
		Traffic: o.traffic(),
	}
	for _, license := range o.cfg.Registry.LicenseRegions() {
		stats := o.cfg.Registry.Stats(license)
		l := control.Lease{License: license, Current: stats.Reachable, Held: stats.Held, Owed: stats.Owed}
		if id, until, ok := o.cfg.Registry.Lease(license); ok {
			l.ID, l.Until = string(id), until
		}
		i.Registries = append(i.Registries, l)
	}
	return i
}

// memory is what the process has taken from the system and not given back.
func memory() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
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

// traffic is what all clients did since the node started.
func (o *operator) traffic() control.Traffic {
	sum := o.clients.traffic()
	sum.EditsIn = o.rooms.Counters.EditsIn.Load()
	for outcome, count := range o.recent.counts() {
		if outcome != admitted && outcome != redirected {
			sum.Refused += count
		}
	}
	return sum
}

// Sessions lists the sessions that the filter selects, oldest first.
func (o *operator) Sessions(f *control.Filter, after uint64, limit int) control.Page[control.Session] {
	return page[*seated](o.clients, after, limit, func(id uint64, s *seated) (row control.Session, ok bool) {
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
func (o *operator) Documents(f *control.Filter, after uint64, limit int) control.Page[control.DocumentRow] {
	return page[*live.Document](o.docs, after, limit, func(id uint64, d *live.Document) (row control.DocumentRow, ok bool) {
		if !f.TakesDocument(d.Name()) {
			return row, false
		}
		if !d.IsOpen() {
			return control.DocumentRow{ID: id, Document: control.NewDocument(d.Name()), LoadState: "opening"}, true
		}
		return o.documentRow(d, d.Room().Brief()), true
	})
}

// Busiest lists the open documents with the most edits per second, at most n.
func (o *operator) Busiest(f *control.Filter, most int) []control.DocumentRow {
	var rows []control.DocumentRow
	for _, d := range o.docs.All() {
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
		rows = slices.Insert(rows, at, o.documentRow(d, d.Room().Brief()))
		rows = rows[:min(len(rows), most)]
	}
	return rows
}

// documentRow describes a document that is open.
func (o *operator) documentRow(d *live.Document, s room.Stat) control.DocumentRow {
	row := control.DocumentRow{
		Document: control.NewDocument(d.Name()), Epoch: s.Epoch, Sessions: s.Sessions, Clients: s.Clients, Peers: s.Peers, Edits: s.Edits, Rate: s.Rate,
		Bytes: s.Store.Bytes, Structs: s.Store.Structs, Writers: s.Store.Clients, Pending: s.Store.Pending,
		Messages: s.Messages, Unacked: s.UnackedBytes, UnsavedMS: milliseconds(s.Unsaved), LoadState: "open",
	}
	if s.Stopped {
		row.LoadState = "moving"
	}
	var closing bool
	if row.ID, closing = o.docs.Entry(d); closing {
		row.LoadState = "closing"
	}
	return row
}

// Stat describes a document that is open here, and reads its history to say what
// the stream holds.
func (o *operator) Stat(ctx context.Context, doc control.Document) (control.DocumentStat, error) {
	d := o.docs.Get(doc.Docname())
	if d == nil {
		return control.DocumentStat{}, control.NotFound("%s is not open here", doc)
	}
	s := d.Room().Stat()
	stat := control.DocumentStat{
		DocumentRow: o.documentRow(d, s), Node: o.cfg.Node, StateVector: clocks(s.StateVector), DurableMS: milliseconds(s.Durable),
		Kept: o.kept(d),
	}
	var err error
	stat.History, err = o.historyStat(ctx, doc.Docname(), s.Epoch)
	return stat, err
}

// historyStat reads what the stream holds of an epoch of a document.
func (o *operator) historyStat(ctx context.Context, doc docid.Document, epoch string) (h control.HistoryStat, err error) {
	h.Subject = doc.UpdatesSubject(o.cfg.lives().Shard(doc.PinKey()), epoch)
	start := time.Now()
	h.Last, err = o.cfg.lives().LoadFrom(ctx, h.Subject, 1, func(_ uint64, data []byte) error {
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
func (o *operator) Export(doc control.Document) ([]byte, error) {
	d := o.docs.Get(doc.Docname())
	if d == nil {
		return nil, control.NotFound("%s is not open here", doc)
	}
	return d.Room().Export(), nil
}

// Recent returns whom the node turned away, and which sessions ended.
func (o *operator) Recent(r control.RecentRequest) control.Recent { return o.recent.since(r) }

// Kick ends the sessions that the filter selects.
func (o *operator) Kick(r control.KickRequest) (answer control.KickAnswer, err error) {
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
		found, more = o.clients.After(after, scan)
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
func (o *operator) StartDrain(delay, spread time.Duration) {
	o.life.turnUnready() // already in the answer to whoever asks next
	o.life.spawn(func() {
		if err := o.drain(o.life.ctx, delay, spread); err != nil && o.life.ctx.Err() == nil {
			o.log.Warn("drained, but not cleanly", "err", err)
		}
	})
}

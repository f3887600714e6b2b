package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/devcluster"
)

// devEvents tells the playground what happens. It looks ten times a second, and
// only while somebody listens.
type devEvents struct {
	dev *dev

	mu        sync.Mutex
	closed    bool
	readers   map[chan []byte]struct{}
	stop      context.CancelFunc // ends the goroutine that looks; nil: there is none
	done      sync.WaitGroup
	state     []byte                      // the last state event
	leaving   map[docid.Document]*leaving // documents that nobody holds, as far as one can see
	before    map[docid.Document]devDocument
	nodes     map[string]string // states by node, as told
	cuts      map[string]string // registries by region, as told
	histories map[string]string // whether they take edits, by region, as told
	store     string            // works or fails, as told; empty: nobody was told
	resumed   bool              // nobody has looked for a while: what is found now is no news
}

// leaving is a document in its grace period.
type leaving struct {
	region string
	since  time.Time
}

// devDocument is a pinned document as the page draws it.
type devDocument struct {
	docid.Document `json:"-"`
	Tenant         docid.Tenant        `json:"tenant"`
	App            docid.App           `json:"app"`
	License        docid.LicenseRegion `json:"license"`
	Name           string              `json:"name"`
	Region         string              `json:"region"`
	GraceMs        *int64              `json:"graceMs"`
	Nodes          []devPresence       `json:"nodes"`
}

type devPresence struct {
	Node     string   `json:"node"`
	Sessions int      `json:"sessions"`
	Clients  []uint64 `json:"clients"`
}

const (
	lookEvery    = 100 * time.Millisecond
	commentEvery = 15 * time.Second
	mostListed   = 200
)

func newDevEvents(d *dev) *devEvents {
	return &devEvents{
		dev: d, readers: map[chan []byte]struct{}{}, leaving: map[docid.Document]*leaving{},
		nodes: map[string]string{}, cuts: map[string]string{}, histories: map[string]string{},
	}
}

// serve streams the events to one reader. One that does not keep up is
// disconnected and comes back by itself.
func (e *devEvents) serve(w http.ResponseWriter, r *http.Request) {
	events := e.join()
	if events == nil {
		writeProblem(w, http.StatusServiceUnavailable, "unavailable", "The process ends")
		return
	}
	defer e.leave(events)
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	_ = flush.SetReadDeadline(time.Time{}) // a request may take so long only; this one has been read
	comment := time.NewTicker(commentEvery)
	defer comment.Stop()
	for {
		var event []byte
		ok := true
		select {
		case event, ok = <-events:
		case <-comment.C:
			event = []byte(":\n\n")
		case <-r.Context().Done():
			return
		}
		if !ok {
			return
		}
		if _, err := w.Write(event); err != nil || flush.Flush() != nil {
			return
		}
	}
}

func (e *devEvents) join() chan []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	events := make(chan []byte, 256)
	e.readers[events] = struct{}{}
	if e.stop == nil {
		var ctx context.Context
		ctx, e.stop = context.WithCancel(context.Background())
		e.resume(time.Now())
		e.done.Go(func() { e.look(ctx) })
	} else if e.state != nil {
		events <- e.state
	}
	return events
}

// resume forgets what was told before the last reader left. Documents that were
// pinned then may still be: the registry is asked at the first look.
func (e *devEvents) resume(now time.Time) {
	for d, before := range e.before {
		e.leaving[d] = &leaving{region: before.Region, since: now}
	}
	e.state, e.before = nil, nil
	e.nodes, e.cuts, e.histories, e.store = map[string]string{}, map[string]string{}, map[string]string{}, ""
	e.resumed = true
}

func (e *devEvents) leave(events chan []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.readers, events)
	if len(e.readers) == 0 && e.stop != nil {
		e.stop()
		e.stop = nil
	}
}

// close ends all streams.
func (e *devEvents) close() {
	e.mu.Lock()
	e.closed = true
	for events := range e.readers {
		close(events)
	}
	e.readers = map[chan []byte]struct{}{}
	if e.stop != nil {
		e.stop()
		e.stop = nil
	}
	e.mu.Unlock()
	e.done.Wait()
}

// look compares the state with what was told, until ctx ends.
func (e *devEvents) look(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		e.once(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (e *devEvents) once(ctx context.Context) {
	now := time.Now()
	topology, present := e.dev.topology(), e.present()
	expired := e.expired(ctx, present, now)

	e.mu.Lock()
	defer e.mu.Unlock()
	e.compare(present, expired, now)
	e.steered(topology)
	e.resumed = false
	state, err := json.Marshal(struct {
		Store     string           `json:"store"`
		Regions   []topologyRegion `json:"regions"`
		Documents []devDocument    `json:"documents"`
	}{topology.Store, topology.Regions, e.listed(present, now)})
	if err != nil {
		return
	}
	event := fmt.Appendf(nil, "event: state\ndata: %s\n\n", state)
	if !bytes.Equal(event, e.state) {
		e.state = event
		e.tell(event)
	}
}

// present collects who is where, on all nodes that run.
func (e *devEvents) present() map[docid.Document]devDocument {
	documents := map[docid.Document]devDocument{}
	for _, n := range e.dev.nodes() {
		node := n.Current()
		if node == nil {
			continue
		}
		for _, p := range node.Presence() {
			d, ok := documents[p.Document]
			if !ok {
				d = describeDocument(p.Document, string(n.Region.Name))
			}
			if last := len(d.Nodes) - 1; last < 0 || d.Nodes[last].Node != string(n.ID) {
				d.Nodes = append(d.Nodes, devPresence{Node: string(n.ID), Clients: []uint64{}})
			}
			at := &d.Nodes[len(d.Nodes)-1]
			at.Sessions++
			if p.Client != 0 {
				at.Clients = append(at.Clients, p.Client)
			}
			documents[p.Document] = d
		}
	}
	return documents
}

func describeDocument(d docid.Document, region string) devDocument {
	return devDocument{Document: d, Tenant: d.Tenant, App: d.App, License: d.License, Name: d.Name, Region: region, Nodes: []devPresence{}}
}

// expired asks the registry about documents whose grace period should be over.
func (e *devEvents) expired(ctx context.Context, present map[docid.Document]devDocument, now time.Time) map[docid.Document]bool {
	e.mu.Lock()
	var due []docid.Document
	for d, l := range e.leaving {
		if _, back := present[d]; !back && (e.resumed || now.Sub(l.since) >= e.dev.flags.grace) {
			due = append(due, d)
		}
	}
	e.mu.Unlock()
	gone := map[docid.Document]bool{}
	for _, d := range due {
		for _, n := range e.dev.nodes() {
			node := n.Current()
			if node == nil || n.Region.IsCut() {
				continue
			}
			_, state, err := node.Lookup(ctx, d)
			gone[d] = err == nil && state == kvpin.Free
			break
		}
	}
	return gone
}

// compare tells what changed since the last look.
func (e *devEvents) compare(present map[docid.Document]devDocument, expired map[docid.Document]bool, now time.Time) {
	for d, document := range present {
		before, known := e.before[d]
		if l := e.leaving[d]; l != nil {
			known = true
			delete(e.leaving, d)
		}
		if e.resumed {
			continue
		}
		if !known {
			e.happened("pinned", d.Name, "region", document.Region)
		}
		e.comings(d.Name, before, document)
	}
	for d, before := range e.before {
		if _, still := present[d]; !still {
			e.leaving[d] = &leaving{region: before.Region, since: now}
			e.comings(d.Name, before, devDocument{})
		}
	}
	for d := range expired {
		if l := e.leaving[d]; l != nil && expired[d] {
			if !e.resumed {
				e.happened("unpinned", d.Name, "region", l.region)
			}
			delete(e.leaving, d)
		}
	}
	e.before = present
}

// comings tells of sessions that joined and left.
func (e *devEvents) comings(name string, before, after devDocument) {
	count := map[string]int{}
	for _, n := range after.Nodes {
		count[n.Node] += n.Sessions
	}
	for _, n := range before.Nodes {
		count[n.Node] -= n.Sessions
	}
	for node, n := range count {
		for ; n > 0; n-- {
			e.happened("joined", name, "node", node)
		}
		for ; n < 0; n++ {
			e.happened("left", name, "node", node)
		}
	}
}

// steered tells of nodes, registries, histories and stores whose state changed.
func (e *devEvents) steered(t topology) {
	if e.store != "" && e.store != t.Store {
		e.happened("store", "", "store", t.Store)
	}
	e.store = t.Store
	for _, r := range t.Regions {
		if was, known := e.cuts[r.Name]; known && was != r.Registry {
			e.happened("registry", "", "region", r.Name, "registry", r.Registry)
		}
		e.cuts[r.Name] = r.Registry
		if was, known := e.histories[r.Name]; known && was != r.History {
			e.happened("history", "", "region", r.Name, "history", r.History)
		}
		e.histories[r.Name] = r.History
		for _, n := range r.Nodes {
			if was, known := e.nodes[n.Name]; known && was != n.State {
				e.happened("node", "", "node", n.Name, "state", n.State)
			}
			e.nodes[n.Name] = n.State
		}
	}
}

// listed are the documents that are pinned, in order.
func (e *devEvents) listed(present map[docid.Document]devDocument, now time.Time) []devDocument {
	list := make([]devDocument, 0, len(present)+len(e.leaving))
	for _, d := range present {
		list = append(list, d)
	}
	for d, l := range e.leaving {
		document := describeDocument(d, l.region)
		left := max(0, (e.dev.flags.grace-now.Sub(l.since)).Milliseconds()/100*100)
		document.GraceMs = &left
		list = append(list, document)
	}
	slices.SortFunc(list, func(a, b devDocument) int { return strings.Compare(a.Document.String(), b.Document.String()) })
	return list[:min(len(list), mostListed)]
}

// refused is told by the nodes of every handshake that was turned away.
func (e *devEvents) refused(n *devcluster.Node, doc docid.Document, code int, reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if to, redirected := strings.CutPrefix(reason, "REDIRECT:"); redirected {
		for _, r := range e.dev.cluster.Regions {
			if to == r.URL || strings.HasPrefix(to, r.URL+"/") {
				e.happened("redirected", doc.Name, "node", string(n.ID), "to", string(r.Name))
			}
		}
		return
	}
	e.happened("refused", doc.Name, "node", string(n.ID), "code", code, "reason", reason)
}

// happened tells of one event. facts are names and values.
func (e *devEvents) happened(what, document string, facts ...any) {
	event := map[string]any{"at": time.Now().UnixMilli(), "what": what}
	if document != "" {
		event["document"] = document
	}
	for i := 0; i+1 < len(facts); i += 2 {
		event[facts[i].(string)] = facts[i+1]
	}
	if data, err := json.Marshal(event); err == nil {
		e.tell(fmt.Appendf(nil, "event: happened\ndata: %s\n\n", data))
	}
}

func (e *devEvents) tell(event []byte) {
	for events := range e.readers {
		select {
		case events <- event:
		default: // it does not keep up
			delete(e.readers, events)
			close(events)
		}
	}
}

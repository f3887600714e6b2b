package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/wsnode/wsnode/natsconn"
)

// Node is what a node offers its operators; relay.Node.Operators returns one. Its methods may
// be called concurrently. Errors other than *Error are failures.
type Node interface {
	Info() Info
	Sessions(f *Filter, after uint64, limit int) Page[Session]
	Documents(f *Filter, after uint64, limit int) Page[DocumentRow]
	Busiest(f *Filter, n int) []DocumentRow
	Stat(ctx context.Context, d Document) (DocumentStat, error)
	Export(d Document) ([]byte, error)
	Recent(RecentRequest) Recent
	Trace(ctx context.Context, r TraceRequest) Trace
	Kick(KickRequest) (KickAnswer, error)
	// StartDrain begins to drain and does not wait.
	StartDrain(delay, spread time.Duration)
	Stores
}

// maxRows bounds the rows of a page, and with them how long a listing holds the
// node's locks.
const maxRows = 1000

// maxBusiest bounds the rows of a listing of the busiest documents, which is one
// answer.
const maxBusiest = 100

// requestTimeout bounds the work for one request.
const requestTimeout = 10 * time.Second

// flushTimeout bounds the wait until NATS knows the endpoints.
const flushTimeout = 2 * time.Second

// Server answers operators for one node.
type Server struct {
	node    Node
	log     *slog.Logger
	exports exports
	uploads uploads
	slow    chan struct{} // a place for each request of stores

	mu      sync.Mutex
	nc      *nats.Conn
	service micro.Service

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	busy   sync.RWMutex // read-locked while a request is worked on
	closed bool
}

// Serve starts to answer on a connection, which must stay open until Close.
func Serve(nc *nats.Conn, node Node, log *slog.Logger) (*Server, error) {
	s := &Server{node: node, log: log, slow: make(chan struct{}, storeRequests)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.serve(nc); err != nil {
		s.cancel()
		return nil, err
	}
	_ = nc.FlushTimeout(flushTimeout) // if NATS is away, it hears of the endpoints when it is back
	return s, nil
}

// Move answers on a connection that takes the place of one that ended. It does not
// wait for NATS.
func (s *Server) Move(nc *nats.Conn) {
	s.mu.Lock()
	before := s.service
	s.mu.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	_ = before.Stop() // its connection is gone
	if err := s.serve(nc); err != nil {
		s.log.Error("operators are not answered", "err", err)
	}
}

func (s *Server) serve(nc *nats.Conn) error {
	info := s.node.Info()
	service, err := micro.AddService(nc, micro.Config{
		Name:               ServiceName,
		Version:            semver(info.Version),
		Description:        "A node of wsnode",
		Metadata:           map[string]string{"node": string(info.Node), "region": string(info.Region), "version": info.Version},
		QueueGroupDisabled: true,
	})
	if err != nil {
		return fmt.Errorf("serve operators: %w", err)
	}
	handlers := map[string]micro.Handler{}
	for verb, answer := range s.endpoints() {
		handlers[verb] = s.handler(verb, answer)
	}
	for verb, answer := range s.storeEndpoints() {
		handlers[verb] = s.slowHandler(nc, verb, answer)
	}
	for verb, handler := range handlers {
		subject := Subject(verb, info.Node)
		if err := service.AddEndpoint(verb, handler, micro.WithEndpointSubject(subject)); err != nil {
			_ = service.Stop()
			return fmt.Errorf("serve operators on %s: %w", subject, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nc, s.service = nc, service
	return nil
}

// Close stops answering and waits for the requests that are worked on.
func (s *Server) Close() {
	s.mu.Lock()
	service := s.service
	s.mu.Unlock()
	_ = service.Stop() // fails only if the connection is gone
	s.cancel()
	s.busy.Lock()
	defer s.busy.Unlock()
	s.closed = true
}

// endpoint answers one request.
type endpoint func(ctx context.Context, request []byte) (answer any, err error)

// with reads the request before f is called.
func with[R any](f func(ctx context.Context, request R) (any, error)) endpoint {
	return func(ctx context.Context, raw []byte) (any, error) {
		var request R
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &request); err != nil {
				return nil, refuse(CodeWrong, "request: %v", err)
			}
		}
		return f(ctx, request)
	}
}

func (s *Server) endpoints() map[string]endpoint {
	n := s.node
	return map[string]endpoint{
		InfoVerb: with(func(context.Context, struct{}) (any, error) { return n.Info(), nil }),
		SessionsVerb: with(func(_ context.Context, r PageRequest) (any, error) {
			page := n.Sessions(&r.Filter, r.After, clampRows(r.Limit))
			return fit(page, s.room(), func(row Session) uint64 { return row.ID })
		}),
		DocumentsVerb: with(func(_ context.Context, r PageRequest) (any, error) {
			if r.Busiest > 0 {
				return Page[DocumentRow]{Rows: n.Busiest(&r.Filter, min(r.Busiest, maxBusiest))}, nil
			}
			page := n.Documents(&r.Filter, r.After, clampRows(r.Limit))
			return fit(page, s.room(), func(row DocumentRow) uint64 { return row.ID })
		}),
		StatVerb:   with(func(ctx context.Context, r StatRequest) (any, error) { return n.Stat(ctx, r.Document) }),
		ExportVerb: with(s.export),
		RecentVerb: with(func(_ context.Context, r RecentRequest) (any, error) { return s.recent(n.Recent(r)) }),
		TraceVerb:  with(func(ctx context.Context, r TraceRequest) (any, error) { return n.Trace(ctx, r), nil }),
		KickVerb: with(func(_ context.Context, r KickRequest) (any, error) {
			answer, err := n.Kick(r)
			if err == nil && !r.DryRun {
				s.log.Warn("an operator ended sessions", "sessions", answer.Sessions, "filter", r.Filter, "code", r.Code, "reason", r.Reason)
			}
			return answer, err
		}),
		DrainVerb: with(func(_ context.Context, r DrainRequest) (any, error) {
			s.log.Warn("an operator drains the node", "delay_ms", r.DelayMS, "spread_ms", r.SpreadMS)
			n.StartDrain(time.Duration(r.DelayMS)*time.Millisecond, time.Duration(r.SpreadMS)*time.Millisecond)
			return struct{}{}, nil
		}),
	}
}

func clampRows(limit int) int {
	if limit <= 0 {
		return maxRows
	}
	return min(limit, maxRows)
}

// handler answers requests of one verb, one at a time. A request is one only with
// an inbox to answer to. JetStream publishes what it stores, and its own answers,
// wherever it is asked to, also by those who may not publish there; but never with
// an inbox for a reply. So who may publish to the subject asked this.
func (s *Server) handler(verb string, answer endpoint) micro.Handler {
	return micro.HandlerFunc(func(r micro.Request) {
		s.busy.RLock()
		defer s.busy.RUnlock()
		if s.closed || !natsconn.IsInbox(r.Reply()) {
			return
		}
		ctx, cancel := context.WithTimeout(s.ctx, requestTimeout)
		defer cancel()
		s.work(ctx, verb, r, answer)
	})
}

// slowHandler answers requests of one verb beside each other: each may wait for a
// store.
func (s *Server) slowHandler(nc *nats.Conn, verb string, answer endpoint) micro.Handler {
	return micro.HandlerFunc(func(r micro.Request) {
		s.busy.RLock()
		if s.closed || !natsconn.IsInbox(r.Reply()) {
			s.busy.RUnlock()
			return
		}
		go func() {
			defer s.busy.RUnlock()
			ctx, cancel := context.WithTimeout(s.ctx, storeRequestTimeout)
			defer cancel()
			select {
			case s.slow <- struct{}{}:
				defer func() { <-s.slow }()
			case <-ctx.Done():
			}
			s.work(ctx, verb, late{r, nc}, answer)
		}()
	})
}

// late is a request that is answered after its handler has returned. Answers by micro
// itself are for handlers: it then reads, without a lock, what came of them.
type late struct {
	micro.Request
	nc *nats.Conn
}

// RespondJSON implements micro.Request.
func (l late) RespondJSON(answer any, _ ...micro.RespondOpt) error {
	data, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	return l.nc.Publish(l.Reply(), data)
}

// Error implements micro.Request.
func (l late) Error(code, description string, data []byte, _ ...micro.RespondOpt) error {
	header := nats.Header{micro.ErrorHeader: []string{description}, micro.ErrorCodeHeader: []string{code}}
	return l.nc.PublishMsg(&nats.Msg{Subject: l.Reply(), Header: header, Data: data})
}

// work answers one request.
func (s *Server) work(ctx context.Context, verb string, r micro.Request, answer endpoint) {
	body, err := answer(ctx, r.Data())
	if err == nil {
		err = r.RespondJSON(body)
	}
	if err == nil {
		return
	}
	refusal := &Error{CodeFailed, err.Error()}
	if !errors.As(err, &refusal) {
		s.log.Warn("could not answer an operator", "verb", verb, "err", err)
	}
	_ = r.Error(strconv.Itoa(refusal.Code), refusal.Description, nil) // the asker hears of it by its timeout
}

// room is how many bytes of rows an answer may hold.
func (s *Server) room() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(min(s.nc.MaxPayload(), 1<<20)) * 3 / 4
}

// fitted is a Page whose rows are encoded already.
type fitted struct {
	Rows []json.RawMessage `json:"rows"`
	Next uint64            `json:"next"`
	More bool              `json:"more"`
}

// fit cuts a page to what one message holds.
func fit[T any](p Page[T], room int, id func(T) uint64) (fitted, error) {
	f := fitted{Rows: make([]json.RawMessage, 0, len(p.Rows)), Next: p.Next, More: p.More}
	for i, row := range p.Rows {
		raw, err := json.Marshal(row)
		if err != nil {
			return f, err
		}
		if room -= len(raw) + 1; room < 0 && i > 0 {
			f.Next, f.More = id(p.Rows[i-1]), true
			break
		}
		f.Rows = append(f.Rows, raw)
	}
	return f, nil
}

// recent cuts both listings to what one message holds.
func (s *Server) recent(r Recent) (any, error) {
	refusals, err := fit(r.Refusals, s.room()/2, func(row Refusal) uint64 { return row.Seq })
	if err != nil {
		return nil, err
	}
	ended, err := fit(r.Ended, s.room()/2, func(row Ended) uint64 { return row.Seq })
	return struct {
		Refusals fitted `json:"refusals"`
		Ended    fitted `json:"ended"`
	}{refusals, ended}, err
}

// export hands out a document's state part by part. The state is kept as it was
// when the first part was asked for: it may change meanwhile.
func (s *Server) export(_ context.Context, r ExportRequest) (any, error) {
	return s.parts(r, func() ([]byte, error) { return s.node.Export(r.Document) })
}

// parts hands out what begin returns for the first part.
func (s *Server) parts(r ExportRequest, begin func() ([]byte, error)) (any, error) {
	id := r.Export
	if id == 0 {
		state, err := begin()
		if err != nil {
			return nil, err
		}
		id = s.exports.keep(state)
	}
	state, ok := s.exports.take(id)
	if !ok {
		return nil, NotFound("the export has run out: begin again")
	}
	if r.Offset < 0 || r.Offset > len(state) {
		return nil, Wrong("offset %d: expected 0 to %d", r.Offset, len(state))
	}
	part := state[r.Offset:]
	part = part[:min(len(part), s.room()*3/4)] // base64 takes a third more
	if r.Offset+len(part) == len(state) {
		s.exports.drop(id)
	}
	return Export{Export: id, Size: len(state), Data: part}, nil
}

// exports are the states that operators are fetching. One that is not fetched to its
// end is forgotten after a while: it may be that of a large document, closed since.
type exports struct {
	mu   sync.Mutex
	last uint64
	kept map[uint64]*kept
}

type kept struct {
	state  []byte // shared with the document's store, immutable
	used   time.Time
	forget *time.Timer
}

const (
	maxExports = 4
	exportLife = 30 * time.Second // without a request
)

// keep makes room for a state by dropping the one that was not asked for longest.
func (e *exports) keep(state []byte) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.kept == nil {
		e.kept = map[uint64]*kept{}
	}
	for len(e.kept) >= maxExports {
		var oldest uint64
		for id, k := range e.kept {
			if oldest == 0 || k.used.Before(e.kept[oldest].used) {
				oldest = id
			}
		}
		e.dropLocked(oldest)
	}
	e.last++
	id := e.last
	e.kept[id] = &kept{state, time.Now(), time.AfterFunc(exportLife, func() { e.drop(id) })}
	return id
}

func (e *exports) take(id uint64) ([]byte, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	k := e.kept[id]
	if k == nil {
		return nil, false
	}
	k.used = time.Now()
	k.forget.Reset(exportLife)
	return k.state, true
}

func (e *exports) drop(id uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dropLocked(id)
}

func (e *exports) dropLocked(id uint64) {
	if k := e.kept[id]; k != nil {
		k.forget.Stop()
		delete(e.kept, id)
	}
}

var semanticVersion = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

// semver makes a Go version one that the service protocol takes.
func semver(version string) string {
	version = strings.TrimPrefix(version, "v")
	if !semanticVersion.MatchString(version) {
		return "0.0.0"
	}
	return version
}

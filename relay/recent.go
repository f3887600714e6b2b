package relay

import (
	"container/list"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/control"
)

// How much a node remembers of clients that are not there.
const (
	keptRefusals = 1000
	keptEnded    = 500
	maxUserAgent = 200     // bytes kept of what a client says it is
	maxName      = 4 * 255 // bytes kept of a document's name, which may be wrong
)

// recent is what operators are asked about afterwards: whom the node turned away,
// and which sessions ended. A client that tries again and again is remembered
// once, with a count, so that it pushes nobody else out. Refusals of one client
// in a tight loop cost a map access each.
type recent struct {
	log     *slog.Logger
	refused func(doc docid.Document, code int, reason string) // Config.Refused

	mu       sync.Mutex
	seq      uint64
	outcomes map[string]int64 // handshakes by the kind of their answer; "admitted" among them
	refusals map[refusalKey]*list.Element
	byTime   list.List // of *control.Refusal, by Seq
	ended    []control.Ended
	endedAt  int // where the next one goes, once the ring is full
}

// outcomes are what a handshake can come to, so that metrics know them from the
// start: a rate needs a first value.
var outcomes = []string{
	admitted, redirected, carriedAway, misdirected, rateLimited, "missing_token", "invalid_token", "forbidden", "invalid_document_name", "limit_exceeded", "overloaded", "unavailable",
}

// refusalKey makes two refusals one entry: nothing in it changes from one try of a
// client to the next.
type refusalKey struct {
	doc     docid.Document
	remote  string // without the port
	code    int
	reason  string // without counts
	request string
}

func (m *recent) init(cfg *Config) {
	m.log, m.refused = cfg.Log, cfg.Refused
	m.outcomes = map[string]int64{}
	for _, outcome := range outcomes {
		m.outcomes[outcome] = 0
	}
	m.refusals = map[refusalKey]*list.Element{}
}

// count counts the outcome of a handshake.
func (m *recent) count(outcome string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outcomes[outcome]++
}

// counts are the outcomes so far.
func (m *recent) counts() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.outcomes)
}

// refuse remembers a refusal. r is what is new in it; the rest is filled in.
func (m *recent) refuse(r control.Refusal) {
	now := time.Now()
	if host, _, err := net.SplitHostPort(r.Remote); err == nil {
		r.Remote = host
	}
	r.Document.Name = r.Document.Name[:min(len(r.Document.Name), maxName)]
	reason, _, _ := strings.Cut(r.Reason, " (active: ")
	key := refusalKey{r.Document.Docname(), r.Remote, r.Code, reason, r.Request}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seq++
	e, known := m.refusals[key]
	if !known {
		if m.byTime.Len() == keptRefusals {
			oldest := m.byTime.Front()
			delete(m.refusals, oldest.Value.(*kept).key)
			m.byTime.Remove(oldest)
		}
		r.First = now
		e = m.byTime.PushBack(&kept{key, r})
		m.refusals[key] = e
	}
	k := e.Value.(*kept)
	k.Reason, k.Detail = r.Reason, r.Detail
	k.UserAgent, k.Origin = clip(r.UserAgent), clip(r.Origin)
	k.Seq, k.Last = m.seq, now
	k.Count++
	m.byTime.MoveToBack(e)
}

// limited notes a client that comes too often to be let in.
func (m *recent) limited(h *handshake, why string) {
	m.count(rateLimited)
	m.refuse(control.Refusal{
		Code: http.StatusTooManyRequests, Reason: tooOften, Detail: why, Document: control.NewDocument(h.doc),
		Remote: h.remote, UserAgent: h.userAgent, Origin: h.origin, Request: "connect",
	})
}

// turnedAway notes why a client was turned away: at debug what clients do every day,
// at info what an operator may be asked about.
func (m *recent) turnedAway(h *handshake, a refusal, err error) {
	m.count(a.kind)
	if m.refused != nil {
		m.refused(h.doc, a.code, a.reason)
	}
	if a.code == closecode.Redirect {
		m.log.Debug("redirected", "document", h.doc.String(), "reason", a.reason, "remote", h.remote)
		return
	}
	m.refuse(control.Refusal{
		Code: a.code, Reason: a.reason, Detail: err.Error(), Document: control.NewDocument(h.doc),
		Remote: h.remote, UserAgent: h.userAgent, Origin: h.origin, Request: "connect",
	})
	m.log.Info("refused", "code", a.code, "reason", a.reason, "name", h.doc.Name, "remote", h.remote, "err", err)
}

// request notes a refusal of a plain request, of a client at the address.
func (m *recent) request(r *http.Request, client string, status int, reason, detail string) {
	m.refuse(control.Refusal{
		Code: status, Reason: reason, Detail: detail, Request: strings.TrimPrefix(r.URL.Path, "/"),
		Remote: client, UserAgent: r.UserAgent(), Origin: r.Header.Get("Origin"),
		Document: control.Document{Name: withoutTokens(docid.ParseQuery(r.URL.RawQuery).Get("documentName"))},
	})
	m.log.Debug("refused", "path", r.URL.Path, "status", status, "reason", reason, "remote", client, "err", detail)
}

// kept is a refusal on the list.
type kept struct {
	key refusalKey
	control.Refusal
}

// end remembers a session that ended.
func (m *recent) end(e control.Ended) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seq++
	e.Seq, e.At = m.seq, time.Now()
	if len(m.ended) < keptEnded {
		m.ended = append(m.ended, e)
		return
	}
	m.ended[m.endedAt] = e
	m.endedAt = (m.endedAt + 1) % keptEnded
}

// since returns what happened after the sequences of the request.
func (m *recent) since(r control.RecentRequest) (answer control.Recent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for e := m.byTime.Front(); e != nil; e = e.Next() {
		if k := e.Value.(*kept); k.Seq > r.AfterRefusal {
			answer.Refusals.Rows = append(answer.Refusals.Rows, k.Refusal)
		}
	}
	for i := range m.ended {
		if e := m.ended[(m.endedAt+i)%len(m.ended)]; e.Seq > r.AfterEnded {
			answer.Ended.Rows = append(answer.Ended.Rows, e)
		}
	}
	answer.Refusals.Next, answer.Ended.Next = m.seq, m.seq
	return answer
}

// clip bounds what a client said about itself.
func clip(s string) string { return s[:min(len(s), maxUserAgent)] }

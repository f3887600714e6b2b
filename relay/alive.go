package relay

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/internal/pause"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/quota"
	"github.com/wsnode/wsnode/relay/ratelimit"
)

// Who changes networks leaves a connection behind that nobody hears the end of, and
// would be refused for its sake until it counts as gone, after a minute. So before
// somebody is refused for a limit, the sessions that take the places up are pinged on
// all nodes of the region, and those that do not answer are ended.
const (
	aliveSilent = 10 * time.Second // who was heard since then is there
	aliveWithin = 3 * time.Second  // for an answer
	aliveEvery  = 10 * time.Second
	aliveAnswer = 200 * time.Millisecond // for another node to say that it has somebody to ping
	aliveMost   = 1000                   // sessions on one node, the longest silent first: an app may have very many
)

// aliveSubject is where a node asks the others of its region to do the same.
const aliveSubject = "wsn.alive"

// crowded is what is full: an app, or one of its documents.
type crowded struct {
	App      docid.AppID
	Document string // empty: the app
}

// aliveChecks end the sessions of clients that are gone. What is full is looked at once in
// aliveEvery, whoever asks for it, here or on another node: so refused clients that try
// again and again cost the others no more pings than that.
type aliveChecks struct {
	silentFor    time.Duration // who was heard since is there
	answerWithin time.Duration
	bus          *bus.Bus
	clients      *clients
	log          *slog.Logger

	often *ratelimit.Window[crowded]
	asked *bus.Subscription
}

// open has other nodes' requests answered, in goroutines of life.
func (a *aliveChecks) open(cfg *Config, c *clients, life *lifetime) (err error) {
	a.silentFor, a.answerWithin = cmp.Or(cfg.aliveSilent, aliveSilent), cmp.Or(cfg.aliveWithin, aliveWithin)
	a.bus, a.clients, a.log = cfg.Bus, c, cfg.Log
	a.often = ratelimit.NewWindow[crowded](ratelimit.Rate{Count: 1, Per: aliveEvery}, 0)
	a.asked, err = a.bus.Subscribe(aliveSubject, bus.HandlerFunc(func(_, reply string, message []byte) {
		var what crowded
		if json.Unmarshal(message, &what) != nil || !a.often.Take(what) {
			return
		}
		life.spawn(func() { // this call may still run when close has returned
			silent := a.silent(what)
			if len(silent) > 0 {
				_ = a.bus.Publish(reply, nil) // who asks does not wait if this is lost
			}
			a.endDead(life.ctx, what, silent)
		})
	}))
	return err
}

// close ends the answering of requests.
func (a *aliveChecks) close() { a.asked.Unsubscribe() }

// makeRoom ends sessions whose clients are gone, on all nodes of the region. It reports
// false if it did so for the same app or document a moment ago, and did nothing.
func (a *aliveChecks) makeRoom(ctx context.Context, doc docid.Document, limit quota.Kind) bool {
	what := crowded{App: doc.AppID()}
	if limit == quota.Users {
		what.Document = doc.Name
	}
	if !a.often.Take(what) {
		return false
	}
	message, err := json.Marshal(what)
	if err != nil {
		return false
	}
	began := time.Now()
	asking, cancel := context.WithTimeout(ctx, aliveAnswer)
	_, err = a.bus.Request(asking, aliveSubject, message)
	cancel()
	a.endDead(ctx, what, a.silent(what))
	if err == nil { // another node waits for answers, too
		pause.For(ctx, time.Until(began.Add(a.answerWithin+aliveAnswer)))
	}
	return true
}

// silent returns the sessions here of an app or a document that said nothing for a while.
func (a *aliveChecks) silent(what crowded) []*conn.Conn {
	var there []*seated
	for _, v := range a.clients.seated() {
		if v.doc.AppID() == what.App && (what.Document == "" || v.doc.Name == what.Document) && v.session.Silent() >= a.silentFor {
			there = append(there, v)
		}
	}
	if len(there) > aliveMost {
		slices.SortFunc(there, func(a, b *seated) int { return cmp.Compare(b.session.Silent(), a.session.Silent()) })
		there = there[:aliveMost]
	}
	conns := make([]*conn.Conn, 0, len(there))
	for _, v := range there {
		conns = append(conns, v.session.Conn())
	}
	return conns
}

// endDead ends those of the sessions whose clients are gone.
func (a *aliveChecks) endDead(ctx context.Context, what crowded, silent []*conn.Conn) {
	if ended := conn.EndDead(ctx, silent, a.answerWithin); ended > 0 {
		a.log.Info("ended sessions that were gone: others wait for their places", "app", what.App.String(), "document", what.Document, "sessions", ended)
	}
}

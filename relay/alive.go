package relay

import (
	"cmp"
	"context"
	"encoding/json"
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

// aliveChecks are a node's part in that.
type aliveChecks struct {
	silent, answerWithin time.Duration
	often                *ratelimit.Window[crowded]
	asked                *bus.Subscription
}

func (n *Node) openAliveChecks() (err error) {
	r := &n.aliveChecks
	r.silent, r.answerWithin = cmp.Or(n.cfg.aliveSilent, aliveSilent), cmp.Or(n.cfg.aliveWithin, aliveWithin)
	r.often = ratelimit.NewWindow[crowded](ratelimit.Rate{Count: 1, Per: aliveEvery}, 0)
	r.asked, err = n.cfg.Bus.Subscribe(aliveSubject, bus.HandlerFunc(func(_, reply string, message []byte) {
		var what crowded
		if json.Unmarshal(message, &what) != nil || !r.often.Take(what) {
			return
		}
		n.done.Go(func() {
			silent := n.silent(what)
			if len(silent) > 0 {
				_ = n.cfg.Bus.Publish(reply, nil) // who asks does not wait if this is lost
			}
			n.endDead(n.ctx, what, silent)
		})
	}))
	return err
}

// makeRoom ends sessions that are gone, on all nodes of the region, and reports whether
// it was worth while to try: not again for the same app or document within a moment.
func (n *Node) makeRoom(ctx context.Context, doc docid.Document, limit quota.Kind) bool {
	what := crowded{App: doc.AppID()}
	if limit == quota.Users {
		what.Document = doc.Name
	}
	if !n.aliveChecks.often.Take(what) {
		return false
	}
	message, err := json.Marshal(what)
	if err != nil {
		return false
	}
	began := time.Now()
	asking, cancel := context.WithTimeout(ctx, aliveAnswer)
	_, err = n.cfg.Bus.Request(asking, aliveSubject, message)
	cancel()
	n.endDead(ctx, what, n.silent(what))
	if err == nil { // another node waits for answers, too
		pause.For(ctx, time.Until(began.Add(n.aliveChecks.answerWithin+aliveAnswer)))
	}
	return true
}

// silent returns the sessions here of an app or a document that said nothing for a while.
func (n *Node) silent(what crowded) []*conn.Conn {
	var there []*seated
	for _, v := range n.sessions.All() {
		if v.doc.AppID() == what.App && (what.Document == "" || v.doc.Name == what.Document) && v.session.Silent() >= n.aliveChecks.silent {
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
func (n *Node) endDead(ctx context.Context, what crowded, silent []*conn.Conn) {
	if ended := conn.EndDead(ctx, silent, n.aliveChecks.answerWithin); ended > 0 {
		n.log.Info("ended sessions that were gone: others wait for their places", "app", what.App.String(), "document", what.Document, "sessions", ended)
	}
}

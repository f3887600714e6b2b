package torture

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/test/natstest"
)

// What the long run is to have met of each failure at least, and of conflicts.
const (
	manyFailures  = 200
	manyConflicts = 50
)

// checkStore ends all clients. Then everything is stored that they were told is saved,
// and nothing else is left of their documents.
func (c *crowd) checkStore(long bool) {
	c.t.Helper()
	for d := range c.groups {
		c.leave(d)
	}
	js, err := jetstream.New(natstest.ConnectURL(c.t, c.region.nats[0].URL))
	if err != nil {
		c.t.Fatal(err)
	}
	start := time.Now()
	for {
		left, err := c.left(js)
		if err == nil && len(left) == 0 {
			break
		}
		if time.Since(start) > 2*healing {
			c.t.Fatalf("%v after everybody left: %v, and there is %s", time.Since(start), err, strings.Join(left, "\n"))
		}
		time.Sleep(time.Second)
	}
	c.t.Logf("all is stored and nothing is left %v after everybody left", time.Since(start).Round(time.Second))
	bodies := map[docid.Document][]byte{}
	for path, body := range c.region.store.Bodies() {
		if doc, ok := documentOf(path); ok {
			bodies[doc] = body
		}
	}
	total := 0
	for d := 1; d < len(c.groups); d += 2 {
		doc := docid.Document{License: keptLicense, Tenant: "acme", App: "notes", Name: name(d)}
		total += c.checkBody(doc, bodies[doc])
		delete(bodies, doc)
	}
	for doc := range bodies {
		c.t.Errorf("there is %s in the store", doc)
	}
	var met []string
	for _, failure := range failures {
		n, least := c.region.store.has(failure), 1
		met = append(met, fmt.Sprintf("%d × %s", n, failure))
		if long {
			least = manyFailures
			if failure == conflict {
				least = manyConflicts
			}
		}
		if n < least {
			c.t.Errorf("%s was met %d times, expected %d at least", failure, n, least)
		}
	}
	c.t.Logf("clients were told that %d edits are saved, and all are stored; the store met %s, and %d requests while it was away",
		total, strings.Join(met, ", "), c.region.store.has(away))
}

// checkBody reads a body as Yjs does, and returns how many edits of it clients were told
// are saved.
func (c *crowd) checkBody(doc docid.Document, body []byte) int {
	c.t.Helper()
	if body == nil {
		c.t.Errorf("%s is not in the store", doc)
		return 0
	}
	p := c.node.Promises(doc.Name, body)
	if p.Told == 0 {
		c.t.Errorf("%s: nobody was told that anything is saved", doc)
	}
	if p.Behind > 0 || len(p.Lacks) > 0 {
		c.t.Errorf("%s: the store lacks %d of %d edits whose authors were told that they are saved, such as %q; of %d authors it lacks something",
			doc, len(p.Lacks), p.Told, p.Lacks[:min(len(p.Lacks), 5)], p.Behind)
	}
	if n, err := c.region.store.lacks(doc, body); err != nil || n > 0 {
		c.t.Errorf("%s: the store lacks %d edits that somebody else had stored: %v", doc, n, err)
	}
	return p.Told
}

// left is what there is of stored documents beside the store: pins, and histories but for
// the markers that ended lives leave.
func (c *crowd) left(js jetstream.JetStream) (found []string, err error) {
	streams := js.ListStreams(c.t.Context())
	for info := range streams.Info() {
		s, err := js.Stream(c.t.Context(), info.Config.Name)
		if err != nil {
			return nil, err
		}
		whole, err := s.Info(c.t.Context(), jetstream.WithSubjectFilter(">"))
		if err != nil {
			return nil, err
		}
		for subject, messages := range whole.State.Subjects {
			is, err := c.isLeft(s, subject, messages)
			if err != nil {
				return nil, err
			}
			if is {
				found = append(found, fmt.Sprintf("%s with %d messages", subject, messages))
			}
		}
	}
	return found, streams.Err()
}

func (c *crowd) isLeft(s jetstream.Stream, subject string, messages uint64) (bool, error) {
	if bucket, ok := strings.CutPrefix(s.CachedInfo().Config.Name, "KV_"); ok {
		key := strings.TrimPrefix(subject, "$KV."+bucket+".")
		if _, err := docid.ParsePinKey(keptLicense, key); err != nil {
			return false, nil // a lease, say
		}
		m, err := s.GetLastMsgForSubject(c.t.Context(), subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return false, nil
		}
		return err == nil && len(m.Data) > 0, err // else the mark of one that expired
	}
	if _, epoch, err := docid.ParseUpdatesSubject(subject); err != nil || !docid.StoredEpoch(epoch) {
		return false, nil // what crashes leave of other lives is swept every ten minutes
	}
	if messages != 1 {
		return true, nil
	}
	m, err := s.GetLastMsgForSubject(c.t.Context(), subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	said, err := oplog.Read(m.Data)
	if err != nil || said.Kind != oplog.Stored {
		return true, err
	}
	mark, err := oplog.ReadMark(said.Body)
	return !mark.Ends, err
}

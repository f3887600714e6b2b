package quota

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/natsconn"
)

// NATSExchange is the Exchange over NATS core, on the clusters that hold the
// registries: all nodes that serve a license region are connected there. Subjects
// are wsn.usage.<license region>.<the app as in its key>. Close it when done.
type NATSExchange struct {
	conn      func(docid.LicenseRegion) *nats.Conn
	questions chan *nats.Msg
	done      chan struct{}
	running   sync.WaitGroup
	closing   sync.Once

	mu      sync.RWMutex
	replies map[string]func() []byte // by subject
}

// OpenNATSExchange starts answering. conn returns the connection to the cluster of
// a license region's registry, nil if it is not served.
func OpenNATSExchange(conn func(docid.LicenseRegion) *nats.Conn) *NATSExchange {
	x := &NATSExchange{
		conn:      conn,
		questions: make(chan *nats.Msg, 1024),
		done:      make(chan struct{}),
		replies:   map[string]func() []byte{},
	}
	x.running.Go(x.answer)
	return x
}

// Close stops answering. Subscriptions end with their connections or by stop.
func (x *NATSExchange) Close() {
	x.closing.Do(func() { close(x.done) })
	x.running.Wait()
}

// answer answers questions one after the other: they are rare and small.
func (x *NATSExchange) answer() {
	for {
		select {
		case <-x.done:
			return
		case question := <-x.questions:
			x.mu.RLock()
			reply := x.replies[question.Subject]
			x.mu.RUnlock()
			if reply != nil && natsconn.IsInbox(question.Reply) {
				// Who asks counts without this node if the answer is lost.
				_ = question.Respond(reply())
			}
		}
	}
}

func usageSubject(app docid.AppID) string {
	return "wsn.usage." + string(app.License) + "." + app.LimitKey(appScope)
}

var errNoConnection = errors.New("no connection to the registry's cluster")

// Answer implements Exchange.
func (x *NATSExchange) Answer(app docid.AppID, reply func() []byte) (stop func(), err error) {
	nc := x.conn(app.License)
	if nc == nil {
		return nil, errNoConnection
	}
	subject := usageSubject(app)
	x.mu.Lock()
	x.replies[subject] = reply
	x.mu.Unlock()
	forget := func() {
		x.mu.Lock()
		delete(x.replies, subject)
		x.mu.Unlock()
	}
	// One channel for all: a subscription costs no goroutine.
	sub, err := nc.ChanSubscribe(subject, x.questions)
	if err != nil {
		forget()
		return nil, fmt.Errorf("answer for usage: %w", err)
	}
	return func() {
		forget()
		_ = sub.Unsubscribe() // the connection may be closed already
	}, nil
}

// Ask implements Exchange.
func (x *NATSExchange) Ask(ctx context.Context, app docid.AppID, each func([]byte)) error {
	nc := x.conn(app.License)
	if nc == nil {
		return errNoConnection
	}
	// A token of their own, so that permissions can let nodes answer here and nowhere
	// else.
	inbox := natsconn.InboxPrefix(nc) + ".usage." + rand.Text()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return fmt.Errorf("ask for usage: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishRequest(usageSubject(app), inbox, nil); err != nil {
		return fmt.Errorf("ask for usage: %w", err)
	}
	if !nc.IsConnected() {
		return errNoConnection
	}
	for {
		answer, err := sub.NextMsgWithContext(ctx)
		switch {
		case errors.Is(err, nats.ErrNoResponders):
			return nil // nobody has the app
		case errors.Is(err, context.DeadlineExceeded):
			return nil // the time for answers is over
		case err != nil:
			return fmt.Errorf("ask for usage: %w", err)
		}
		each(answer.Data)
	}
}

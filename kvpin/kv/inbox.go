package kv

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/natsconn"
)

// inbox is the one subscription to which the answers of all requests on a link
// come, each with a last token that nobody can guess. The client library's own are
// not used: who watches a registry sees where its writes want their answers, and
// could tell from one of those which come next.
type inbox struct {
	nc     *nats.Conn
	prefix string // ends with a dot

	mu    sync.Mutex
	calls map[string]chan *nats.Msg
}

func newInbox(nc *nats.Conn) (*inbox, error) {
	i := &inbox{nc: nc, prefix: natsconn.NewInbox(nc) + ".", calls: make(map[string]chan *nats.Msg)}
	sub, err := nc.Subscribe(i.prefix+"*", i.receive)
	if err != nil {
		return nil, err
	}
	// What may be under way is bounded by the callers.
	return i, sub.SetPendingLimits(-1, -1)
}

// open starts a call that takes up to room answers. Its end is to forget it.
func (i *inbox) open(room int) (reply string, answers <-chan *nats.Msg, forget func()) {
	token, c := rand.Text(), make(chan *nats.Msg, room)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.calls[token] = c
	return i.prefix + token, c, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		delete(i.calls, token)
	}
}

func (i *inbox) receive(m *nats.Msg) {
	i.mu.Lock()
	defer i.mu.Unlock()
	select {
	case i.calls[strings.TrimPrefix(m.Subject, i.prefix)] <- m:
	default:
	}
}

// request sends a message and waits for its answer.
func (i *inbox) request(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	reply, answers, forget := i.open(1)
	defer forget()
	m.Reply = reply
	if err := i.nc.PublishMsg(m); err != nil {
		return nil, err
	}
	select {
	case answer := <-answers:
		if nobody(answer) {
			return nil, nats.ErrNoResponders
		}
		return answer, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// nobody reports whether NATS says that nobody subscribes to what was asked.
func nobody(answer *nats.Msg) bool {
	return len(answer.Data) == 0 && answer.Header.Get("Status") == "503"
}

package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/natsconn"
)

// Request publishes data and returns the first answer. Answers of all requests
// come to one inbox. ErrNobody: nobody subscribes to the subject; the pod's own
// subscriptions do not count, since its messages do not come back to it.
func (b *Bus) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	var answer []byte
	found := false
	err := b.request(ctx, subject, data, 0, 1, func(a []byte) bool {
		answer, found = a, true
		return false
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("request %s: %w", subject, context.DeadlineExceeded)
	}
	return answer, nil
}

// RequestMany publishes data and calls each for every answer, from the caller's
// goroutine, until each returns false, ctx ends, or nothing has come for quiet
// (0: no such limit). The end of ctx's deadline and quiet are how collecting
// normally ends and are no errors; a cancelled ctx is one, as is ErrNobody.
func (b *Bus) RequestMany(ctx context.Context, subject string, data []byte, quiet time.Duration, each func(answer []byte) bool) error {
	return b.request(ctx, subject, data, quiet, answersWaiting, each)
}

func (b *Bus) request(ctx context.Context, subject string, data []byte, quiet time.Duration, room int, each func(answer []byte) bool) error {
	reply, answers, forget := b.inbox.open(room)
	defer forget()
	if err := b.PublishRequest(subject, reply, data); err != nil {
		return fmt.Errorf("request %s: %w", subject, err)
	}
	var silence <-chan time.Time
	if quiet > 0 {
		t := time.NewTimer(quiet)
		defer t.Stop()
		silence = t.C
		again := each
		each = func(answer []byte) bool {
			t.Reset(quiet)
			return again(answer)
		}
	}
	for {
		select {
		case a, open := <-answers:
			if !open {
				return fmt.Errorf("request %s: %w", subject, ErrClosed)
			}
			if a == nil {
				return fmt.Errorf("request %s: %w", subject, ErrNobody)
			}
			if !each(a) {
				return nil
			}
		case <-silence:
			return nil
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil
			}
			return fmt.Errorf("request %s: %w", subject, ctx.Err())
		}
	}
}

// inbox is the one subscription to which the answers of all requests come, each
// request with a last token of its own, which nobody can guess.
type inbox struct {
	prefix string // ends with a dot

	mu      sync.Mutex
	natsSub *nats.Subscription
	waiting map[string]chan []byte // nil when closed
}

// answersWaiting is how many answers may wait for one request's caller; a
// region has at most about a thousand pods, and further answers are dropped.
const answersWaiting = 1024

// inboxToken sets the inboxes that other pods answer to apart from those that only
// NATS itself does, so that permissions can.
const inboxToken = ".bus."

// newInbox has a subscription of its own rather than one in a lane, because it
// needs the message's header: NATS says there that nobody answers.
func newInbox(b *Bus) (*inbox, error) {
	nc := b.nc.Load()
	i := &inbox{prefix: natsconn.InboxPrefix(nc) + inboxToken + rand.Text() + ".", waiting: make(map[string]chan []byte)}
	if err := i.move(nc); err != nil {
		return nil, err
	}
	return i, nil
}

// move subscribes on another connection in place of the one that ended.
func (i *inbox) move(nc *nats.Conn) error {
	sub, err := nc.Subscribe(i.prefix+"*", i.receive)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.natsSub = sub
	return nil
}

// open starts a request: where its answers go, where they come out, and how to
// end it. room is how many answers may wait for the caller.
func (i *inbox) open(room int) (reply string, answers <-chan []byte, forget func()) {
	c := make(chan []byte, room)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.waiting == nil {
		close(c)
		return i.prefix + "closed", c, func() {}
	}
	token := rand.Text()
	i.waiting[token] = c
	return i.prefix + token, c, func() {
		i.mu.Lock()
		delete(i.waiting, token)
		i.mu.Unlock()
	}
}

func (i *inbox) receive(m *nats.Msg) {
	answer := m.Data
	switch {
	case len(answer) == 0 && m.Header.Get("Status") == "503":
		answer = nil
	case answer == nil:
		answer = []byte{}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	select {
	case i.waiting[strings.TrimPrefix(m.Subject, i.prefix)] <- answer:
	default:
	}
}

func (i *inbox) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	_ = i.natsSub.Unsubscribe()
	for _, c := range i.waiting {
		close(c)
	}
	i.waiting = nil
}

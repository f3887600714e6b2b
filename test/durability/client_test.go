package durability

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/relay/wire"
	"github.com/wsnode/wsnode/relay/ystore"
)

// patience is how long clients wait on a busy machine.
const patience = 2 * time.Minute

// client is a client of one document that types text at its end, in Go: many of
// them are cheap, and they can send updates that an editor would not.
type client struct {
	tb     testing.TB
	ws     *websocket.Conn
	author author
	done   chan struct{} // closed when the connection has ended

	gate     sync.RWMutex             // held to keep the client from reading
	observed func(stateVector []byte) // called after each update; may be nil

	mu      sync.Mutex
	store   *ystore.Store
	synced  bool
	saves   saves
	changed chan struct{} // closed and replaced at each change
	closed  websocket.CloseError
}

// dial connects to a document and waits until the server has sent what it has. Told
// to try again later, it does, as every client.
func dial(tb testing.TB, base, document, token string) *client {
	tb.Helper()
	return dialBy(tb, http.DefaultClient, base, document, token, nil)
}

// dialBy is dial by an HTTP client, with a function that is told the state vector
// after each update.
func dialBy(tb testing.TB, by *http.Client, base, document, token string, observed func([]byte)) *client {
	tb.Helper()
	for deadline := time.Now().Add(patience); ; {
		c := open(tb, by, base, document, token, observed)
		refused := false
		c.wait("synced", func() bool {
			refused = c.closed.Code == websocket.StatusTryAgainLater && time.Now().Before(deadline)
			return c.synced || refused
		})
		if !refused {
			return c
		}
		time.Sleep(100 * time.Millisecond) // a client's backoff
	}
}

func open(tb testing.TB, by *http.Client, base, document, token string, observed func([]byte)) *client {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	ws, _, err := websocket.Dial(ctx, base+"/"+url.PathEscape(document), &websocket.DialOptions{HTTPHeader: header, HTTPClient: by})
	if err != nil {
		tb.Fatal(err)
	}
	ws.SetReadLimit(-1)
	c := &client{
		tb: tb, ws: ws, author: author{client: uint64(rand.Uint32())},
		store: ystore.New(ystore.Limits{}), done: make(chan struct{}), changed: make(chan struct{}), observed: observed,
	}
	go c.read()
	tb.Cleanup(c.leave)
	c.write([]byte{0, 0, 1, 0}) // SyncStep1 of somebody who has nothing
	return c
}

func (c *client) read() {
	defer close(c.done)
	for {
		c.passGate()
		_, frame, err := c.ws.Read(context.Background())
		if err != nil {
			c.mu.Lock()
			errors.As(err, &c.closed)
			c.noteLocked()
			c.mu.Unlock()
			return
		}
		m, err := wire.Decode(frame)
		if err != nil {
			c.tb.Errorf("the server sent a malformed frame: %v", err)
			return
		}
		c.mu.Lock()
		if m.Kind == wire.SyncStatus {
			c.hearSaved(m.Payload)
			c.noteLocked()
		}
		if m.Kind != wire.Step2 && m.Kind != wire.Update {
			c.mu.Unlock()
			continue
		}
		if _, err := c.store.Apply(m.Payload); err != nil {
			c.tb.Errorf("the server sent a malformed update: %v", err)
		}
		c.synced = c.synced || m.Kind == wire.Step2
		if c.observed != nil {
			c.observed(c.store.StateVector())
		}
		c.noteLocked()
		c.mu.Unlock()
	}
}

// passGate waits while the test keeps the client from reading.
func (c *client) passGate() {
	c.gate.RLock()
	defer c.gate.RUnlock()
}

func (c *client) noteLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// wait waits until done, which is called under the client's lock, says so.
func (c *client) wait(what string, done func() bool) {
	c.tb.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		ok, changed, closed := done(), c.changed, c.closed
		c.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-c.done:
			c.mu.Lock()
			ok = done()
			c.mu.Unlock()
			if !ok {
				c.tb.Fatalf("%s: the connection ended: %v", what, closed)
			}
			return
		case <-deadline:
			c.tb.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// waitHas waits until the client has everything that another one typed.
func (c *client) waitHas(others ...*client) {
	c.tb.Helper()
	for _, o := range others {
		if o == c {
			continue
		}
		want := o.author
		c.wait(fmt.Sprintf("receive %d characters", want.clock), func() bool {
			return known(c.store.StateVector(), want.client) >= want.clock
		})
	}
}

// endsOrHas waits until the client has everything that others typed, or its
// connection ends, and reports which.
func (c *client) endsOrHas(others ...*client) (has bool) {
	c.tb.Helper()
	c.wait("receive everything or end", func() bool {
		has = true
		for _, o := range others {
			has = has && known(c.store.StateVector(), o.author.client) >= o.author.clock
		}
		select {
		case <-c.done:
			return true
		default:
			return has
		}
	})
	return has
}

// waitClosed waits until the server has ended the connection.
func (c *client) waitClosed() websocket.CloseError {
	c.tb.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		c.tb.Fatal("the server did not close the connection")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// has reports whether the client's document contains all of an update.
func (c *client) has(update []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	brings, err := c.store.Brings(update)
	return err == nil && !brings
}

// state is the client's document as one update.
func (c *client) state() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.store.Encode()
}

// typeText types at the end of what the client typed before, as one update.
func (c *client) typeText(text string) {
	c.tb.Helper()
	u := c.author.insert(text)
	c.mu.Lock()
	if _, err := c.store.Apply(u); err != nil {
		c.tb.Error(err)
	}
	c.mu.Unlock()
	c.write(message(kindUpdate, u))
}

func (c *client) write(frame []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.ws.Write(ctx, websocket.MessageBinary, frame); err != nil {
		c.tb.Logf("write: %v", err) // why it ended is in closed
	}
}

// leave ends the connection at once, as a closed laptop does, and lets go of
// what the client held.
func (c *client) leave() {
	if c.ws == nil {
		return
	}
	_ = c.ws.CloseNow()
	<-c.done
	c.ws, c.store = nil, nil
}

// typeUntil types a few characters every interval until stop is closed or the
// connection has ended.
func (c *client) typeUntil(stop <-chan struct{}, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.typeText("typed ")
		case <-c.done:
			return
		case <-stop:
			return
		}
	}
}

// pending is how many structs of the client's document wait for others.
func (c *client) pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.store.Stats().Pending
}

package conn

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// Intervals of the contract.
const (
	pingEvery   = 20 * time.Second
	idleTimeout = 60 * time.Second // a client that sends nothing, pongs included, is gone
	keepAlive   = 20 * time.Second // y-websocket gives a connection up after 30 s without a data frame
	parkAfter   = 4 * time.Second  // a connection without input gives its goroutine up
	firstFrame  = 30 * time.Second // a client that opens a connection has something to say
)

// clock is a time in nanoseconds that does not follow when the host's is set.
func clock(t time.Time) int64 { return int64(t.Sub(began)) }

var began = time.Now()

// Keepalive keeps the time of all connections of a node with one goroutine instead of
// timers of their own: its cost is a look at each connection every second.
type Keepalive struct {
	ctx context.Context // its end also cuts pauses of readers short
	now atomic.Int64    // by clock and by the second: good enough for keepalives and cheap to read

	parking atomic.Pointer[parking] // nil disables parking

	mu    sync.Mutex
	conns map[*Conn]struct{}
}

// NewKeepalive returns one that works while Run does, until ctx ends.
func NewKeepalive(ctx context.Context) *Keepalive {
	k := &Keepalive{ctx: ctx, conns: map[*Conn]struct{}{}}
	k.now.Store(clock(time.Now()))
	return k
}

// Run looks at all connections every second, until the context ends.
func (k *Keepalive) Run() {
	if parking, err := openParking(); err == nil {
		k.parking.Store(parking)
		var waking sync.WaitGroup
		waking.Go(parking.run)
		defer waking.Wait()
		defer parking.close()
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-k.ctx.Done():
			return
		case now := <-ticker.C:
			k.now.Store(clock(now))
			for _, c := range k.all() {
				c.beat(now)
			}
		}
	}
}

func (k *Keepalive) all() []*Conn {
	k.mu.Lock()
	defer k.mu.Unlock()
	conns := make([]*Conn, 0, len(k.conns))
	for c := range k.conns {
		conns = append(conns, c)
	}
	return conns
}

func (k *Keepalive) add(c *Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conns[c] = struct{}{}
}

func (k *Keepalive) remove(c *Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.conns, c)
}

// beat pings, keeps alive and gives up.
func (c *Conn) beat(now time.Time) {
	silent := clock(now) - c.socket.lastIn.Load()
	if silent > int64(idleTimeout) {
		c.End()
		return
	}
	if c.messages.in.Load() == 0 && clock(now)-c.since > int64(firstFrame) {
		c.Close(int(ws.StatusPolicyViolation), "No message within 30 s")
		return
	}
	if t := c.transfer.Load(); t != nil && t.late() {
		c.Close(int(ws.StatusPolicyViolation), "Message too slow: expected 64 KiB in 30 s")
		return
	}
	if silent > int64(parkAfter) {
		c.letPark()
	}
	if clock(now)-c.lastData.Load() >= int64(keepAlive-time.Second) {
		c.handler.KeepAlive()
	}
	if due := int32((clock(now) - c.since) / int64(pingEvery)); due > c.pings {
		c.pings = due // beats that came late are not made up for
		c.Ping()
	}
}

// letPark has the reader give its goroutine up, if it has one. Over TLS it stays:
// what it waits with holds more than a stack.
func (c *Conn) letPark() {
	if c.keepalive.parking.Load() != nil && !c.tls && !c.parked.Load() {
		c.socket.kick()
	}
}

// ping is an empty WebSocket ping.
var ping = []byte{0x80 | byte(ws.OpPing), 0}

// Ping asks for a sign of life, due or not. While bytes are on their way already it need not.
// It does not block.
func (c *Conn) Ping() {
	if !c.socket.behind() {
		c.Write(ping)
	}
}

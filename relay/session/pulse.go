package session

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/wire"
)

// Intervals of the contract.
const (
	pingEvery   = 20 * time.Second
	idleTimeout = 60 * time.Second // a peer that sends nothing, pongs included, is gone
	keepAlive   = 20 * time.Second // y-websocket gives a connection up after 30 s without a data frame
	restAfter   = 4 * time.Second  // a session without input gives its goroutine up
	firstFrame  = 30 * time.Second // a client that opens a connection has something to say
)

// clock is a time in nanoseconds that does not follow when the host's is set.
func clock(t time.Time) int64 { return int64(t.Sub(began)) }

var began = time.Now()

// Pulse keeps the time of all sessions of a node with one goroutine instead of
// timers of their own: its cost is a look at each session every second.
type Pulse struct {
	now atomic.Int64 // by clock and by the second: good enough for keepalives and cheap to read

	lot atomic.Pointer[lot] // nil: nobody rests

	mu       sync.Mutex
	sessions map[*Session]struct{}
}

// NewPulse returns a pulse that beats while Run does.
func NewPulse() *Pulse {
	p := &Pulse{sessions: map[*Session]struct{}{}}
	p.now.Store(clock(time.Now()))
	return p
}

// Run beats until ctx ends.
func (p *Pulse) Run(ctx context.Context) {
	if lot, err := openLot(); err == nil {
		p.lot.Store(lot)
		var waking sync.WaitGroup
		waking.Go(lot.run)
		defer waking.Wait()
		defer lot.close()
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			p.now.Store(clock(now))
			for _, s := range p.all() {
				s.beat(now)
			}
		}
	}
}

func (p *Pulse) all() []*Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	sessions := make([]*Session, 0, len(p.sessions))
	for s := range p.sessions {
		sessions = append(sessions, s)
	}
	return sessions
}

func (p *Pulse) add(s *Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions[s] = struct{}{}
}

func (p *Pulse) remove(s *Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sessions, s)
}

// beat pings, keeps alive and gives up.
func (s *Session) beat(now time.Time) {
	silent := clock(now) - s.socket.conn.lastIn.Load()
	if silent > int64(idleTimeout) {
		s.End()
		return
	}
	if s.frames.in.Load() == 0 && now.Sub(s.since) > firstFrame {
		s.Close(closecode.Silent, "No message within 30 s")
		return
	}
	if t := s.transfer.Load(); t != nil && t.late() {
		s.Close(closecode.Silent, "Message too slow: expected 64 KiB in 30 s")
		return
	}
	if silent > int64(restAfter) {
		s.letRest()
	}
	if clock(now)-s.lastData.Load() >= int64(keepAlive-time.Second) {
		s.send(wire.KeepAlive)
	}
	if due := int(now.Sub(s.since) / pingEvery); due > s.pings {
		s.pings = due // beats that came late are not made up for
		s.ping()
	}
}

// letRest has the reader give its goroutine up, if it has one. Over TLS it stays:
// what it waits with holds more than a stack.
func (s *Session) letRest() {
	if s.pulse.lot.Load() != nil && !s.socket.tls && !s.resting.Load() {
		s.socket.conn.kick()
	}
}

// ping is an empty WebSocket ping.
var ping = []byte{0x80 | byte(ws.OpPing), 0}

// Ping asks for a sign of life before it is due. It does not block.
func (s *Session) Ping() { s.ping() }

// ping asks for a sign of life. While bytes are on their way already it need not.
func (s *Session) ping() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.behind {
		s.behind = s.socket.write(ping)
	}
}

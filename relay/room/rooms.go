// Package room holds the live documents of one node: a room is a store, an
// awareness set and the members who share them, joined to the rooms of the same
// document on other pods by the bus, and made durable by the history.
//
// An edit enters by Seat.Apply, goes to the other members at once, and leaves by
// the outbox, where one publish both fans it out and appends it to the history.
// What other pods publish enters by exchange.Receive.
package room

import (
	"cmp"
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/ystore"
)

// Bus is the fan-out that rooms need; *bus.Bus is one. Publish must not keep
// data.
type Bus interface {
	Subscribe(subject string, h bus.Handler) (*bus.Subscription, error)
	Publish(subject string, data []byte) error
	// Flush waits until the server has what was published.
	Flush(ctx context.Context) error
	// Renew makes the connection anew, soon and not too often: messages do not
	// arrive although there is one.
	Renew()
	// PodSubject is where this node's rooms take messages addressed to one of them.
	PodSubject() string
}

// History is the durable log that rooms need; *history.History is one.
type History interface {
	// Append publishes data to subject and calls done once with the outcome. It
	// must not keep data; done must not block.
	Append(subject string, data []byte, done func(seq uint64, err error)) error
	LoadFrom(ctx context.Context, subject string, from uint64, each func(seq uint64, data []byte) error) (last uint64, err error)
	// Last returns the subject's last sequence; 0 if there is none.
	Last(ctx context.Context, subject string) (seq uint64, err error)
	// AppendAfter is Append behind an expected last sequence; see history.History.
	AppendAfter(ctx context.Context, subject string, data []byte, last uint64, ttl time.Duration) (seq uint64, err error)
	PurgeBelow(ctx context.Context, subject string, seq uint64) error
	Shard(key string) int
	MaxPayload() int
}

// Config says what the rooms of a node use. Bus and History are required; zero
// durations and sizes mean the defaults written beside them.
type Config struct {
	Bus     Bus
	History History
	Log     *slog.Logger

	Limits          ystore.Limits
	MaxClients      int           // awareness clients of a document; 0: any number
	MaxAppBytes     int           // of all documents of one app that are open here; 0: any number
	BatchWindow     time.Duration // 50 ms: how long an edit may wait for others while no other pod has the document
	BeaconEvery     time.Duration // 5 s: how often rooms that share a document compare what they know
	PeerTimeout     time.Duration // 12 s: after which a silent pod's clients leave
	RetryEvery      time.Duration // 400 ms: how long a refused append waits before it is tried again, with the next tick
	CompactMessages int           // 500: history messages after which a snapshot replaces them
	CompactBytes    int           // 1 MiB: the same by size; a large document waits for twice its own size
	SnapshotEvery   time.Duration // 0, never: rewrite the snapshot of a live document well before the history's MaxAge
	MaxUnackedBytes int           // 64 MiB: edits of all rooms kept for another try; beyond it a room remembers only that it must append a snapshot

	// Heavy does what takes a processor for long, and waits for nothing; it may be done when
	// others are. Nil: at once.
	Heavy func(long func())

	// Relaxed says that the history acknowledges what it may still lose, so that no
	// client is ever told that its edits are saved.
	Relaxed bool

	// AckStored says of which apps a client is told that its edits are saved only once
	// the store has them. It is called at each join and must not block. Nil: of none.
	AckStored func(docid.AppID) bool

	// Stateless says of which apps stateless messages are passed on; see Seat.Stateless. It
	// is called at each join and must not block. Nil: of none.
	Stateless func(docid.AppID) bool

	Answered func(time.Duration) // called with the time from a client's question whether all is saved to its answer
	Durable  func(time.Duration) // called with the time from publish to acknowledgement of each append
}

func (c *Config) setDefaults() {
	if c.Heavy == nil {
		c.Heavy = func(long func()) { long() }
	}
	c.BatchWindow = cmp.Or(c.BatchWindow, 50*time.Millisecond)
	c.BeaconEvery = cmp.Or(c.BeaconEvery, 5*time.Second)
	c.PeerTimeout = cmp.Or(c.PeerTimeout, 12*time.Second)
	c.RetryEvery = cmp.Or(c.RetryEvery, 400*time.Millisecond)
	c.CompactMessages = cmp.Or(c.CompactMessages, 500)
	c.CompactBytes = cmp.Or(c.CompactBytes, 1<<20)
	c.MaxUnackedBytes = cmp.Or(c.MaxUnackedBytes, 64<<20)
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	if c.Answered == nil {
		c.Answered = func(time.Duration) {}
	}
	if c.Durable == nil {
		c.Durable = func(time.Duration) {}
	}
}

// Rooms are the rooms of one node. It owns the goroutines that publish, that
// keep time and that compact; its methods may be called concurrently.
type Rooms struct {
	cfg      Config
	Counters Counters
	pod      *bus.Subscription
	ctx      context.Context // ends with the rooms
	cancel   context.CancelFunc
	done     sync.WaitGroup
	compact  chan *Room
	reread   chan *Room
	outbox   outbox
	pace     pace
	apps     appBytes
	bodies   bodies
	told     told        // of awareness that is too large
	unheard  told        // of stateless messages that are dropped
	spreader []*spreader // a room has one by its id

	mu   sync.Mutex
	byID map[oplog.ID]*Room
}

// Open subscribes to the node's own subject and starts the goroutines.
func Open(cfg Config) (*Rooms, error) {
	cfg.setDefaults()
	rs := &Rooms{cfg: cfg, byID: map[oplog.ID]*Room{}, compact: make(chan *Room, 64), reread: make(chan *Room, 64)}
	rs.outbox.wake = make(chan struct{}, 1)
	var err error
	if rs.pod, err = cfg.Bus.Subscribe(cfg.Bus.PodSubject(), rs); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	rs.ctx, rs.cancel = ctx, cancel
	rs.done.Go(func() { rs.outbox.run(ctx, cfg.BatchWindow) })
	for range runtime.GOMAXPROCS(0) {
		s := &spreader{wake: make(chan struct{}, 1)}
		rs.spreader = append(rs.spreader, s)
		rs.done.Go(func() { s.run(ctx) })
	}
	rs.done.Go(func() { rs.keepTime(ctx) })
	rs.done.Go(func() { rs.compactLoop(ctx) })
	rs.done.Go(func() { rs.rereadLoop(ctx) })
	return rs, nil
}

// Close stops the goroutines. The rooms must be closed before.
func (rs *Rooms) Close() {
	rs.cancel()
	rs.done.Wait()
	rs.pod.Unsubscribe()
}

// Disturbed tells the rooms that messages may have been lost: every room says
// hello again and takes what it missed, and says who is here, and who left meanwhile.
func (rs *Rooms) Disturbed() {
	for _, r := range rs.all() {
		r.exchange.hello()
		r.exchange.publishPresence()
	}
}

// Emptied tells the rooms that the stream of a shard lost what it held: each
// appends its document anew. A failure is tried again by the room's own clock.
func (rs *Rooms) Emptied(ctx context.Context, shard int) {
	for _, r := range rs.all() {
		if rs.cfg.History.Shard(r.doc.PinKey()) != shard || ctx.Err() != nil {
			continue
		}
		r.mu.Lock()
		r.log.water.reopen()
		r.log.owe()
		r.out.schedule(true)
		r.mu.Unlock()
	}
}

func (rs *Rooms) all() []*Room {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rooms := make([]*Room, 0, len(rs.byID))
	for _, r := range rs.byID {
		rooms = append(rooms, r)
	}
	return rooms
}

// Receive takes the messages that another pod addressed to one of these rooms.
func (rs *Rooms) Receive(_, _ string, data []byte) {
	k, from, body, err := oplog.ReadHeader(data)
	if err != nil {
		rs.refuse(err)
		return
	}
	r := oplog.Reader{Rest: body}
	to := oplog.ID(r.Uint64())
	rs.mu.Lock()
	room := rs.byID[to]
	rs.mu.Unlock()
	if room == nil { // it closed meanwhile
		return
	}
	room.exchange.receiveAddressed(k, from, &r)
}

// refuse counts a message that made no sense, and says so: silence would look
// like lost edits.
func (rs *Rooms) refuse(err error) {
	if n := rs.Counters.Refused.Add(1); n&(n-1) == 0 { // at 1, 2, 4, 8 …
		rs.cfg.Log.Error("refused a message from another pod", "err", err, "refused_so_far", n)
	}
}

// tickEvery is the grain of everything that a room does by the clock.
const tickEvery = 500 * time.Millisecond

func (rs *Rooms) keepTime(ctx context.Context) {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for _, r := range rs.all() {
				r.tick(now)
			}
		}
	}
}

// maxRest is the longest rest after a compaction. It keeps the backlog bounded: the more
// messages a compaction takes away, the less its rest counts.
const maxRest = 100 * time.Millisecond

// compactLoop does one compaction after the other. Documents that began together come due
// together, so it rests for ten times as long as each took: edits hardly notice them.
func (rs *Rooms) compactLoop(ctx context.Context) {
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-rest.C:
		}
		select {
		case <-ctx.Done():
			return
		case r := <-rs.compact:
			began := time.Now()
			r.backlog.compact(ctx)
			rest.Reset(min(10*time.Since(began), maxRest))
		}
	}
}

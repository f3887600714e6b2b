// Package history keeps what was published about a document, in order, while the
// document is live: in JetStream streams that capture the very subjects that fan
// out to the other pods. It knows bytes and subjects, not Yjs.
package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Errors of this package. They are wrapped with what was tried.
var (
	// ErrStreamMissing: the shard's stream does not exist, most likely because an
	// operator deleted it. Ensure creates it again; what it held is gone, so every
	// room has to append its whole state.
	ErrStreamMissing = errors.New("history stream is missing")
	// ErrFull: the stream or the disk has no room. The message has reached the
	// other pods nevertheless. It goes away when documents end or an operator
	// makes room.
	ErrFull = errors.New("history is full")
	// ErrUnavailable: JetStream gave no answer or has no leader. The message may
	// or may not be stored, now or later; append it again, updates are idempotent.
	ErrUnavailable = errors.New("history is unavailable")
	// ErrTooLarge: the message exceeds MaxPayload. Nothing was published.
	ErrTooLarge = errors.New("message exceeds the payload limit of NATS")
	// ErrBusy: as many appends wait for their acknowledgement as may. Nothing was
	// published; publish without acknowledgement or try again later.
	ErrBusy = errors.New("too many appends are under way")
	// ErrClosed: the history was closed.
	ErrClosed = errors.New("history is closed")
)

// RefusedError is a refusal by JetStream that has no error of its own here.
type RefusedError struct {
	Code        int // JetStream's err_code
	Description string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("JetStream refused: %s (%d)", e.Description, e.Code)
}

// Publisher publishes without waiting for the network; *bus.Bus is one.
type Publisher interface {
	PublishRequest(subject, reply string, data []byte) error
}

// Config says how a history behaves. The zero value is useful.
type Config struct {
	// Stored has the history keep stored lives, in streams of their own: those whose
	// documents a store keeps when they end.
	Stored bool
	// Shards is the number of streams if the region has none yet: 1 to 64. What
	// is written in the region wins over it. 0: 1.
	Shards int
	// Replicas is for streams that are created. 0: 1. Production: 3.
	Replicas int
	// MaxAge is for streams that are created: messages older than it are removed,
	// as a backstop for what crashes leave. Live rooms rewrite their content well
	// before it. 0: 24 h; of stored lives 14 days, and at least 7.
	MaxAge time.Duration
	// MaxBytes is for streams that are created: the size of one shard, at which
	// appends are refused with ErrFull. 0: the account's limit.
	MaxBytes int64
	// Relaxed is for streams that are created with one replica: writes are
	// acknowledged before they are flushed to the operating system, even on a
	// server that syncs every write. See docs/history.md for the trade.
	Relaxed bool

	// Publisher is what appends and requests go out through. Nil: the connection
	// itself, which may block while it reconnects.
	Publisher Publisher
	// AckWait is how long an append waits for its acknowledgement. 0: 5 s.
	AckWait time.Duration
	// MaxInFlight is how many appends may wait for theirs. 0: 65,536.
	MaxInFlight int
	// OnMove has its argument called with each connection that takes the place of
	// the one before. Nil: there is none.
	OnMove func(func(*nats.Conn))
	// Domain is the JetStream domain. Empty: the account's own.
	Domain string
	// Observe is called with the time from publish to acknowledgement, under the
	// conditions of the done functions. Nil disables it.
	Observe func(durable time.Duration)
	// Emptied is called after a shard's stream, which an operator deleted, was
	// created again by this pod or another: every room of the shard must append its
	// whole state. It is called from a goroutine of its own, never twice at once,
	// at the latest two minutes later, and not after Close. Nil disables it.
	Emptied func(shard int)
	// Log takes what operators should see. Nil: slog.Default.
	Log *slog.Logger
}

// History appends, reads and removes. An append is acknowledged only when its stream has it,
// and its outcome is told once. What is read holds all that had been acknowledged before the
// read began. That a stream lost what it held is noticed by its identity, and told by
// Config.Emptied.
//
// Its methods may be called concurrently.
type History struct {
	// Static after Open.
	config  Config
	publish func(subject, reply string, data []byte) error
	api     string // "$JS.API." or "$JS.<domain>.API."
	shards  int
	maxAge  time.Duration
	relaxed bool

	// nats.go knows it too, but keeps its lock while it dials.
	maxPayload atomic.Int64

	mu sync.Mutex
	// streams tell by shard which stream it has.
	streams []identity
	// The connection as it is now, and the API on it.
	nc *nats.Conn
	js jetstream.JetStream

	inbox *inbox
	acks  *acks
	pace  *pace
	check *check

	first chan struct{} // slots for reads that have just begun
	long  chan struct{} // slots for reads that turned out long

	closing sync.Once
}

// Open finds the region's streams, or creates them, and returns when they can be
// used. The connection must stay open until Close.
func Open(ctx context.Context, nc *nats.Conn, config Config) (*History, error) {
	h, err := newHistory(nc, config)
	if err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	if err := h.open(ctx); err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	return h, nil
}

func newHistory(nc *nats.Conn, config Config) (*History, error) {
	if config.Shards < 0 || config.Shards > MaxShards {
		return nil, fmt.Errorf("%d shards: expected 1 to %d", config.Shards, MaxShards)
	}
	config.setDefaults()
	h := &History{
		nc:      nc,
		config:  config,
		publish: nc.PublishRequest,
		api:     "$JS.API.",
		first:   make(chan struct{}, firstReads),
		long:    make(chan struct{}, longReads),
	}
	if config.Publisher != nil {
		h.publish = config.Publisher.PublishRequest
	}
	if config.Domain != "" {
		h.api = "$JS." + config.Domain + ".API."
	}
	return h, h.use(nc)
}

// use makes nc the connection of requests to the JetStream API.
func (h *History) use(nc *nats.Conn) error {
	js, err := jetstream.New(nc)
	if h.config.Domain != "" {
		js, err = jetstream.NewWithDomain(nc, h.config.Domain)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.nc, h.js = nc, js
	return err
}

func (h *History) jetStream() jetstream.JetStream {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.js
}

func (c *Config) setDefaults() {
	age := 24 * time.Hour
	if c.Stored {
		age = 2 * minStoredAge
	}
	c.Shards = cmp.Or(c.Shards, 1)
	c.Replicas = cmp.Or(c.Replicas, 1)
	c.MaxAge = cmp.Or(c.MaxAge, age)
	c.MaxBytes = cmp.Or(c.MaxBytes, -1)
	c.AckWait = cmp.Or(c.AckWait, 5*time.Second)
	c.MaxInFlight = cmp.Or(c.MaxInFlight, 1<<16)
	c.Log = cmp.Or(c.Log, slog.Default())
}

func (h *History) open(ctx context.Context) (err error) {
	if err = h.find(ctx); err != nil {
		return err
	}
	if h.inbox, err = newInbox(h.nc); err != nil {
		return err
	}
	h.check, h.pace = newCheck(h), newPace(h)
	if h.acks, err = newAcks(h); err != nil {
		h.check.close()
		h.inbox.Close()
		return err
	}
	h.watch(h.nc)
	if h.config.OnMove != nil {
		h.config.OnMove(h.move)
	}
	return nil
}

// move goes over to a connection that takes the place of one that ended. On an error
// it has ended, too, and there will be another one.
func (h *History) move(nc *nats.Conn) {
	if errors.Join(h.use(nc), h.inbox.Move(nc), h.acks.move(nc)) != nil {
		return
	}
	h.watch(nc)
	h.inbox.reconnected()
	h.acks.reconnected()
}

// watch puts the history's handler behind the one that the connection has, so
// that a bus on it can publish again by then.
func (h *History) watch(nc *nats.Conn) {
	h.maxPayload.Store(nc.MaxPayload())
	before := nc.ReconnectHandler()
	nc.SetReconnectHandler(func(nc *nats.Conn) {
		if before != nil {
			before(nc)
		}
		h.maxPayload.Store(nc.MaxPayload())
		h.inbox.reconnected()
		h.acks.reconnected()
	})
}

// Close ends the history: the done functions of appends under way are called
// with ErrClosed, and none is called once Close has returned. It must not be
// called from one.
func (h *History) Close() {
	h.closing.Do(func() {
		h.acks.close()
		h.check.close()
		h.inbox.Close()
	})
}

// Shards is the number of streams that the region has.
func (h *History) Shards() int { return h.shards }

// Shard is the stream of whatever key is hashed, from 0 to Shards()-1: the same
// on every pod and in every version.
func (h *History) Shard(key string) int {
	f := fnv.New32a()
	_, _ = f.Write([]byte(key))
	return int(f.Sum32() % uint32(h.shards))
}

// MaxAge is the age at which the streams remove a message, 0 for never: a room
// that lives longer has to append its content again before it.
func (h *History) MaxAge() time.Duration { return h.maxAge }

// Relaxed reports whether one of the streams acknowledges writes before the
// operating system has them.
func (h *History) Relaxed() bool { return h.relaxed }

// MaxPayload is the largest message that can be appended, in bytes. It may change
// with a reconnect.
func (h *History) MaxPayload() int { return int(h.maxPayload.Load()) }

// shardOf reads the shard out of a subject that docid.Document.UpdatesSubject
// made.
func (h *History) shardOf(subject string) (int, error) {
	rest, ok := strings.CutPrefix(subject, h.config.prefix())
	digits, _, dot := strings.Cut(rest, ".")
	shard, err := strconv.Atoi(digits)
	if !ok || !dot || err != nil || shard < 0 || shard >= h.shards {
		return 0, fmt.Errorf("%q is not a subject of this history", subject)
	}
	return shard, nil
}

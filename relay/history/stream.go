package history

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/internal/pause"
)

const (
	streamPrefix  = "wsnode-history-"
	storedStream  = "wsnode-stored-"
	subjectPrefix = "wsn.u."
	// shardsKey is in the metadata of shard 0: the number of shards is a fact of
	// the region, since pods that differ in it would look for a document in
	// different streams.
	shardsKey = "wsnode.shards"
	// MaxShards is the most streams that a region can have.
	MaxShards = 64
	// Description is what every stream says of itself.
	Description = "wsnode: updates of live documents"
	// idKey is in the metadata of every stream: a random name, which tells it from a
	// later stream of its name. The time of creation does not quite: each replica has
	// its own.
	idKey = "wsnode.id"
)

// StreamName is the name of a shard's stream.
func StreamName(shard int) string { return Config{}.streamName(shard) }

// StoredStreamName is the name of a shard's stream for stored lives.
func StoredStreamName(shard int) string { return Config{Stored: true}.streamName(shard) }

func (c Config) streamName(shard int) string {
	if c.Stored {
		return storedStream + strconv.Itoa(shard)
	}
	return streamPrefix + strconv.Itoa(shard)
}

// prefix begins the subjects of the history; the shard follows.
func (c Config) prefix() string {
	if c.Stored {
		return docid.StoredPrefix
	}
	return subjectPrefix
}

// filter is the one subject of a shard's stream.
func (c Config) filter(shard int) string {
	if c.Stored {
		return docid.StoredFilter(shard)
	}
	return docid.UpdatesFilter(shard)
}

func (h *History) streamName(shard int) string { return h.config.streamName(shard) }

// minStoredAge is the least age at which a stream of stored lives may remove messages:
// what a store that is down for days is owed must still be there. The first node of the
// region creates it with twice that.
const minStoredAge = 7 * 24 * time.Hour

// stream is what a shard's stream is created as.
func (c Config) stream(shard, shards int) jetstream.StreamConfig {
	s := jetstream.StreamConfig{
		Name:        c.streamName(shard),
		Description: Description,
		Subjects:    []string{c.filter(shard)},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		// A full stream must refuse: discarding the oldest messages would tear
		// holes into documents.
		Discard:     jetstream.DiscardNew,
		Replicas:    c.Replicas,
		MaxAge:      c.MaxAge,
		MaxBytes:    c.MaxBytes,
		MaxMsgs:     -1,
		MaxMsgSize:  -1,
		AllowDirect: true,
		Metadata:    map[string]string{shardsKey: strconv.Itoa(shards), idKey: rand.Text()},
	}
	s.MaxMsgsPerSubject = -1
	s.AllowMsgTTL = c.Stored // of the markers that a purge leaves
	if c.Relaxed && c.Replicas == 1 {
		s.PersistMode = jetstream.AsyncPersistMode
	}
	return s
}

// checkStream names the first thing that makes a stream unfit, in an operator's
// words. Replicas, limits and persistence are the operator's to change.
func (c Config) checkStream(s jetstream.StreamConfig, shard int) error {
	unfit := func(setting, expected string) error {
		return fmt.Errorf("stream %s: %s, expected %s", s.Name, setting, expected)
	}
	filter := c.filter(shard)
	switch {
	case len(s.Subjects) != 1 || s.Subjects[0] != filter:
		return unfit(fmt.Sprintf("subjects are %q", s.Subjects), filter)
	case !s.AllowDirect:
		return unfit("allow_direct is off", "on")
	case s.DenyPurge:
		return unfit("deny_purge is on", "off")
	case s.Retention != jetstream.LimitsPolicy:
		return unfit("retention is "+s.Retention.String(), "limits")
	case s.Discard != jetstream.DiscardNew && (s.MaxBytes > 0 || s.MaxMsgs > 0):
		return unfit("discard is old", "new")
	case s.MaxMsgsPerSubject > 0:
		return unfit("max_msgs_per_subject is set", "none")
	case s.NoAck:
		return unfit("no_ack is on", "off")
	case s.Mirror != nil || len(s.Sources) > 0:
		return unfit("it copies another stream", "none")
	case c.Stored && !s.AllowMsgTTL:
		return unfit("allow_msg_ttl is off", "on")
	case c.Stored && s.MaxAge > 0 && s.MaxAge < minStoredAge:
		return unfit("max_age is "+s.MaxAge.String(), "at least "+minStoredAge.String()+", or none: it keeps what a store is owed")
	}
	return nil
}

// find finds or creates the region's streams. It begins with shard 0, which says
// how many there are.
func (h *History) find(ctx context.Context) error {
	info, err := h.ensureShard(ctx, 0, h.config.Shards)
	if err != nil {
		return err
	}
	written := info.Config.Metadata[shardsKey]
	shards, err := strconv.Atoi(written)
	if err != nil || shards < 1 || shards > MaxShards {
		return fmt.Errorf("stream %s: metadata %s is %q, expected 1 to %d", info.Config.Name, shardsKey, written, MaxShards)
	}
	if shards != h.config.Shards {
		h.config.Log.Info("the region decides the number of history shards", "region", shards, "configured", h.config.Shards)
	}
	h.shards, h.maxAge = shards, info.Config.MaxAge
	h.relaxed = info.Config.PersistMode == jetstream.AsyncPersistMode
	h.notice(info)
	for shard := 1; shard < shards; shard++ {
		if info, err = h.ensureShard(ctx, shard, shards); err != nil {
			return err
		}
		h.relaxed = h.relaxed || info.Config.PersistMode == jetstream.AsyncPersistMode
		h.notice(info)
	}
	return nil
}

// notice notes which stream the next shard has, and says when it keeps less than this
// node was told: what has been there for long is the operator's to change.
func (h *History) notice(info *jetstream.StreamInfo) {
	h.streams = append(h.streams, identityOf(info))
	if have, want := max(info.Config.Replicas, 1), h.config.Replicas; have < want {
		h.config.Log.Warn("history stream has fewer replicas than this node was told: a lost server can lose edits", "stream", info.Config.Name,
			"replicas", have, "expected", want, "mend", fmt.Sprintf("nats stream edit %s --replicas %d --description %q", info.Config.Name, want, Description))
	}
}

// Replicas is how many replicas the streams are to have, as configured here.
func (h *History) Replicas() int { return h.config.Replicas }

// identity tells one stream from another of its name.
type identity struct {
	id      string // empty: whoever created it gave it none
	created time.Time
}

// replicasApart is how far the times of creation that the replicas of one stream tell
// lie apart at most. They were milliseconds.
const replicasApart = time.Second

func identityOf(info *jetstream.StreamInfo) identity {
	return identity{info.Config.Metadata[idKey], info.Created}
}

func (i identity) same(other identity) bool {
	if i.id != "" && other.id != "" {
		return i.id == other.id
	}
	return i.created.Sub(other.created).Abs() <= replicasApart
}

// Create finds or creates a region's streams and returns how many there are, for
// those who set a region up whose nodes may not create any.
func Create(ctx context.Context, nc *nats.Conn, config Config) (shards int, err error) {
	h, err := newHistory(nc, config)
	if err == nil {
		err = h.find(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("create history: %w", err)
	}
	return h.shards, nil
}

// Ensure creates the streams that are missing. A History does so by itself soon
// after it noticed; Ensure is for those who cannot wait. It returns the shards
// whose streams are new ones since Open or since the last time they were
// reported: Emptied is not called for them.
func (h *History) Ensure(ctx context.Context) (renewed []int, err error) {
	for shard := range h.shards {
		isNew, err := h.renew(ctx, shard)
		if err != nil {
			return renewed, fmt.Errorf("ensure history: %w", err)
		}
		if isNew {
			renewed = append(renewed, shard)
		}
	}
	return renewed, nil
}

// renew makes sure that a shard has its stream, and reports whether it is another
// one than last time.
func (h *History) renew(ctx context.Context, shard int) (renewed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*attemptTime)
	defer cancel()
	info, err := h.ensureShard(ctx, shard, h.shards)
	if err != nil {
		return false, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	found := identityOf(info)
	renewed = !found.same(h.streams[shard])
	h.streams[shard] = found
	return renewed, nil
}

// ensureShard finds or creates one stream. It tries on while JetStream has no
// leader yet or another pod creates the same stream.
func (h *History) ensureShard(ctx context.Context, shard, shards int) (*jetstream.StreamInfo, error) {
	told := false
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		info, err := h.findOrCreate(ctx, shard, shards)
		if err == nil {
			return info, h.config.checkStream(info.Config, shard)
		}
		if !transient(err) {
			return nil, fmt.Errorf("stream %s: %w", h.streamName(shard), err)
		}
		if !told {
			told = true
			h.config.Log.Warn("history stream cannot be used yet, trying on", "stream", h.streamName(shard), "error", err)
		}
		if !pause.For(ctx, wait) {
			return nil, fmt.Errorf("stream %s: %w: %w", h.streamName(shard), ErrUnavailable, err)
		}
	}
}

func (h *History) findOrCreate(ctx context.Context, shard, shards int) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	js := h.jetStream()
	s, err := js.Stream(ctx, h.streamName(shard))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = js.CreateStream(ctx, h.config.stream(shard, shards))
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another pod was faster
			if found, lookErr := js.Stream(ctx, h.streamName(shard)); lookErr == nil {
				return found.CachedInfo(), nil
			}
		}
		if err != nil {
			err = fmt.Errorf("it does not exist, and creating it fails (wsctl history init does it for nodes that may not): %w", err)
		}
	}
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

// transient says whether trying again can help. Creating a file stream right
// after the account's last one was deleted fails with 10049 for a moment; a name
// in use is another pod that was faster with other settings.
func transient(err error) bool {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout),
		errors.Is(err, nats.ErrNoResponders), errors.Is(err, nats.ErrReconnectBufExceeded),
		errors.Is(err, nats.ErrDisconnected), errors.Is(err, jetstream.ErrStreamNameAlreadyInUse):
		return true
	case errors.As(err, &api):
		return api.ErrorCode == codeStreamCreate || api.ErrorCode == codeNotAvailable || api.ErrorCode == codeNoPeers
	}
	return false
}

// JetStream's error codes that are acted on. nats.go names only some of them.
const (
	codeNoPeers       = 10005 // no suitable peers for placement: the cluster still forms
	codeNotAvailable  = 10008 // JetStream system temporarily unavailable
	codeStreamCreate  = 10049
	codeNoMessage     = 10037
	codeNoStream      = 10059
	codeStoreFailed   = 10077 // with the store's error as its text
	codeStorageFull   = 10047
	codeNoResources   = 10023
	codeTooLarge      = 10054
	codeAccountLimits = 10002
	codeTooFast       = 10167 // the stream's queue is full
	codeWrongLast     = 10071
	// Another write to the subject is in flight: its outcome decides.
	codeWrongLastUnknown = 10164
)

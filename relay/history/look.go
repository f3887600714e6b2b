package history

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Seen is a stream as Look found it.
type Seen struct {
	Info  *jetstream.StreamInfo
	Unfit error // why nodes cannot use it; nil if they can
}

// Look looks at a region's streams, of which config says only the Domain and whether
// they are for Stored lives. It changes nothing. ErrStreamMissing says that one of them
// is not there; those before it are.
func Look(ctx context.Context, nc *nats.Conn, config Config) (found []Seen, err error) {
	h, err := newHistory(nc, config)
	if err != nil {
		return nil, err
	}
	for shard, shards := 0, 1; shard < shards; shard++ {
		stream, err := h.jetStream().Stream(ctx, h.streamName(shard))
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			err = ErrStreamMissing
		}
		if err != nil {
			return found, fmt.Errorf("stream %s: %w", h.streamName(shard), err)
		}
		info := stream.CachedInfo()
		if written, err := strconv.Atoi(info.Config.Metadata[shardsKey]); shard == 0 && err == nil {
			shards = min(written, MaxShards)
		}
		found = append(found, Seen{info, h.config.checkStream(info.Config, shard)})
	}
	return found, nil
}

package devcluster

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/relay/history"
)

// historyTimeout bounds how long a region's streams may take to be changed.
const historyTimeout = 5 * time.Second

// RefuseEdits makes the region's history streams full, so that they refuse every append
// as a full disk would, or takes their limit away again.
func (r *Region) RefuseEdits(ctx context.Context, refuse bool) error {
	ctx, cancel := context.WithTimeout(ctx, historyTimeout)
	defer cancel()
	nc, err := nats.Connect("", nats.InProcessServer(r.NATS))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	limit := int64(-1)
	if refuse {
		limit = 1
	}
	var errs []error
	for _, name := range []func(shard int) string{history.StreamName, history.StoredStreamName} {
		errs = append(errs, limitStreams(ctx, js, name, limit))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	r.full.Store(refuse)
	return nil
}

// limitStreams gives the streams of all shards a limit in bytes.
func limitStreams(ctx context.Context, js jetstream.JetStream, name func(shard int) string, limit int64) error {
	var errs []error
	for shard := 0; ; shard++ {
		stream, err := js.Stream(ctx, name(shard))
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return errors.Join(errs...)
		}
		if err != nil {
			return err
		}
		config := stream.CachedInfo().Config
		config.MaxBytes = limit
		if _, err := js.UpdateStream(ctx, config); err != nil {
			errs = append(errs, err)
		}
	}
}

// RefusesEdits reports whether RefuseEdits has made it so.
func (r *Region) RefusesEdits() bool { return r.full.Load() }

// Cut cuts the region's nodes off from all registries, or connects them again.
func (r *Region) Cut(cut bool) {
	r.cut.Store(cut)
	for _, n := range r.Nodes {
		n.mu.Lock()
		registry := n.registry
		n.mu.Unlock()
		switch {
		case registry == nil:
		case cut:
			registry.cut()
		default:
			registry.heal()
		}
	}
}

// IsCut reports whether Cut has made it so.
func (r *Region) IsCut() bool { return r.cut.Load() }

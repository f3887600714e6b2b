package main

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

// setFull makes the region's history streams full, so that they refuse every append
// as a full disk would, or takes their limit away again.
func (r *devRegion) setFull(ctx context.Context, full bool) error {
	nc, err := nats.Connect("", nats.InProcessServer(r.nats))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	limit := int64(-1)
	if full {
		limit = 1
	}
	var errs []error
	for _, name := range []func(shard int) string{history.StreamName, history.StoredStreamName} {
		errs = append(errs, limitStreams(ctx, js, name, limit))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	r.full.Store(full)
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

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
	for shard := 0; ; shard++ {
		stream, err := js.Stream(ctx, history.StreamName(shard))
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			break
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
	if err := errors.Join(errs...); err != nil {
		return err
	}
	r.full.Store(full)
	return nil
}

package history

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/internal/pause"
)

// How often the streams are looked at: now and then without a reason, because a
// pod whose rooms are idle would not notice an empty history; soon after an
// append had trouble, but not more often than the leader can bear from a thousand
// pods at once.
const (
	checkEvery = time.Minute
	checkPause = time.Second
)

// check looks after the streams: it creates again what an operator deleted, and
// notices when another pod did so.
type check struct {
	h        *History
	suspects atomic.Uint64 // by shard
	wake     chan struct{} // holds one notice
	stop     context.CancelFunc
	running  sync.WaitGroup

	highest []uint64 // by shard, owned by the goroutine of the acknowledgements
	failing uint64   // the shards that cannot be used; owned by run
}

func newCheck(h *History) *check {
	ctx, stop := context.WithCancel(context.Background())
	c := &check{h: h, wake: make(chan struct{}, 1), stop: stop, highest: make([]uint64, h.shards)}
	c.running.Go(func() { c.run(ctx) })
	return c
}

func (c *check) close() {
	c.stop()
	c.running.Wait()
}

// suspect asks for a look at a shard.
func (c *check) suspect(shard int) {
	c.suspects.Or(1 << shard)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// stored notes an acknowledged sequence. Sequences go up as long as the stream
// lives; one that was created anew begins at 1.
func (c *check) stored(shard int, seq uint64) {
	if seq < c.highest[shard] {
		c.suspect(shard)
	}
	c.highest[shard] = seq
}

func (c *check) run(ctx context.Context) {
	for {
		// Half to one and a half times the period, so that pods do not come in step.
		timer := time.NewTimer(checkEvery/2 + rand.N(checkEvery))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			c.suspects.Store(1<<c.h.shards - 1)
		case <-c.wake:
			timer.Stop()
		}
		c.look(ctx, c.suspects.Swap(0))
		if !pause.For(ctx, checkPause) {
			return
		}
	}
}

// look looks at the shards of a set; what cannot be told now is looked at again.
func (c *check) look(ctx context.Context, shards uint64) {
	for shard := range c.h.shards {
		if shards&(1<<shard) == 0 {
			continue
		}
		renewed, err := c.h.renew(ctx, shard)
		if ctx.Err() != nil {
			return
		}
		c.note(shard, err)
		if err != nil {
			c.suspect(shard)
			continue
		}
		if renewed {
			c.h.config.Log.Warn("history stream is a new one, live documents write their content again", "stream", c.h.streamName(shard))
			if c.h.config.Emptied != nil {
				c.h.config.Emptied(shard)
			}
		}
	}
}

// note says once of each stream that it cannot be used, and once that it can be again.
func (c *check) note(shard int, err error) {
	set := uint64(1) << shard
	switch failing := c.failing&set != 0; {
	case err != nil && !failing:
		c.failing |= set
		c.h.config.Log.Warn("history stream cannot be used", "stream", c.h.streamName(shard), "error", err)
	case err == nil && failing:
		c.failing &^= set
		c.h.config.Log.Info("history stream can be used again", "stream", c.h.streamName(shard))
	}
}

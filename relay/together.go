package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/oplog"
)

// Nodes of one region that use different NATS clusters do not hear each other: their
// users would be two groups that never meet, with every light green.

// about is for kvpin.Config: what a node says about itself to the others of its region.
func about(b *bus.Bus) kvpin.About {
	return kvpin.About{Cluster: b.Cluster(), Protocol: oplog.Version, Can: []string{kvpin.CanStore, kvpin.CanKeep, kvpin.CanMove}}
}

// errApart is wrapped by what Apart returns.
var errApart = errors.New("this node does not belong together with others of its region")

// apartMost is how long a running node stands it that others of its region seem not
// to belong together with it: when NATS servers are restarted, one tells so before the
// other. A node that has just started stands it for no time.
const apartMost = 15 * time.Second

// strangers are nodes that are in the region by name and do not belong together with this
// one. A node takes no clients while those that were here before it do not belong together
// with it: of two groups that do not meet, the newcomers step back.
type strangers struct {
	registry *kvpin.Registry
	started  time.Time // when this node did
	log      *slog.Logger

	since atomic.Pointer[time.Time] // since when they are in the region; nil: none are
}

// Apart returns an error while nodes that were in this region before this one do not
// belong together with it: clients that came here would not meet theirs.
func (n *Node) Apart() error { return n.strangers.apart() }

// apart returns an error while nodes that were in this region before this one do not
// belong together with it: clients that came here would not meet theirs.
func (s *strangers) apart() error {
	since := s.since.Load()
	if time.Since(s.started) > apartMost && (since == nil || time.Since(*since) < apartMost) {
		return nil
	}
	var why []string
	for _, other := range s.registry.Strangers() {
		if other.Earlier {
			why = append(why, fmt.Sprintf("%s: %s", other.Node, other.Why))
		}
	}
	if len(why) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", errApart, strings.Join(why, "; "))
}

// strangersEvery is how often a node looks for others that do not belong together with
// it, which it has in memory.
const strangersEvery = 2 * time.Second

// run logs when nodes appear in the region that do not belong together with
// this one, and when they are gone, until ctx ends.
func (s *strangers) run(ctx context.Context) {
	ticker := time.NewTicker(strangersEvery)
	defer ticker.Stop()
	known := ""
	for {
		var lines []string
		for _, other := range s.registry.Strangers() {
			lines = append(lines, fmt.Sprintf("%s: %s", other.Node, other.Why))
		}
		found := strings.Join(lines, "; ")
		switch {
		case found == known:
		case found == "":
			s.log.Info("all nodes of the region belong together again")
		default:
			s.log.Error("nodes of this region do not belong together: their users do not meet", "nodes", found)
		}
		known = found
		if now := time.Now(); found == "" {
			s.since.Store(nil)
		} else if s.since.Load() == nil {
			s.since.Store(&now)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

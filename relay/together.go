package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

// ErrApart is wrapped by what Apart returns.
var ErrApart = errors.New("this node does not belong together with others of its region")

// apartPatience is how long a running node stands it that others of its region seem not
// to belong together with it: when NATS servers are restarted, one tells so before the
// other. A node that has just started stands it for no time.
const apartMost = 15 * time.Second

// Apart returns an error while nodes that were in this region before this one do not
// belong together with it: clients that came here would not meet theirs.
func (n *Node) Apart() error {
	since := n.apartSince.Load()
	if time.Since(n.started) > apartMost && (since == nil || time.Since(*since) < apartMost) {
		return nil
	}
	var why []string
	for _, s := range n.cfg.Registry.Strangers() {
		if s.Earlier {
			why = append(why, fmt.Sprintf("%s: %s", s.Node, s.Why))
		}
	}
	if len(why) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrApart, strings.Join(why, "; "))
}

// strangersEvery is how often a node looks for others that do not belong together with
// it, which it has in memory.
const strangersEvery = 2 * time.Second

// meetStrangers logs when nodes appear in the region that do not belong together with
// this one, and when they are gone.
func (n *Node) meetStrangers(ctx context.Context) {
	ticker := time.NewTicker(strangersEvery)
	defer ticker.Stop()
	known := ""
	for {
		var lines []string
		for _, s := range n.cfg.Registry.Strangers() {
			lines = append(lines, fmt.Sprintf("%s: %s", s.Node, s.Why))
		}
		found := strings.Join(lines, "; ")
		switch {
		case found == known:
		case found == "":
			n.log.Info("all nodes of the region belong together again")
		default:
			n.log.Error("nodes of this region do not belong together: their users do not meet", "nodes", found)
		}
		known = found
		if now := time.Now(); found == "" {
			n.apartSince.Store(nil)
		} else if n.apartSince.Load() == nil {
			n.apartSince.Store(&now)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

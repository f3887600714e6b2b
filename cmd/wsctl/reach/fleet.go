package reach

import (
	"github.com/wsnode/wsnode/docid"

	"cmp"

	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/control"
)

// Fleet is the nodes of all regions that wsctl was pointed at.
type Fleet struct {
	URLs    []string
	clients []*control.Client
	conns   []*nats.Conn
	lost    error // says which NATS are not reached
}

// NodeClient is one node and the way to it.
type NodeClient struct {
	control.Identity
	*control.Client
}

// WithFleet connects to the regions for the time of f.
func (c *Clusters) WithFleet(f func(*Fleet) error) error {
	fl, err := c.openFleet()
	if err != nil {
		return err
	}
	defer fl.close()
	return f(fl)
}

func (c *Clusters) openFleet() (*Fleet, error) {
	targets, err := c.Targets()
	if err != nil {
		return nil, err
	}
	fl := &Fleet{}
	for _, t := range targets {
		fl.URLs = append(fl.URLs, Redact(t.URL))
		nc, err := c.Connect(t)
		if err != nil {
			fl.lost = errors.Join(fl.lost, err)
			continue
		}
		fl.conns = append(fl.conns, nc)
		fl.clients = append(fl.clients, control.NewClient(nc, c.Timeout))
	}
	if len(fl.conns) == 0 {
		return nil, fl.lost
	}
	return fl, nil
}

func (fl *Fleet) close() {
	for _, nc := range fl.conns {
		nc.Close()
	}
}

// Nodes finds the nodes that answer, sorted by region and node. There may be none.
// The error says which NATS are not reached, where there may be more.
func (fl *Fleet) Nodes(ctx context.Context) (all []NodeClient, err error) {
	found := make([][]control.Identity, len(fl.clients))
	errs := make([]error, len(fl.clients))
	var wait sync.WaitGroup
	for i, client := range fl.clients {
		wait.Go(func() { found[i], errs[i] = client.Nodes(ctx) })
	}
	wait.Wait()
	seen := map[docid.NodeID]bool{}
	for i, some := range found {
		for _, id := range some {
			if !seen[id.Node] { // two targets may be one cluster
				seen[id.Node] = true
				all = append(all, NodeClient{id, fl.clients[i]})
			}
		}
	}
	slices.SortFunc(all, func(a, b NodeClient) int { return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Node, b.Node)) })
	return all, errors.Join(append(errs, fl.lost)...)
}

// Some are the nodes of those names, or all; it is an error if there are none. If
// all are asked for, there may be nodes and an error that says which NATS are not
// reached.
func (fl *Fleet) Some(ctx context.Context, names []string) ([]NodeClient, error) {
	all, err := fl.Nodes(ctx)
	if len(all) == 0 && err == nil {
		err = exit.With(exit.Unavailable, "no node answers on %s", strings.Join(fl.URLs, ", "))
	}
	if len(all) == 0 || len(names) == 0 {
		return all, err
	}
	chosen := make([]NodeClient, 0, len(names))
	for _, name := range names {
		i := slices.IndexFunc(all, func(n NodeClient) bool { return n.Node == docid.NodeID(name) })
		if i < 0 && err != nil {
			return nil, fmt.Errorf("no node %s answers elsewhere: %w", name, err)
		}
		if i < 0 {
			return nil, exit.With(exit.NotFound, "no node %s answers on %s", name, strings.Join(fl.URLs, ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// atOnce is how many nodes are asked at the same time.
const atOnce = 32

// Gather asks all nodes the same and returns the answers in the order of the
// nodes. Nodes that do not answer are in the error.
func Gather[A any](nodes []NodeClient, ask func(NodeClient) (A, error)) (answers []A, err error) {
	all := make([]A, len(nodes))
	errs := make([]error, len(nodes))
	var wait sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i, n := range nodes {
		places <- struct{}{}
		wait.Go(func() {
			all[i], errs[i] = ask(n)
			<-places
		})
	}
	wait.Wait()
	for i, answer := range all {
		if errs[i] == nil {
			answers = append(answers, answer)
		}
	}
	return answers, errors.Join(errs...)
}

// Each streams rows of one node after the other.
func Each[T, R any](nodes []NodeClient, rows func(NodeClient) iter.Seq2[T, error], row func(NodeClient, T) R) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		for _, n := range nodes {
			for v, err := range rows(n) {
				if !yield(row(n, v), err) {
					return
				}
			}
		}
	}
}

// IsNotFound reports whether a node said that it does not have what was asked for.
func IsNotFound(err error) bool {
	var refused *control.Error
	return errors.As(err, &refused) && refused.Code == control.CodeNotFound
}

// IsGone reports whether a node said that what was asked for is deleted, or not there.
func IsGone(err error) bool {
	var refused *control.Error
	return errors.As(err, &refused) && (refused.Code == control.CodeGone || refused.Code == control.CodeNotFound)
}

// Mover is the node that is asked to move a document: one that has it open, or any of its
// region, by turns.
func Mover(all []NodeClient, info kvpin.PinInfo, turn int) (n NodeClient, found bool) {
	var region []NodeClient
	for _, n := range all {
		if n.Region != info.Pin.Region {
			continue
		}
		if slices.ContainsFunc(info.Pin.Holders, func(h kvpin.Holder) bool { return h.Node == n.Node }) {
			return n, true
		}
		region = append(region, n)
	}
	if len(region) == 0 {
		return NodeClient{}, false
	}
	return region[turn%len(region)], true
}

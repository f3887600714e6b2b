package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/relay/control"
)

// fleet is the nodes of all regions that wsctl was pointed at.
type fleet struct {
	urls    []string
	clients []*control.Client
	conns   []*nats.Conn
	lost    error // says which NATS are not reached: they hide no other
}

// node is one node and the way to it.
type node struct {
	control.Identity
	*control.Client
}

// withFleet connects to the regions for the time of f.
func (c *cli) withFleet(f func(*fleet) error) error {
	fl, err := c.openFleet()
	if err != nil {
		return err
	}
	defer fl.close()
	return f(fl)
}

func (c *cli) openFleet() (*fleet, error) {
	targets, err := c.reach.targets()
	if err != nil {
		return nil, err
	}
	fl := &fleet{}
	for _, t := range targets {
		fl.urls = append(fl.urls, redact(t.url))
		nc, err := c.reach.connect(t)
		if err != nil {
			fl.lost = errors.Join(fl.lost, err)
			continue
		}
		fl.conns = append(fl.conns, nc)
		fl.clients = append(fl.clients, control.NewClient(nc, c.reach.timeout))
	}
	if len(fl.conns) == 0 {
		return nil, fl.lost
	}
	return fl, nil
}

func (fl *fleet) close() {
	for _, nc := range fl.conns {
		nc.Close()
	}
}

// nodes finds the nodes that answer, sorted by region and node. There may be none.
// The error says what may hide others.
func (fl *fleet) nodes(ctx context.Context) (all []node, err error) {
	found := make([][]control.Identity, len(fl.clients))
	errs := make([]error, len(fl.clients))
	var wait sync.WaitGroup
	for i, client := range fl.clients {
		wait.Go(func() { found[i], errs[i] = client.Nodes(ctx) })
	}
	wait.Wait()
	seen := map[string]bool{}
	for i, some := range found {
		for _, id := range some {
			if !seen[id.Node] { // two targets may be one cluster
				seen[id.Node] = true
				all = append(all, node{id, fl.clients[i]})
			}
		}
	}
	slices.SortFunc(all, func(a, b node) int { return strings.Compare(a.Region+" "+a.Node, b.Region+" "+b.Node) })
	return all, errors.Join(append(errs, fl.lost)...)
}

// some are the nodes of those names, or all; it is an error if there are none. If
// all are asked for, there may be nodes and an error that says what hides others.
func (fl *fleet) some(ctx context.Context, names []string) ([]node, error) {
	all, err := fl.nodes(ctx)
	if len(all) == 0 && err == nil {
		err = failed(exitUnavailable, "no node answers on %s", strings.Join(fl.urls, ", "))
	}
	if len(all) == 0 || len(names) == 0 {
		return all, err
	}
	chosen := make([]node, 0, len(names))
	for _, name := range names {
		i := slices.IndexFunc(all, func(n node) bool { return n.Node == name })
		if i < 0 && err != nil {
			return nil, fmt.Errorf("no node %s answers elsewhere: %w", name, err)
		}
		if i < 0 {
			return nil, failed(exitNotFound, "no node %s answers on %s", name, strings.Join(fl.urls, ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// atOnce is how many nodes are asked at the same time.
const atOnce = 32

// gather asks all nodes the same and returns the answers in the order of the
// nodes. Nodes that do not answer are in the error.
func gather[A any](nodes []node, ask func(node) (A, error)) (answers []A, err error) {
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

// each streams rows of one node after the other.
func each[T, R any](nodes []node, rows func(node) iter.Seq2[T, error], row func(node, T) R) iter.Seq2[R, error] {
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

// notFound reports whether a node said that it does not have what was asked for.
func notFound(err error) bool {
	var refused *control.Error
	return errors.As(err, &refused) && refused.Code == control.CodeNotFound
}

// The groups of verbs in help.
const (
	groupRead   = "read"
	groupChange = "change"
)

// noun makes a command that only holds verbs, those that change something apart.
func noun(use, short string, read, change []*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	add := func(group, title string, verbs []*cobra.Command) {
		if len(verbs) == 0 {
			return
		}
		cmd.AddGroup(&cobra.Group{ID: group, Title: title})
		for _, v := range verbs {
			v.GroupID = group
			cmd.AddCommand(v)
		}
	}
	add(groupRead, "Commands that only look:", read)
	add(groupChange, "Commands that change something, and ask before:", change)
	return cmd
}

// exactly is cobra.ExactArgs with names for what is expected; nothing: no argument.
func exactly(what ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(what) {
			return failed(exitUsage, "%s: expected %s", cmd.CommandPath(), cmp.Or(strings.Join(what, " "), "no argument"))
		}
		return nil
	}
}

// plural spells a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

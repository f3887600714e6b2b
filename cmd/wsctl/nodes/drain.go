package nodes

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/internal/pause"
	"github.com/wsnode/wsnode/relay/control"
)

func drainCommand(c *command.Env) *cobra.Command {
	var delay, spread, patience time.Duration
	var wait bool
	var yes console.ConfirmFlag
	cmd := &cobra.Command{
		Use:   "drain NODE...",
		Short: "Take nodes out of service: their clients go to other nodes",
		Long: `Take nodes out of service. A node that drains says 503 at /health and not ready
at /readyz at once; after --delay, in which balancers notice, it takes no new
clients and ends its sessions with code 1012, evenly over --spread. It goes on
running, without clients, until it is stopped; there is no way back but a start.`,
		Args:              command.Some("NODE..."),
		ValidArgsFunction: command.CompleteNodes(c.Clusters),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return c.Clusters.WithFleet(func(fl *reach.Fleet) error {
				nodes, err := fl.Some(ctx, args)
				if err != nil {
					return err
				}
				infos, err := reach.Gather(nodes, func(n reach.NodeClient) (control.Info, error) { return n.Info(ctx, n.Node) })
				if err != nil {
					return err
				}
				sessions := 0
				for _, i := range infos {
					sessions += i.Connections
				}
				if err := c.Confirm(&yes, "Drain %s with %s?", strings.Join(args, ", "), console.Plural(sessions, "session")); err != nil {
					return err
				}
				_, err = reach.Gather(nodes, func(n reach.NodeClient) (struct{}, error) { return struct{}{}, n.Drain(ctx, n.Node, delay, spread) })
				if err != nil {
					return err
				}
				c.Done("draining %s", strings.Join(args, ", "))
				if !wait {
					return nil
				}
				ctx, cancel := context.WithTimeout(ctx, patience)
				defer cancel()
				pause.For(ctx, delay) // clients may come until then
				return waitDrained(ctx, c, nodes)
			})
		},
	}
	fl := cmd.Flags()
	fl.DurationVar(&delay, "delay", 0, "how long to keep serving while balancers notice")
	fl.DurationVar(&spread, "spread", 10*time.Second, "time over which sessions are ended after that")
	fl.BoolVar(&wait, "wait", false, "wait until no session and no document is left")
	fl.DurationVar(&patience, "patience", 10*time.Minute, "how long to wait at most, with --wait")
	yes.Register(cmd)
	return cmd
}

// waitDrained waits until the nodes have no clients and no documents. That holds for a
// node that was stopped meanwhile: NATS says that nobody listens. A node that only does
// not answer may still have some.
func waitDrained(ctx context.Context, c *command.Env, nodes []reach.NodeClient) error {
	for {
		infos, err := reach.Gather(nodes, func(n reach.NodeClient) (control.Info, error) {
			info, err := n.Info(ctx, n.Node)
			if errors.Is(err, nats.ErrNoResponders) {
				return control.Info{}, nil
			}
			return info, err
		})
		sessions, documents := 0, 0
		for _, i := range infos {
			sessions += i.Connections
			documents += i.Documents
		}
		if sessions == 0 && documents == 0 && err == nil {
			c.Done("drained")
			return nil
		}
		if !pause.For(ctx, time.Second) {
			left := exit.With(exit.Failed, "not drained: %s and %s are left", console.Plural(sessions, "session"), console.Plural(documents, "document"))
			return errors.Join(left, err)
		}
	}
}

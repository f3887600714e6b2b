package sessions

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/control"
)

// kickFlags say how sessions are ended.
type kickFlags struct {
	code      int
	reason    string
	permanent bool
}

// Close codes of kicks. y-websocket comes back after all but 4400 to 4499.
const (
	kickCode          = closecode.Restart
	kickPermanentCode = closecode.Kicked
)

func kickCommand(c *command.Env) *cobra.Command {
	var f Flags
	var k kickFlags
	var yes console.ConfirmFlag
	cmd := &cobra.Command{
		Use:   "kick [NODE/ID...]",
		Short: "End sessions: those that are named, or those that the flags select",
		Long: `End sessions: those that are named, or those that the flags select. Clients come
back at once, except with --permanent: y-websocket takes the codes 4400 to 4499
as final. That keeps a client away until its page is loaded again; to keep its
user away, take the token's rights.`,
		ValidArgsFunction: completeSessions(c.Clusters),
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := f.Filter()
			if err == nil {
				err = k.check(cmd)
			}
			if err != nil {
				return err
			}
			return c.Clusters.WithFleet(func(fl *reach.Fleet) error { return kick(cmd.Context(), c, fl, args, &f, filter, &k, &yes) })
		},
	}
	f.Register(c, cmd)
	fl := cmd.Flags()
	fl.IntVar(&k.code, "code", 0, fmt.Sprintf("close code: 1012, 1013 or 4000 to 4999 (default %d, with --permanent %d)", kickCode, kickPermanentCode))
	fl.StringVar(&k.reason, "reason", "Disconnected by an operator", "what the client is told, at most 123 bytes")
	fl.BoolVar(&k.permanent, "permanent", false, "y-websocket clients shall not come back")
	yes.Register(cmd)
	return cmd
}

func (k *kickFlags) check(cmd *cobra.Command) error {
	if !cmd.Flags().Changed("code") {
		k.code = kickCode
		if k.permanent {
			k.code = kickPermanentCode
		}
	}
	switch {
	case k.permanent && !closecode.Permanent(k.code):
		return exit.WrongFlag("code", "%d: expected 4400 to 4499 with --permanent", k.code)
	case !closecode.Sendable(k.code):
		return exit.WrongFlag("code", "%d: expected 1012, 1013 or 4000 to 4999", k.code)
	case len(k.reason) > 123:
		return exit.WrongFlag("reason", "%d bytes: expected at most 123", len(k.reason))
	}
	return nil
}

// kick looks how many sessions it is about, asks, and ends them.
func kick(ctx context.Context, c *command.Env, fl *reach.Fleet, args []string, f *Flags, filter control.Filter, k *kickFlags, yes *console.ConfirmFlag) error {
	if len(args) == 0 && filter.Empty() {
		return exit.With(exit.Usage, "sessions kick: expected sessions as NODE/ID, or flags that select some; to end all, drain the node")
	}
	named := map[docid.NodeID][]uint64{}
	for _, arg := range args {
		node, id, err := parseSession(arg)
		if err != nil {
			return err
		}
		named[node] = append(named[node], id)
	}
	names := f.Nodes
	if len(names) == 0 { // those named, if any: others may be out of reach
		for node := range named {
			names = append(names, string(node))
		}
	}
	nodes, err := fl.Some(ctx, names)
	if err != nil {
		return err
	}
	end := func(dry bool) (total int, err error) {
		answers, err := reach.Gather(nodes, func(n reach.NodeClient) (control.KickAnswer, error) {
			request := control.KickRequest{Filter: filter, Code: k.code, Reason: k.reason, DryRun: dry}
			if request.Filter.Sessions = named[n.Node]; len(args) > 0 && len(named[n.Node]) == 0 {
				return control.KickAnswer{}, nil
			}
			return n.Kick(ctx, n.Node, request)
		})
		for _, a := range answers {
			total += a.Sessions
		}
		return total, err
	}
	total, err := end(true)
	if err != nil {
		return err
	}
	if total == 0 {
		return exit.With(exit.NotFound, "no such session")
	}
	if err := c.Confirm(yes, "End %s with code %d, %q?", console.Plural(total, "session"), k.code, k.reason); err != nil {
		return err
	}
	total, err = end(false)
	c.Done("ended %s", console.Plural(total, "session"))
	return err
}

// completeSessions completes sessions as NODE/ID.
func completeSessions(nats *reach.Clusters) cobra.CompletionFunc {
	return command.CompleteNames(nats, func(ctx context.Context, typed string, add func(string) bool) {
		named, _, whole := strings.Cut(typed, "/")
		command.EachNode(ctx, nats, func(n reach.NodeClient) bool {
			if whole && string(n.Node) != named || !strings.HasPrefix(string(n.Node), named) {
				return true
			}
			for s, err := range n.Sessions(ctx, n.Node, control.Filter{}) {
				if err != nil || !add(sessionName(n.Node, s.ID)) {
					return false
				}
			}
			return true
		})
	})
}

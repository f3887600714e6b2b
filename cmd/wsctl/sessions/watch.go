package sessions

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
)

// sessionEvent is a line of sessions watch.
type sessionEvent struct {
	At     time.Time `json:"at"`
	Event  string    `json:"event"` // joined or left
	Code   int       `json:"code,omitempty"`
	Reason string    `json:"reason,omitempty"`
	sessionRow
}

var sessionEventColumns = append([]console.Column[sessionEvent]{
	console.Shown("AT", func(e sessionEvent) string { return console.ClockTime(e.At) }),
	console.Shown("EVENT", func(e sessionEvent) string { return e.Event }),
	console.Shown("CODE", func(e sessionEvent) string {
		if e.Event == "joined" {
			return "-"
		}
		return strings.TrimSpace(fmt.Sprint(e.Code, " ", e.Reason))
	}),
}, console.Widen(sessionColumns, func(e sessionEvent) sessionRow { return e.sessionRow })...)

func watchSessionsCommand(c *command.Env) *cobra.Command {
	var f Flags
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Print each session, then who joins and leaves, until Ctrl-C",
		Args:  command.Exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := f.Filter()
			if err != nil {
				return err
			}
			return c.Clusters.WithFleet(func(fl *reach.Fleet) error { return watchSessions(cmd.Context(), c, fl, f.Nodes, filter, interval) })
		},
	}
	f.Register(c, cmd)
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "how often the nodes are asked")
	return cmd
}

// watchSessions asks each node for what came after the last that it said.
func watchSessions(ctx context.Context, c *command.Env, fl *reach.Fleet, names []string, f control.Filter, interval time.Duration) error {
	var out *console.Events[sessionEvent]
	seen := map[docid.NodeID]*watched{}
	return command.Watcher{Env: c, Interval: interval}.Nodes(ctx, fl, names, func(n reach.NodeClient) error {
		if out == nil { // who is there is about to come, and decides how wide the columns are
			out = console.NewEvents(c.Console, sessionEventColumns)
		}
		if seen[n.Node] == nil {
			seen[n.Node] = &watched{}
		}
		return seen[n.Node].look(ctx, n, f, out)
	})
}

// watched is what was seen of a node's sessions.
type watched struct {
	asked  bool
	joined uint64 // the session that began last
	left   uint64 // the end that came last
}

// look prints what is new.
func (w *watched) look(ctx context.Context, n reach.NodeClient, f control.Filter, out *console.Events[sessionEvent]) error {
	// Ends first, so that no session ends before it was seen to begin.
	recent, err := n.Recent(ctx, n.Node, control.RecentRequest{AfterRefusal: never, AfterEnded: w.left})
	if err != nil {
		return err
	}
	for s, err := range n.SessionsAfter(ctx, n.Node, f, w.joined) {
		if err != nil {
			return err
		}
		w.joined = s.ID
		if err := out.Print(sessionEvent{At: s.Since, Event: "joined", sessionRow: newSessionRow(n, s)}); err != nil {
			return err
		}
	}
	for _, e := range recent.Ended.Rows {
		if !w.asked || !f.Takes(e.Session) { // at first, only who is there
			continue
		}
		event := sessionEvent{At: e.At, Event: "left", Code: e.Code, Reason: e.Reason, sessionRow: newSessionRow(n, e.Session)}
		if err := out.Print(event); err != nil {
			return err
		}
	}
	w.asked, w.left = true, recent.Ended.Next
	return nil
}

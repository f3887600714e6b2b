// Package sessions shows clients that are connected, ends their sessions, and shows those that
// were turned away.
package sessions

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/control"
)

// sessionRow is a session as it is printed.
type sessionRow struct {
	Name     string `json:"session"` // NODE/ID, what kick takes
	Node     string `json:"node"`
	Region   string `json:"region"`
	Document string `json:"document"`
	control.Session
}

func newSessionRow(n reach.NodeClient, s control.Session) sessionRow {
	return sessionRow{sessionName(n.Node, s.ID), n.Node, n.Region, s.Document.String(), s}
}

func sessionName(node string, id uint64) string { return node + "/" + control.SessionID(id) }

// parseSession is the inverse of sessionName.
func parseSession(arg string) (node string, id uint64, err error) {
	node, word, ok := strings.Cut(arg, "/")
	if ok {
		id, err = control.ParseSessionID(word)
	}
	if !ok || err != nil {
		return "", 0, exit.With(exit.Usage, "%q: expected a session as NODE/ID, as sessions list prints it", arg)
	}
	return node, id, nil
}

var sessionColumns = []console.Column[sessionRow]{
	console.Shown("SESSION", func(r sessionRow) string { return r.Name }),
	console.Shown("DOCUMENT", func(r sessionRow) string { return r.Document }),
	console.Shown("REMOTE", func(r sessionRow) string { return r.Remote }),
	console.Shown("SINCE", func(r sessionRow) string { return console.Ago(r.Since) }),
	console.Shown("FRAMES IN", func(r sessionRow) string { return console.Count(r.FramesIn) }),
	console.Shown("FRAMES OUT", func(r sessionRow) string { return console.Count(r.FramesOut) }),
	console.Shown("KIB IN", func(r sessionRow) string { return console.KiB(r.BytesIn) }),
	console.Shown("KIB OUT", func(r sessionRow) string { return console.KiB(r.BytesOut) }),
	console.Shown("QUEUE KIB", func(r sessionRow) string { return console.KiB(r.Queued) }),
	console.Shown("RTT MS", func(r sessionRow) string { return console.Millis(r.RTT) }),
	console.Wide("REGION", func(r sessionRow) string { return r.Region }),
	console.Wide("READ-ONLY", func(r sessionRow) string { return fmt.Sprint(r.ReadOnly) }),
	console.Wide("USER AGENT", func(r sessionRow) string { return r.UserAgent }),
}

// Flags select sessions.
type Flags struct {
	Nodes                                  []string
	license, tenant, app, document, remote string
}

// Register adds the flags, with completions.
func (f *Flags) Register(c *command.Env, cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringArrayVar(&f.Nodes, "node", nil, "only this node; repeat for more")
	fl.StringVar(&f.tenant, "tenant", "", "only this tenant")
	fl.StringVar(&f.app, "app", "", "only this app")
	fl.StringVar(&f.license, "license", "", "only this license region (dbCode)")
	fl.StringVar(&f.document, "document", "", "only this document, as tenant/app/name, dbCode/tenant/app/name or just the name, with --app if it could be a whole document")
	fl.StringVar(&f.remote, "remote", "", "only clients of this IP address")
	command.CompleteFlags(c.Clusters, cmd)
	_ = cmd.RegisterFlagCompletionFunc("document", command.CompleteDocuments(c.Clusters)) // fails only for a flag that has one
}

// Filter is what the nodes are asked for.
func (f *Flags) Filter() (control.Filter, error) {
	filter := control.Filter{
		License: docid.LicenseRegion(f.license), Tenant: docid.Tenant(f.tenant), App: docid.App(f.app), Remote: f.remote,
	}
	if err := checkRemote(f.remote); err != nil || f.document == "" {
		return filter, err
	}
	doc, err := reach.ParseDocument(f.document)
	other := f.tenant != "" && f.tenant != string(doc.Tenant) || f.app != "" && f.app != string(doc.App)
	if err != nil || other { // not a whole document: a name, which may hold slashes too
		name, err := docid.Parse(f.document)
		if err != nil {
			return filter, exit.WrongFlag("document", "%q: %v", f.document, err)
		}
		filter.Document = name
		return filter, nil
	}
	filter.Tenant, filter.App, filter.Document = doc.Tenant, doc.App, doc.Name
	if doc.License != "" {
		filter.License = doc.License
	}
	return filter, nil
}

// checkRemote takes an address also with the port that listings of sessions show.
func checkRemote(remote string) error {
	_, err := netip.ParseAddr(remote)
	if _, withPort := netip.ParseAddrPort(remote); remote != "" && err != nil && withPort != nil {
		return exit.WrongFlag("remote", "%q: expected an IP address", remote)
	}
	return nil
}

// Command makes the noun sessions.
func Command(c *command.Env) *cobra.Command {
	return command.Noun("sessions", "Which clients are connected", []*cobra.Command{listSessionsCommand(c), watchSessionsCommand(c)}, []*cobra.Command{kickCommand(c)})
}

func listSessionsCommand(c *command.Env) *cobra.Command {
	var f Flags
	var w command.WatchFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List sessions, node by node, the oldest first",
		Args:  command.Exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := f.Filter()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			return command.ListNodes(ctx, c, &w, f.Nodes, sessionColumns, func(nodes []reach.NodeClient) iter.Seq2[sessionRow, error] { return sessionsOf(ctx, nodes, filter) })
		},
	}
	f.Register(c, cmd)
	w.Register(cmd)
	return cmd
}

func sessionsOf(ctx context.Context, nodes []reach.NodeClient, f control.Filter) iter.Seq2[sessionRow, error] {
	return reach.Each(nodes, func(n reach.NodeClient) iter.Seq2[control.Session, error] { return n.Sessions(ctx, n.Node, f) }, newSessionRow)
}

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
	seen := map[string]*watched{}
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
	named := map[string][]uint64{}
	for _, arg := range args {
		node, id, err := parseSession(arg)
		if err != nil {
			return err
		}
		named[node] = append(named[node], id)
	}
	names := f.Nodes
	if len(names) == 0 { // those named, if any: others may be out of reach
		names = slices.Collect(maps.Keys(named))
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
			if whole && n.Node != named || !strings.HasPrefix(n.Node, named) {
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

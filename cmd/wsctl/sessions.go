package main

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

func newSessionRow(n node, s control.Session) sessionRow {
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
		return "", 0, failed(exitUsage, "%q: expected a session as NODE/ID, as sessions list prints it", arg)
	}
	return node, id, nil
}

var sessionColumns = []column[sessionRow]{
	{"SESSION", false, func(r sessionRow) string { return r.Name }},
	{"DOCUMENT", false, func(r sessionRow) string { return r.Document }},
	{"REMOTE", false, func(r sessionRow) string { return r.Remote }},
	{"SINCE", false, func(r sessionRow) string { return ago(r.Since) }},
	{"FRAMES IN", false, func(r sessionRow) string { return count(r.FramesIn) }},
	{"FRAMES OUT", false, func(r sessionRow) string { return count(r.FramesOut) }},
	{"KIB IN", false, func(r sessionRow) string { return kib(r.BytesIn) }},
	{"KIB OUT", false, func(r sessionRow) string { return kib(r.BytesOut) }},
	{"QUEUE KIB", false, func(r sessionRow) string { return kib(r.Queued) }},
	{"RTT MS", false, func(r sessionRow) string { return millis(r.RTT) }},
	{"REGION", true, func(r sessionRow) string { return r.Region }},
	{"READ-ONLY", true, func(r sessionRow) string { return fmt.Sprint(r.ReadOnly) }},
	{"USER AGENT", true, func(r sessionRow) string { return r.UserAgent }},
}

func millis(ms float64) string {
	if ms == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", ms)
}

// sessionFlags select sessions.
type sessionFlags struct {
	nodes                                  []string
	license, tenant, app, document, remote string
}

func (f *sessionFlags) register(c *cli, cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringArrayVar(&f.nodes, "node", nil, "only this node; repeat for more")
	fl.StringVar(&f.tenant, "tenant", "", "only this tenant")
	fl.StringVar(&f.app, "app", "", "only this app")
	fl.StringVar(&f.license, "license", "", "only this license region (dbCode)")
	fl.StringVar(&f.document, "document", "", "only this document, as tenant/app/name, dbCode/tenant/app/name or just the name, with --app if it could be a whole document")
	fl.StringVar(&f.remote, "remote", "", "only clients of this IP address")
	c.completeFlags(cmd)
	_ = cmd.RegisterFlagCompletionFunc("document", c.completeDocuments) // fails only for a flag that has one
}

// filter is what the nodes are asked for.
func (f *sessionFlags) filter() (control.Filter, error) {
	filter := control.Filter{
		License: docid.LicenseRegion(f.license), Tenant: docid.Tenant(f.tenant), App: docid.App(f.app), Remote: f.remote,
	}
	if err := checkRemote(f.remote); err != nil || f.document == "" {
		return filter, err
	}
	doc, err := parseDocument(f.document)
	other := f.tenant != "" && f.tenant != string(doc.Tenant) || f.app != "" && f.app != string(doc.App)
	if err != nil || other { // not a whole document: a name, which may hold slashes too
		name, err := docid.Parse(f.document)
		if err != nil {
			return filter, wrongFlag("document", "%q: %v", f.document, err)
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
		return wrongFlag("remote", "%q: expected an IP address", remote)
	}
	return nil
}

func (c *cli) sessionsCommand() *cobra.Command {
	return noun("sessions", "Which clients are connected", []*cobra.Command{c.listSessionsCommand(), c.watchSessionsCommand()}, []*cobra.Command{c.kickCommand()})
}

func (c *cli) listSessionsCommand() *cobra.Command {
	var f sessionFlags
	var w watchFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List sessions, node by node, the oldest first",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := f.filter()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			return listNodes(ctx, c, &w, f.nodes, sessionColumns, func(nodes []node) iter.Seq2[sessionRow, error] { return sessionsOf(ctx, nodes, filter) })
		},
	}
	f.register(c, cmd)
	w.register(cmd)
	return cmd
}

func sessionsOf(ctx context.Context, nodes []node, f control.Filter) iter.Seq2[sessionRow, error] {
	return each(nodes, func(n node) iter.Seq2[control.Session, error] { return n.Sessions(ctx, n.Node, f) }, newSessionRow)
}

// sessionEvent is a line of sessions watch.
type sessionEvent struct {
	At     time.Time `json:"at"`
	Event  string    `json:"event"` // joined or left
	Code   int       `json:"code,omitempty"`
	Reason string    `json:"reason,omitempty"`
	sessionRow
}

var sessionEventColumns = append([]column[sessionEvent]{
	{"AT", false, func(e sessionEvent) string { return clockTime(e.At) }},
	{"EVENT", false, func(e sessionEvent) string { return e.Event }},
	{"CODE", false, func(e sessionEvent) string {
		if e.Event == "joined" {
			return "-"
		}
		return strings.TrimSpace(fmt.Sprint(e.Code, " ", e.Reason))
	}},
}, widen(sessionColumns, func(e sessionEvent) sessionRow { return e.sessionRow })...)

func (c *cli) watchSessionsCommand() *cobra.Command {
	var f sessionFlags
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Print each session, then who joins and leaves, until Ctrl-C",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := f.filter()
			if err != nil {
				return err
			}
			return c.withFleet(func(fl *fleet) error { return c.watchSessions(cmd.Context(), fl, f.nodes, filter, interval) })
		},
	}
	f.register(c, cmd)
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "how often the nodes are asked")
	return cmd
}

// watchSessions asks each node for what came after the last that it said.
func (c *cli) watchSessions(ctx context.Context, fl *fleet, names []string, f control.Filter, interval time.Duration) error {
	var out *events[sessionEvent]
	seen := map[string]*watched{}
	return c.follow(ctx, fl, names, interval, func(n node) error {
		if out == nil { // who is there is about to come, and decides how wide the columns are
			out = newEvents(c, sessionEventColumns)
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
func (w *watched) look(ctx context.Context, n node, f control.Filter, out *events[sessionEvent]) error {
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
		if err := out.print(sessionEvent{At: s.Since, Event: "joined", sessionRow: newSessionRow(n, s)}); err != nil {
			return closedError{err}
		}
	}
	for _, e := range recent.Ended.Rows {
		if !w.asked || !f.Takes(e.Session) { // at first, only who is there
			continue
		}
		event := sessionEvent{At: e.At, Event: "left", Code: e.Code, Reason: e.Reason, sessionRow: newSessionRow(n, e.Session)}
		if err := out.print(event); err != nil {
			return closedError{err}
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

func (c *cli) kickCommand() *cobra.Command {
	var f sessionFlags
	var k kickFlags
	var yes confirmFlag
	cmd := &cobra.Command{
		Use:   "kick [NODE/ID...]",
		Short: "End sessions: those that are named, or those that the flags select",
		Long: `End sessions: those that are named, or those that the flags select. Clients come
back at once, except with --permanent: y-websocket takes the codes 4400 to 4499
as final. That keeps a client away until its page is loaded again; to keep its
user away, take the token's rights.`,
		ValidArgsFunction: c.completeSessions(),
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := f.filter()
			if err == nil {
				err = k.check(cmd)
			}
			if err != nil {
				return err
			}
			return c.withFleet(func(fl *fleet) error { return c.kick(cmd.Context(), fl, args, &f, filter, &k, &yes) })
		},
	}
	f.register(c, cmd)
	fl := cmd.Flags()
	fl.IntVar(&k.code, "code", 0, fmt.Sprintf("close code: 1012, 1013 or 4000 to 4999 (default %d, with --permanent %d)", kickCode, kickPermanentCode))
	fl.StringVar(&k.reason, "reason", "Disconnected by an operator", "what the client is told, at most 123 bytes")
	fl.BoolVar(&k.permanent, "permanent", false, "y-websocket clients shall not come back")
	yes.register(cmd)
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
		return wrongFlag("code", "%d: expected 4400 to 4499 with --permanent", k.code)
	case !closecode.Sendable(k.code):
		return wrongFlag("code", "%d: expected 1012, 1013 or 4000 to 4999", k.code)
	case len(k.reason) > 123:
		return wrongFlag("reason", "%d bytes: expected at most 123", len(k.reason))
	}
	return nil
}

// kick looks how many sessions it is about, asks, and ends them.
func (c *cli) kick(ctx context.Context, fl *fleet, args []string, f *sessionFlags, filter control.Filter, k *kickFlags, yes *confirmFlag) error {
	if len(args) == 0 && filter.Empty() {
		return failed(exitUsage, "sessions kick: expected sessions as NODE/ID, or flags that select some; to end all, drain the node")
	}
	named := map[string][]uint64{}
	for _, arg := range args {
		node, id, err := parseSession(arg)
		if err != nil {
			return err
		}
		named[node] = append(named[node], id)
	}
	names := f.nodes
	if len(names) == 0 { // those named, if any: others may be out of reach
		names = slices.Collect(maps.Keys(named))
	}
	nodes, err := fl.some(ctx, names)
	if err != nil {
		return err
	}
	end := func(dry bool) (total int, err error) {
		answers, err := gather(nodes, func(n node) (control.KickAnswer, error) {
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
		return failed(exitNotFound, "no such session")
	}
	if err := c.confirm(yes, "End %s with code %d, %q?", plural(total, "session"), k.code, k.reason); err != nil {
		return err
	}
	total, err = end(false)
	c.done("ended %s", plural(total, "session"))
	return err
}

// Package sessions shows clients that are connected, ends their sessions, and shows those that
// were turned away.
package sessions

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
)

// sessionRow is a session as it is printed.
type sessionRow struct {
	Name     string       `json:"session"` // NODE/ID, what kick takes
	Node     docid.NodeID `json:"node"`
	Region   docid.Region `json:"region"`
	Document string       `json:"document"`
	control.Session
}

func newSessionRow(n reach.NodeClient, s control.Session) sessionRow {
	return sessionRow{sessionName(n.Node, s.ID), n.Node, n.Region, s.Document.String(), s}
}

func sessionName(node docid.NodeID, id uint64) string {
	return string(node) + "/" + control.SessionID(id)
}

// parseSession is the inverse of sessionName.
func parseSession(arg string) (node docid.NodeID, id uint64, err error) {
	name, word, ok := strings.Cut(arg, "/")
	if ok {
		id, err = control.ParseSessionID(word)
	}
	if !ok || err != nil {
		return "", 0, exit.With(exit.Usage, "%q: expected a session as NODE/ID, as sessions list prints it", arg)
	}
	return docid.NodeID(name), id, nil
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
	console.Wide("REGION", func(r sessionRow) string { return string(r.Region) }),
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

// Package trace shows what happens to a client that connects.
package trace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/cmd/wsctl/token"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
)

// Command makes the verb trace.
func Command(c *command.Env) *cobra.Command {
	var held token.Held
	var names []string
	var license, origin string
	var all bool
	cmd := &cobra.Command{
		Use:   "trace DOCUMENT",
		Short: "Show what happens to a client that connects now, step by step",
		Long: `Have a node of each region go through a connect without making one: token,
document, node, pin, limits, history, room, with times. With a token DOCUMENT is
the name that the client uses, or the whole document if it is the token's; without
one it is dbCode/tenant/app/name, and the token is taken as good. The dbCode of a
document that is live may be left out. The exit code is 1 when no node would admit
the client.`,
		Args:              command.Exactly("DOCUMENT"),
		ValidArgsFunction: command.CompleteDocuments(c.Clusters),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			given, err := held.Get(ctx, c)
			if err != nil {
				return err
			}
			request := control.TraceRequest{Token: given, Origin: origin}
			if given != "" {
				request.Name, err = nameToTrace(c, args[0], given)
				token.WarnOfFolding(c.Console, request.Name)
			} else {
				var doc docid.Document
				doc, err = documentToTrace(ctx, c, args[0], license)
				request = control.TraceRequest{Document: control.NewDocument(doc)}
				if twice := doc.Name + "/" + doc.Name; strings.HasSuffix(args[0], twice) && !strings.HasSuffix(doc.String(), args[0]) {
					token.WarnOfFolding(c.Console, twice)
				}
			}
			if err != nil {
				return err
			}
			return c.Clusters.WithFleet(func(fl *reach.Fleet) error { return trace(ctx, c, fl, names, all, request) })
		},
	}
	held.Register(cmd)
	fl := cmd.Flags()
	fl.StringArrayVar(&names, "node", nil, "ask this node; repeat for more (default: one of each region)")
	fl.BoolVar(&all, "all", false, "ask all nodes")
	fl.StringVar(&origin, "origin", "", "origin of the page that connects, which the token may restrict")
	command.LicenseFlag(c.Clusters, cmd, &license)
	return cmd
}

// nameToTrace is the name by which the token's client asks for a document. The token may
// come from the environment, where it is easily forgotten: a whole document of another
// app is then an error. Names may look like whole documents; what one is taken for is
// told.
func nameToTrace(c *command.Env, arg, given string) (name string, err error) {
	doc, err := reach.ParseDocument(arg)
	if err != nil {
		return arg, nil
	}
	var claims struct {
		Tenant      docid.Tenant        `json:"tenantId"`
		App         docid.App           `json:"appId"`
		License     docid.LicenseRegion `json:"dbCode"`
		LicenseCode docid.LicenseRegion `json:"licenseRegionCode"`
	}
	parts := strings.Split(given, ".")
	if len(parts) != 3 || token.DecodePart(parts[1], &claims) != nil {
		return arg, nil // the nodes say what is wrong with it
	}
	license := cmp.Or(claims.License, claims.LicenseCode)
	switch {
	case doc.Tenant == claims.Tenant && doc.App == claims.App && (doc.License == "" || doc.License == license):
		return doc.Name, nil
	case doc.License != "":
		return "", exit.With(exit.Usage, "%s is not of the token, which is for %s/%s/%s: trace it without the token", doc, license, claims.Tenant, claims.App)
	}
	c.Done("wsctl: %q is taken as a name in the token's %s/%s", arg, claims.Tenant, claims.App)
	return arg, nil
}

// documentToTrace is a document that need not be pinned; its license region must
// be known, though.
func documentToTrace(ctx context.Context, c *command.Env, arg, license string) (doc docid.Document, err error) {
	doc, err = c.Clusters.Document(ctx, arg, license)
	if err != nil && exit.Code(err) == exit.NotFound {
		err = exit.With(exit.Usage, "%w: give its license region, as dbCode/%s or by --license", err, arg)
	}
	return doc, err
}

func trace(ctx context.Context, c *command.Env, fl *reach.Fleet, names []string, all bool, r control.TraceRequest) error {
	nodes, lost := fl.Some(ctx, names)
	if len(nodes) == 0 {
		return lost
	}
	if len(names) == 0 && !all {
		nodes = oneOfEachRegion(nodes)
	}
	traces, err := reach.Gather(nodes, func(n reach.NodeClient) (control.Trace, error) { return n.Trace(ctx, n.Node, r) })
	if c.JSON() {
		if err := c.Value(traces); err != nil {
			return err
		}
	}
	open := 0
	for i, t := range traces {
		if t.Code == 0 {
			open++
		}
		if c.JSON() {
			continue
		}
		if i > 0 {
			fmt.Fprintln(c.Out)
		}
		if err := printTrace(c.Out, t); err != nil {
			return err
		}
	}
	if open == 0 && err == nil {
		err = exit.With(exit.Failed, "no node that was asked would admit the client")
	}
	return errors.Join(err, lost)
}

func oneOfEachRegion(nodes []reach.NodeClient) (some []reach.NodeClient) {
	seen := map[docid.Region]bool{}
	for _, n := range nodes {
		if !seen[n.Region] {
			seen[n.Region] = true
			some = append(some, n)
		}
	}
	return some
}

func printTrace(w io.Writer, t control.Trace) error {
	fmt.Fprintf(w, "%s in %s\n", t.Node, t.Region)
	table := tabwriter.NewWriter(w, 0, 0, console.ColumnGap, ' ', 0)
	for _, s := range t.Steps {
		mark := "ok"
		if !s.OK {
			mark = "no"
		}
		fmt.Fprintf(table, "  %s\t%s\t%.1fms\t%s\n", s.Name, mark, s.MS, console.Printable(s.Detail))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	outcome := "admitted"
	if t.Code != 0 {
		outcome = fmt.Sprintf("closed with %d %s", t.Code, console.Printable(t.Reason))
	}
	_, err := fmt.Fprintf(w, "  → %s\n", outcome)
	return err
}

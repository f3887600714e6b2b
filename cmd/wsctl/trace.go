package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/docname"
)

func (c *cli) traceCommand() *cobra.Command {
	var held heldToken
	var names []string
	var license, origin string
	var all bool
	cmd := &cobra.Command{
		Use:   "trace DOCUMENT",
		Short: "Show what happens to a client that connects now, step by step",
		Long: `Have a node of each region go through a connect without making one: token, pin,
node, limits, history, with times. With a token DOCUMENT is the name that the
client uses; without one it is tenant/app/name, and the token is taken as good.
The exit code is 1 when no node would admit the client.`,
		Args:              exactly("DOCUMENT"),
		ValidArgsFunction: c.completeDocuments,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			token, err := held.get(ctx, c)
			if err != nil {
				return err
			}
			request := control.TraceRequest{Token: token, Origin: origin, Name: args[0]}
			if token == "" {
				doc, err := c.documentToTrace(ctx, args[0], license)
				if err != nil {
					return err
				}
				request = control.TraceRequest{Document: control.NewDocument(doc)}
			}
			return c.withFleet(func(fl *fleet) error { return c.trace(ctx, fl, names, all, request) })
		},
	}
	held.register(cmd)
	fl := cmd.Flags()
	fl.StringArrayVar(&names, "node", nil, "ask this node; repeat for more (default: one of each region)")
	fl.BoolVar(&all, "all", false, "ask all nodes")
	fl.StringVar(&origin, "origin", "", "origin of the page that connects")
	c.licenseFlag(cmd, &license)
	return cmd
}

// documentToTrace is a document that need not be pinned; its license region must
// be known, though.
func (c *cli) documentToTrace(ctx context.Context, arg, license string) (doc docname.Document, err error) {
	if doc, err = parseDocument(arg); err != nil {
		return doc, err
	}
	if license != "" {
		doc.License = docname.LicenseRegion(license)
	}
	if doc.License != "" {
		return doc, nil
	}
	err = c.withRegistries(ctx, func(r *registries) error {
		doc, err = r.resolve(ctx, doc, "")
		return err
	})
	if err != nil && exitCode(err) == exitNotFound {
		err = failed(exitUsage, "%w: give its license region, as dbCode/%s or by --license", err, arg)
	}
	return doc, err
}

func (c *cli) trace(ctx context.Context, fl *fleet, names []string, all bool, r control.TraceRequest) error {
	nodes, lost := fl.some(ctx, names)
	if len(nodes) == 0 {
		return lost
	}
	if len(names) == 0 && !all {
		nodes = oneOfEachRegion(nodes)
	}
	traces, err := gather(nodes, func(n node) (control.Trace, error) { return n.Trace(ctx, n.Node, r) })
	if c.output == "json" {
		if err := writeJSON(c.out, "", traces, "\n"); err != nil {
			return err
		}
	}
	open := 0
	for i, t := range traces {
		if t.Code == 0 {
			open++
		}
		if c.output == "json" {
			continue
		}
		if i > 0 {
			fmt.Fprintln(c.out)
		}
		if err := printTrace(c.out, t); err != nil {
			return err
		}
	}
	if open == 0 && err == nil {
		err = failed(exitFailed, "no node that was asked would admit the client")
	}
	return errors.Join(err, lost)
}

func oneOfEachRegion(nodes []node) (some []node) {
	seen := map[string]bool{}
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
	table := tabwriter.NewWriter(w, 0, 0, columnGap, ' ', 0)
	for _, s := range t.Steps {
		mark := "ok"
		if !s.OK {
			mark = "no"
		}
		fmt.Fprintf(table, "  %s\t%s\t%.1fms\t%s\n", s.Name, mark, s.MS, printable(s.Detail))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	outcome := "admitted"
	if t.Code != 0 {
		outcome = fmt.Sprintf("closed with %d %s", t.Code, printable(t.Reason))
	}
	_, err := fmt.Fprintf(w, "  → %s\n", outcome)
	return err
}

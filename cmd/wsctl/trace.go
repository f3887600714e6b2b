package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
)

func (c *cli) traceCommand() *cobra.Command {
	var held heldToken
	var names []string
	var license, origin string
	var all bool
	cmd := &cobra.Command{
		Use:   "trace DOCUMENT",
		Short: "Show what happens to a client that connects now, step by step",
		Long: `Have a node of each region go through a connect without making one: token,
document, node, pin, limits, history, room, with times. With a token DOCUMENT is
the name that the client uses, or the whole document if it is the token's; without
one it is dbCode/tenant/app/name, and the token is taken as good. Of a document that
is live, dbCode is known.
The exit code is 1 when no node would admit the client.`,
		Args:              exactly("DOCUMENT"),
		ValidArgsFunction: c.completeDocuments,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			token, err := held.get(ctx, c)
			if err != nil {
				return err
			}
			request := control.TraceRequest{Token: token, Origin: origin}
			if token != "" {
				request.Name, err = c.nameToTrace(args[0], token)
				c.warnOfFolding(request.Name)
			} else {
				var doc docid.Document
				doc, err = c.documentToTrace(ctx, args[0], license)
				request = control.TraceRequest{Document: control.NewDocument(doc)}
				if twice := doc.Name + "/" + doc.Name; strings.HasSuffix(args[0], twice) && !strings.HasSuffix(doc.String(), args[0]) {
					c.warnOfFolding(twice)
				}
			}
			if err != nil {
				return err
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

// nameToTrace is the name by which the token's client asks for a document. The token
// may come from the environment, unthought of: who gives a whole document means that
// one. A name may look like one, though; what it is taken for is said then.
func (c *cli) nameToTrace(arg, token string) (name string, err error) {
	doc, err := parseDocument(arg)
	if err != nil {
		return arg, nil
	}
	var claims struct {
		Tenant      docid.Tenant        `json:"tenantId"`
		App         docid.App           `json:"appId"`
		License     docid.LicenseRegion `json:"dbCode"`
		LicenseCode docid.LicenseRegion `json:"licenseRegionCode"`
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 || decodePart(parts[1], &claims) != nil {
		return arg, nil // the nodes say what is wrong with it
	}
	license := cmp.Or(claims.License, claims.LicenseCode)
	switch {
	case doc.Tenant == claims.Tenant && doc.App == claims.App && (doc.License == "" || doc.License == license):
		return doc.Name, nil
	case doc.License != "":
		return "", failed(exitUsage, "%s is not of the token, which is for %s/%s/%s: trace it without the token", doc, license, claims.Tenant, claims.App)
	}
	c.done("wsctl: %q is taken as a name in the token's %s/%s", arg, claims.Tenant, claims.App)
	return arg, nil
}

// documentToTrace is a document that need not be pinned; its license region must
// be known, though.
func (c *cli) documentToTrace(ctx context.Context, arg, license string) (doc docid.Document, err error) {
	if doc, err = parseDocument(arg); err != nil {
		return doc, err
	}
	if license != "" {
		doc.License = docid.LicenseRegion(license)
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

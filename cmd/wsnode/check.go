package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/preflight"
)

// checkFlags have a look instead of a node.
type checkFlags struct {
	on     bool
	output string
}

func (f *checkFlags) register(fl *pflag.FlagSet) {
	fl.BoolVar(&f.on, "check", false, "look whether a node with these settings would find all that it needs, and end")
	fl.StringVarP(&f.output, "output", "o", "table", "how --check tells what it found: table or json")
	for _, name := range []string{"check", "output"} {
		_ = fl.SetAnnotation(name, argumentOnly, []string{"true"}) // it is there
	}
}

var errUnhealthy = errors.New("a check found something wrong")

// preflight looks at all that a node of these settings would stand on.
func (f *serveFlags) preflight(ctx context.Context, out io.Writer) error {
	if f.check.output != "table" && f.check.output != "json" {
		return wrongFlag("output", "%q: expected table or json", f.check.output)
	}
	log := slog.New(slog.DiscardHandler) // what went wrong is a finding
	c, err := f.config(log)
	if err != nil {
		return err
	}
	findings := f.checked(&c, log).Check(ctx)
	if err := printFindings(out, f.check.output, findings); err != nil {
		return err
	}
	if wrong := preflight.CountWrong(findings); wrong > 0 {
		return fmt.Errorf("%w: %d of %d checks", errUnhealthy, wrong, len(findings))
	}
	return nil
}

// checked is what there is to look at.
func (f *serveFlags) checked(c *relay.Options, log *slog.Logger) preflight.Node {
	n := preflight.Node{
		Member:     preflight.Member{Region: c.Config.Region, Node: c.Config.Node, PublicURL: c.PublicURL, Lease: c.Lease},
		Registries: map[docid.LicenseRegion]kvpin.Source{},
		Keys:       f.keys.config(log),
		Stores:     checkedStores(f.storeURLs),
		Machine:    preflight.ThisMachine(),
	}
	n.Machine.Connections, n.Machine.MemorySet = c.Config.Limits.Capacity.MaxConnections, c.Config.Limits.Capacity.MaxMemory
	n.Machine.MemoryChosen = os.Getenv("GOMEMLIMIT") != ""
	if !f.standalone {
		n.NATS = &preflight.Region{URL: c.NATS.URL, Options: c.NATS.Options, Domain: c.Streams.Domain, Replicas: c.Streams.Replicas}
	}
	for license, source := range c.Registries {
		if source.URL != "" { // else it is inside the process
			n.Registries[license] = source
		}
	}
	return n
}

// printFindings prints what was found, as wsctl check does.
func printFindings(out io.Writer, format string, findings []preflight.Finding) error {
	if format == "json" {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		e.SetIndent("", " ")
		return e.Encode(findings)
	}
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "REGISTRY\tCHECK\tRESULT\tDETAIL")
	for _, f := range findings {
		license := string(f.License)
		if license == "" {
			license = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", license, f.Check, f.Result, f.Text())
	}
	return w.Flush()
}

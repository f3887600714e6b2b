package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/admin"
	"github.com/wsnode/wsnode/relay/apps"
	"github.com/wsnode/wsnode/relay/devcluster"
	"github.com/wsnode/wsnode/relay/natsd"
	"github.com/wsnode/wsnode/relay/version"
)

// devFlags are the settings of dev mode.
type devFlags struct {
	regions             []string
	nodes, port         int
	natsPort            int
	data                string
	grace               time.Duration
	host                string
	tls                 bool
	store               storeFlags
	admin               adminFlags
	stateless           string
	logFormat, logLevel string
}

func newDevCommand() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run regions, nodes and NATS in one process, for development",
		Long: `Run everything in one process: an embedded NATS per region, the nodes of each
region, all license regions, and an issuer of tokens at /dev/token, which gives
one to everybody who asks. It listens on loopback only, unless --host opens it
to the devices of your own network.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&f.regions, "regions", []string{"eu-central-1", "us-east-1"}, "names of the regions")
	fl.IntVar(&f.nodes, "nodes", 2, "nodes of each region, 1 to 10")
	fl.IntVar(&f.port, "port", 8080, "port of the first node; node j of region i listens on port+10*i+j")
	fl.IntVar(&f.natsPort, "nats-port", 4222, "port of the first region's NATS, for wsctl; the others take the next ones, and any free one where one is taken")
	fl.StringVar(&f.host, "host", "", "host name or address under which other devices reach this machine; listens on all its addresses")
	fl.BoolVar(&f.tls, "tls", false, "serve https and wss with a certificate made on the spot")
	fl.StringVar(&f.data, "data", "", "folder to keep documents and registries in (default: a temporary one, removed at the end)")
	fl.DurationVar(&f.grace, "grace", 10*time.Second, "how long a document stays after its last user left; whole seconds")
	registerStateless(fl, &f.stateless)
	f.store.register(fl, "default: below --data")
	f.admin.register(fl, adminOff)
	fl.StringVar(&f.logFormat, "log-format", "text", "text or json")
	fl.StringVar(&f.logLevel, "log-level", "warn", "debug, info, warn or error")
	fromEnvironment(cmd)
	return cmd
}

// publicHost is the host in all URLs.
func (f *devFlags) publicHost() string {
	if f.host != "" {
		return f.host
	}
	return "127.0.0.1"
}

// url is where clients reach a node.
func (f *devFlags) url(region, node int) string {
	scheme := "ws"
	if f.tls {
		scheme = "wss"
	}
	return scheme + "://" + net.JoinHostPort(f.publicHost(), strconv.Itoa(f.port+10*region+node))
}

// listenOn is what a node listens on: loopback only, unless other devices are
// meant to come in.
func (f *devFlags) listenOn(region, node int) string {
	host := "127.0.0.1"
	if f.host != "" {
		host = ""
	}
	return net.JoinHostPort(host, strconv.Itoa(f.port+10*region+node))
}

func (f *devFlags) check() error {
	seen := map[string]bool{}
	for _, region := range f.regions {
		if !docid.ValidRegion(region) || strings.HasPrefix(region, "aws-") {
			return wrongFlag("regions", "%q: expected lower-case letters, digits and '-', not beginning with aws-", region)
		}
		if seen[region] {
			return wrongFlag("regions", "%q is there twice", region)
		}
		if region == documentsFolder {
			return wrongFlag("regions", "%q is where documents are kept: expected another name", region)
		}
		seen[region] = true
	}
	switch last := f.port + 10*(len(f.regions)-1) + f.nodes - 1; {
	case len(f.regions) == 0:
		return wrongFlag("regions", "expected at least one name")
	case f.nodes < 1 || f.nodes > 10:
		return wrongFlag("nodes", "%d: expected 1 to 10", f.nodes)
	case f.natsPort < 0 || f.natsPort+len(f.regions)-1 > 65535:
		return wrongFlag("nats-port", "%d: expected the ports of %d regions to lie below 65536", f.natsPort, len(f.regions))
	case f.port < 1 || last > 65535:
		return wrongFlag("port", "%d: expected the ports up to %d to lie between 1 and 65535", f.port, last)
	}
	if err := applyStateless(f.stateless, new(relay.Config)); err != nil {
		return err
	}
	// Browsers write host names in lower case.
	f.host = strings.ToLower(f.host)
	if f.host != "" && net.ParseIP(f.host) == nil && !hostName.MatchString(f.host) {
		return wrongFlag("host", "%q: expected a host name or an IP address, without scheme, port and brackets", f.host)
	}
	return checkGrace(f.grace)
}

var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$`)

// dev is the running whole.
type dev struct {
	flags   *devFlags
	log     *slog.Logger
	cluster *devcluster.Cluster
	tls     *tls.Config // nil: plain
	events  *devEvents
	stores  openedStores

	storeFails atomic.Bool   // the playground makes them fail
	options    relay.Options // what all nodes have in common
	kept       string        // where documents are kept, for people

	temporary string        // folder of documents, removed at the end; empty: none
	admin     *admin.Server // nil: switched off
}

func (f *devFlags) run(ctx context.Context, out io.Writer) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	log, err := logger(os.Stderr, f.logFormat, f.logLevel)
	if err != nil {
		return err
	}
	d := &dev{flags: f, log: log}
	d.events = newDevEvents(d)
	if f.tls {
		if d.tls, err = ownCertificate(f.publicHost()); err != nil {
			return err
		}
	}
	var up atomic.Bool
	ready := func() error {
		if !up.Load() {
			return errStarting
		}
		return nil
	}
	if d.admin, err = f.admin.open(ready, log); err != nil {
		return err
	}
	defer d.admin.Close()
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := d.openStores(ctx); err != nil {
		return err
	}
	if err := d.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	up.Store(true)
	d.describe(out)
	<-ctx.Done()
	return nil
}

// start runs the regions.
func (d *dev) start(ctx context.Context) error {
	// RS256 is what most issuers sign with, and the fastest to verify.
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	o := devcluster.Options{
		Nodes: d.flags.nodes, Licenses: licenseRegions, Log: d.log, Node: d.options, TLS: d.tls,
		Each: d.settings, Listen: d.listen, Handler: d.endpoints, NATS: d.nats,
	}
	for _, name := range d.flags.regions {
		o.Regions = append(o.Regions, docid.Region(name))
	}
	if o.Issuer, err = authn.NewIssuer(key, "wsnode dev"); err != nil {
		return err
	}
	d.cluster = devcluster.New(o)
	return d.cluster.Start(ctx)
}

// settings are those of one node.
func (d *dev) settings(n *devcluster.Node, o *relay.Options) {
	o.Config.Grace, o.Config.Stateless = d.flags.grace, apps.Stateless(d.flags.stateless)
	o.Config.Metrics, o.Config.Tenants = newMetrics(d.admin, n.ID, n.Region.Name), d.flags.admin.tenants
	o.Config.Refused = func(doc docid.Document, code int, reason string) { d.events.refused(n, doc, code, reason) }
}

func (d *dev) listen(region, node int) (net.Listener, string, error) {
	l, err := listen("port", d.flags.listenOn(region, node))
	return l, d.flags.url(region, node), err
}

// nats says how a region's NATS runs. wsctl and the NATS tools reach it at the port, or
// at a free one if the port is taken.
func (d *dev) nats(region int) natsd.Config {
	var c natsd.Config
	if d.flags.data != "" {
		c.StoreDir = filepath.Join(d.flags.data, d.flags.regions[region])
	}
	c.Listen = net.JoinHostPort("127.0.0.1", strconv.Itoa(d.flags.natsPort+region))
	if l, err := net.Listen("tcp", c.Listen); err != nil {
		c.Listen = "127.0.0.1:0"
	} else {
		_ = l.Close()
	}
	return c
}

// devStop is how long a dev mode that was told to end may take.
const devStop = time.Second

func (d *dev) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), devStop)
	defer cancel()
	d.events.close()
	if d.cluster != nil {
		if err := d.cluster.Close(ctx); err != nil {
			d.log.Debug("not all nodes were done", "error", err)
		}
	}
	return d.closeStores()
}

// describe prints what runs where.
func (d *dev) describe(out io.Writer) {
	base := "http" + strings.TrimPrefix(d.cluster.Regions[0].URL, "ws")
	fmt.Fprintf(out, "wsnode %s, development mode\n\n", version.Read().Version)
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "REGION\tNODE\tURL\tNATS")
	for _, r := range d.cluster.Regions {
		for _, n := range r.Nodes {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Name, n.ID, n.URL, r.NATS.URL())
		}
	}
	_ = w.Flush()
	fmt.Fprintf(out, "\npage    %s/playground/\n", strings.Replace(base, "127.0.0.1", "localhost", 1))
	fmt.Fprintf(out, "store   %s\n", d.kept)
	curl := "curl"
	if d.tls != nil {
		curl = "curl -k"
		fmt.Fprintln(out, "trust   browsers ask before they trust the certificate, some for every port:")
		for n := range d.cluster.Nodes {
			fmt.Fprintf(out, "        https%s/health\n", strings.TrimPrefix(n.URL, "wss"))
		}
	}
	fmt.Fprintf(out, "token   %s '%s/dev/token?tenant=dev&app=demo'\nwhere   %s '%s/discovery?documentName=todo' -H \"Authorization: Bearer $TOKEN\"\nend     Ctrl-C\n\nready\n", curl, base, curl, base)
}

package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wsnode/wsnode/cmd/natsflags"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/natsconn"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/apps"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/natsd"
	"github.com/wsnode/wsnode/relay/version"
)

// licenseRegions are known from the start.
var licenseRegions = []docid.LicenseRegion{
	"aws-ap-northeast-1", "aws-ap-south-1", "aws-eu-west-1", "aws-us-east-1", "aws-us-east-2", "aws-us-west-2",
}

// serveFlags are the settings of a daemon, as given.
type serveFlags struct {
	region, node, publicURL, listen string
	natsURL                         string
	nats                            natsflags.Files
	access                          accessFlags
	standalone                      bool
	data                            string
	registries                      registryFlags
	historyReplicas                 int
	keys                            keyFlags
	queryToken                      bool
	stateless                       string
	grace                           time.Duration
	drainDelay, drainSpread         time.Duration
	tlsCert, tlsKey                 string
	limits                          limitFlags
	store                           storeFlags
	apps                            string
	storeURLs                       map[docid.LicenseRegion]string
	admin                           adminFlags
	logFormat, logLevel             string
	check                           checkFlags
	elsewhere                       string
	set                             *pflag.FlagSet
	reloads                         []reload // what SIGHUP has read again
}

func newServeCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run one node of a region",
		Long: `Run one node of a region until it is told to stop.

A node needs the region's NATS (--nats-url, or --standalone for an embedded
server and a region of one node), the registries of the license regions that it
serves (--registry for each, or --single-region to keep all of them on the
region's own NATS), and the keys that tokens are signed with (--jwks-url, or
--jwks-file, or the secret of one tenant by --hs256-secret-file). With --check it looks whether a node with these settings would find
all of that, says how to mend what is wrong, and ends: with exit code 6 if something
is.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.check.on {
				return f.preflight(cmd.Context(), cmd.OutOrStdout())
			}
			return f.run(cmd.Context())
		},
	}
	fl := cmd.Flags()
	f.set = fl
	fl.StringVar(&f.region, "region", "", "name of this WebSocket region, such as eu-central-1")
	fl.StringVar(&f.publicURL, "public-url", "", "URL under which clients reach this region, such as wss://eu-central-1.example")
	fl.StringVar(&f.listen, "listen", ":8080", "address to listen on")
	fl.StringVar(&f.node, "node", "", "id of this node, unique among those that run (default: host name and a random suffix)")
	fl.StringVar(&f.natsURL, "nats-url", "", "URL of the region's NATS, several separated by commas, or file:PATH of a file that holds them; arguments are no place for passwords")
	fl.BoolVar(&f.standalone, "standalone", false, "run NATS inside this process: a region of one node")
	fl.StringVar(&f.data, "data", "", "folder of the embedded NATS, and of documents unless --store says otherwise (default: a temporary one for NATS, removed at the end)")
	f.nats.Register(fl, "NATS credentials file, for the region and the registries")
	f.access.register(fl)
	f.registries.register(fl)
	fl.IntVar(&f.historyReplicas, "history-replicas", 1, "replicas of history streams that are created; 3 in production")
	f.keys.register(fl)
	fl.BoolVar(&f.queryToken, "query-token", true, "take tokens from the query of the URL too")
	fl.DurationVar(&f.grace, "grace", 10*time.Second, "how long a document stays after its last user left; whole seconds")
	fl.DurationVar(&f.drainDelay, "drain-delay", 0, "how long to keep serving after SIGTERM while balancers notice")
	fl.DurationVar(&f.drainSpread, "drain-spread", 10*time.Second, "time over which sessions are ended after that")
	fl.StringVar(&f.tlsCert, "tls-cert", "", "certificate file, read again when it changes; clients then connect by wss")
	fl.StringVar(&f.tlsKey, "tls-key", "", "key file of the certificate")
	f.store.register(fl, "default: "+storeNone+"; with --standalone and --data: below that folder")
	fl.StringVar(&f.elsewhere, "elsewhere", string(apps.Redirect), "what becomes of clients of y-websocket whose document is in another region: redirect, by code 4009, or carry: the node relays them there. A connection may choose by ?elsewhere=; Hocuspocus' providers are always carried")
	registerStateless(fl, &f.stateless)
	fl.StringVar(&f.apps, "apps", "", "file with settings of single apps, in YAML; read again at SIGHUP")
	fl.BoolVar(&f.limits.proxyProtocol, "proxy-protocol", false, "take connections of a --trusted-proxy only, which begin with a header of PROXY protocol version 2 that names the client")
	f.limits.register(fl)
	f.admin.register(fl, "127.0.0.1:9090")
	f.admin.registerTraces(fl)
	fl.StringVar(&f.logFormat, "log-format", "text", "text or json")
	fl.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	f.check.register(fl)
	fromEnvironment(cmd)
	return cmd
}

// run serves until ctx ends, then drains.
func (f *serveFlags) run(ctx context.Context) error {
	log, err := logger(os.Stderr, f.logFormat, f.logLevel)
	if err != nil {
		return err
	}
	hangups := listenForHangups()
	defer hangups.stop()
	c, err := f.config(log)
	if err != nil {
		return err
	}
	var ready readiness
	traces, err := f.admin.traces(&c)
	if err != nil {
		return err
	}
	if traces != nil {
		c.TracerProvider = traces
		defer shutDown(traces)
	}
	monitoring, err := f.admin.open(ready.check, log)
	if err != nil {
		return err
	}
	defer monitoring.Close()
	c.Config.Metrics, c.Config.Tenants = newMetrics(monitoring, c.Config.Node, c.Config.Region), f.admin.tenants
	if f.standalone {
		server, err := f.embed(&c)
		if err != nil {
			return err
		}
		defer server.Close()
	}
	if c.Listener, err = listen("listen", f.listen); err != nil {
		return err
	}
	describeStores(log, f.storeURLs, slices.Sorted(maps.Keys(c.Registries)))
	stores, err := openStores(ctx, f.storeURLs, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err := stores.close(); err != nil {
			log.Warn("could not close a store", "error", err)
		}
	}()
	c.Stores = stores.of
	hangups.reload(append(f.reloads, stores.reloads()...), log)
	n, err := relay.Start(ctx, c)
	if err != nil && ctx.Err() != nil {
		log.Info("stopped before it took clients", "reason", err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	ready.node.Store(n)
	log.Info("ready", "region", f.region, "node", f.node, "listen", c.Listener.Addr().String(), "public_url", f.publicURL, "version", version.Read().Version)
	select {
	case <-ctx.Done():
	case err := <-n.Failed():
		log.Error("this process ends", "error", err)
		return errors.Join(err, f.drain(n, log))
	}
	return f.drain(n, log)
}

// embed starts the NATS server of --standalone, which the node uses for all that has no URL
// of its own.
func (f *serveFlags) embed(c *relay.Options) (*natsd.Server, error) {
	server, err := natsd.Start(natsd.Config{Name: f.region, StoreDir: f.data, Log: c.Config.Log})
	if err != nil {
		return nil, err
	}
	c.NATS.InProcess = server
	for license, source := range c.Registries {
		if source.URL == "" {
			source.Options = append(source.Options, nats.InProcessServer(server))
			c.Registries[license] = source
		}
	}
	return server, nil
}

// releaseTimeout is how long documents have to be given up after the last session,
// before the node is closed anyhow.
const releaseTimeout = 4 * time.Second

func (f *serveFlags) drain(n *relay.Node, log *slog.Logger) error {
	log.Info("draining", "delay", f.drainDelay.String(), "spread", f.drainSpread.String())
	ctx, cancel := context.WithTimeout(context.Background(), f.drainDelay+f.drainSpread+releaseTimeout)
	defer cancel()
	_ = n.Drain(ctx, f.drainDelay, f.drainSpread) // what it leaves, Close has to end
	if err := n.Close(context.Background()); err != nil {
		return fmt.Errorf("stopped, but not cleanly: %w", err)
	}
	log.Info("stopped")
	return nil
}

// config turns the flags into what a node runs on. Every error names a flag.
func (f *serveFlags) config(log *slog.Logger) (c relay.Options, err error) {
	if f.node == "" {
		f.node = nodeName()
	}
	c = relay.Options{
		Config:    relay.Config{Region: docid.Region(f.region), Node: docid.NodeID(f.node), Log: log},
		PublicURL: strings.TrimSuffix(f.publicURL, "/"),
	}
	steps := []func(*relay.Options) error{
		f.identity, f.connection, f.registry, f.stores, f.clients, f.perApp,
		func(c *relay.Options) error { return f.limits.apply(&c.Config, f.set) },
		func(c *relay.Options) error { return f.limits.listener(c) },
		func(*relay.Options) error { return checkNumbers(f.set) },
	}
	for _, step := range steps {
		if err := step(&c); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (f *serveFlags) identity(c *relay.Options) error {
	switch {
	case f.region == "":
		return wrongFlag("region", "missing: expected the name of this WebSocket region, such as eu-central-1")
	case !docid.ValidRegion(f.region) || strings.HasPrefix(f.region, "aws-"):
		return wrongFlag("region", "%q: expected lower-case letters, digits and '-', not beginning with aws-", f.region)
	case !docid.ValidID(f.node) || slices.Contains(strings.Split(f.node, "."), ""):
		return wrongFlag("node", "%q: expected 1 to 64 of letters, digits, '_', '-' and single dots inside", f.node)
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil || (u.Scheme != "ws" && u.Scheme != "wss") || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return wrongFlag("public-url", "%q: expected ws:// or wss:// and a host, such as wss://eu-central-1.example", f.publicURL)
	}
	if _, _, err := net.SplitHostPort(f.listen); err != nil {
		return wrongFlag("listen", "%q: expected host:port, or :port for all addresses", f.listen)
	}
	return nil
}

func (f *serveFlags) connection(c *relay.Options) error {
	switch {
	case f.standalone && f.natsURL != "":
		return wrongFlag("standalone", "runs NATS inside the process: expected no --nats-url beside it")
	case !f.standalone && f.natsURL == "":
		return wrongFlag("nats-url", "missing: expected the URL of the region's NATS, or --standalone")
	case !f.standalone && f.data != "":
		return wrongFlag("data", "is for the embedded NATS: expected --standalone beside it")
	case f.historyReplicas < 1 || f.historyReplicas > 5:
		return wrongFlag("history-replicas", "%d: expected 1 to 5", f.historyReplicas)
	}
	if !f.standalone {
		if _, _, err := natsconn.Servers(f.natsURL); err != nil {
			return wrongFlag("nats-url", "%v", err)
		}
	}
	options, err := f.nats.Options()
	if err != nil {
		return usageError{err}
	}
	if err := f.access.check(); err != nil {
		return err
	}
	if c.RegionURLs, err = f.access.urls(); err != nil {
		return err
	}
	c.NATS = bus.ConnectConfig{URL: f.natsURL, Options: at(options, f.access.inboxes, f.natsURL)}
	c.Streams = history.Config{Replicas: f.historyReplicas, Domain: f.access.historyDomain}
	return nil
}

func (f *serveFlags) registry(c *relay.Options) error {
	files := f.nats
	files.Creds = cmp.Or(f.access.registryCreds, files.Creds)
	options, err := files.Options()
	if err != nil {
		return usageError{err}
	}
	c.Lease, c.RegistryWait = f.registries.lease, f.registries.wait
	c.Registries, err = f.registries.sources(f.natsURL, func(url string) []nats.Option {
		return at(options, f.access.registryInboxes, url)
	})
	return err
}

func (f *serveFlags) stores(c *relay.Options) (err error) {
	byDefault := ""
	if f.standalone && f.data != "" {
		if byDefault, err = documentsIn(f.data); err != nil {
			return err
		}
	}
	if f.storeURLs, err = f.store.urls(slices.Sorted(maps.Keys(c.Registries)), byDefault); err != nil {
		return err
	}
	return f.store.apply(c, f.storeURLs)
}

func (f *serveFlags) clients(c *relay.Options) error {
	verifier, err := f.keys.verifier(c)
	if err != nil {
		return err
	}
	if again := f.keys.reload(verifier); again != nil {
		f.reloads = append(f.reloads, *again)
	}
	if (f.tlsCert == "") != (f.tlsKey == "") {
		return wrongFlag("tls-cert", "expected together with --tls-key")
	}
	if f.tlsCert != "" {
		certificate, err := loadCertificate(f.tlsCert, f.tlsKey, c.Config.Log)
		if err != nil {
			return wrongFlag("tls-cert", "%v", err)
		}
		f.reloads = append(f.reloads, reload{"certificate", certificate.reload})
		c.TLS = &tls.Config{GetCertificate: certificate.get, MinVersion: tls.VersionTLS12}
	}
	c.Config.Elsewhere = apps.Elsewhere(f.elsewhere)
	if f.elsewhere != "" && !c.Config.Elsewhere.Valid() {
		return wrongFlag("elsewhere", "%q: expected %s or %s", f.elsewhere, apps.Redirect, apps.Carry)
	}
	c.Config.Verifier, c.Config.NoQueryToken, c.Config.Grace = verifier, !f.queryToken, f.grace
	return checkGrace(f.grace)
}

// perApp reads the settings of single apps.
func (f *serveFlags) perApp(c *relay.Options) error {
	if err := applyStateless(f.stateless, &c.Config); err != nil {
		return err
	}
	if f.apps == "" {
		return nil
	}
	served := slices.Sorted(maps.Keys(c.Registries))
	file, err := apps.Open(f.apps, func(r apps.Rule) error { return f.canDo(r, served) })
	if err != nil {
		return wrongFlag("apps", "%v", err)
	}
	f.reloads = append(f.reloads, reload{"settings of apps", file.Reload})
	c.Config.Apps = file.Of
	return nil
}

// canDo returns an error if a rule asks for what this node cannot do.
func (f *serveFlags) canDo(r apps.Rule, served []docid.LicenseRegion) error {
	var setting string
	switch {
	case r.Ack != nil && *r.Ack == apps.AckStored:
		setting = "ack: stored"
	case r.KeepDeleted != nil && *r.KeepDeleted:
		setting = "keep-deleted: true"
	default:
		return nil
	}
	for _, license := range served {
		if f.storeURLs[license] == "" {
			return fmt.Errorf("%s: expected a --store for each license region, and there is none for %s", setting, license)
		}
	}
	return nil
}

// nodeName is the host's name, made to fit and unique.
func nodeName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "node"
	}
	fits := func(r rune) rune {
		if r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}
	host = strings.Map(fits, host)
	return host[:min(len(host), 48)] + "-" + randomSuffix()
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/pflag"

	"github.com/wsnode/wsnode/cmd/natsflags"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/natsconn"
)

// reachFlags say which NATS clusters wsctl talks to. What the environment says is
// read when it is needed: as defaults, help would show passwords.
type reachFlags struct {
	urls, contexts  []string
	files           natsflags.Files
	inboxes, domain string
	registries      []string
	timeout         time.Duration
	denied          denials // on the connections of these flags
}

const defaultNATS = "nats://127.0.0.1:4222"

func (f *reachFlags) register(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.urls, "nats-url", nil, "URL of a region's NATS, or file:PATH of a file that holds it (default "+defaultNATS+"); repeat it for each region [$WSCTL_NATS_URL, separated by spaces]")
	fl.StringArrayVar(&f.contexts, "context", nil, "context of the nats command, instead of --nats-url; repeat it for each region [$WSCTL_CONTEXT, separated by spaces]")
	f.files.Register(fl, "NATS credentials file [$WSCTL_NATS_CREDS]")
	fl.StringVar(&f.inboxes, "nats-inbox", "", "subject below which answers come (default: _INBOX.<user> of the URL, or _INBOX) [$WSCTL_NATS_INBOX]")
	fl.StringVar(&f.domain, "nats-domain", "", "JetStream domain, or prefix of imports, under which registries are found; for history init, the history [$WSCTL_NATS_DOMAIN]")
	fl.StringArrayVar(&f.registries, "registry", nil, "registry that is on another NATS, as dbCode=natsURL, dbCode=file:PATH or dbCode=@context; repeat for each")
	fl.DurationVar(&f.timeout, "timeout", 5*time.Second, "how long to wait for an answer")
}

func (f *reachFlags) check() error {
	if f.timeout <= 0 {
		return wrongFlag("timeout", "%s: expected a time to wait, such as 5s", f.timeout)
	}
	if inboxes := cmp.Or(f.inboxes, os.Getenv("WSCTL_NATS_INBOX")); inboxes != "" && !natsconn.ValidInboxes(inboxes) {
		return wrongFlag("nats-inbox", "%q: expected words with dots between, the first beginning with _INBOX", inboxes)
	}
	_, err := f.named()
	return err
}

// fromEnv reads a repeatable flag: several values are separated by spaces, since
// commas separate the servers of one cluster.
func fromEnv(variable string) []string { return strings.Fields(os.Getenv(variable)) }

// target is one NATS cluster.
type target struct {
	url     string
	domain  string // of JetStream
	options []nats.Option
}

// targets are the clusters of the regions, at least one.
func (f *reachFlags) targets() (targets []target, err error) {
	contexts, urls := f.contexts, f.urls
	switch {
	case len(contexts) > 0 && len(urls) > 0:
		return nil, wrongFlag("context", "expected either contexts or --nats-url")
	case len(contexts) == 0 && len(urls) == 0:
		contexts, urls = fromEnv("WSCTL_CONTEXT"), fromEnv("WSCTL_NATS_URL")
	}
	for _, name := range contexts {
		t, err := f.contextTarget(name)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	if len(targets) > 0 {
		return targets, nil
	}
	if len(urls) == 0 {
		urls = []string{defaultNATS}
	}
	for _, url := range urls {
		t, err := f.urlTarget("nats-url", url)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// urlTarget is the cluster that a flag names, by URL or by a file that holds one. Its
// answers come to what a permission can name.
func (f *reachFlags) urlTarget(flag, servers string) (target, error) {
	options, err := f.options()
	if err != nil {
		return target{}, err
	}
	url, own, err := natsconn.Servers(servers)
	if err != nil {
		return target{}, wrongFlag(flag, "%s: %v", redact(servers), err)
	}
	t := target{url: url, domain: cmp.Or(f.domain, os.Getenv("WSCTL_NATS_DOMAIN")), options: append(slices.Clone(options), own...)}
	if inboxes := cmp.Or(f.inboxes, os.Getenv("WSCTL_NATS_INBOX"), natsconn.UserInboxes(servers)); inboxes != "" {
		t.options = append(t.options, nats.CustomInboxPrefix(inboxes))
	}
	return t, nil
}

func (f *reachFlags) contextTarget(name string) (target, error) {
	c, err := loadContext(name)
	if err != nil {
		return target{}, err
	}
	options, err := c.options()
	if err != nil {
		return target{}, err
	}
	t := target{url: c.URL, domain: c.Domain, options: options}
	if t.url == "" {
		t.url = defaultNATS
	}
	return t, nil
}

// options are what the flags say about a connection.
func (f *reachFlags) options() (options []nats.Option, err error) {
	files := f.files
	files.Creds = cmp.Or(files.Creds, os.Getenv("WSCTL_NATS_CREDS"))
	if options, err = files.Options(); err != nil {
		return nil, exitError{exitUsage, err}
	}
	return options, nil
}

// connect connects to a target. Unlike a node it does not wait for one that is
// not there. One that is lost later may come back: whoever waits has a time limit.
func (f *reachFlags) connect(t target) (*nats.Conn, error) {
	options := append(slices.Clone(t.options), nats.Name("wsctl"), nats.Timeout(f.timeout), nats.MaxReconnects(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { f.denied.note(err) }))
	nc, err := nats.Connect(t.url, options...)
	if err != nil {
		return nil, failed(exitUnavailable, "connect to NATS at %s: %w", redact(t.url), err)
	}
	return nc, nil
}

// redact takes credentials out of URLs.
func redact(urls string) string {
	parts := strings.Split(urls, ",")
	for i, u := range parts {
		if at := strings.LastIndex(u, "@"); at >= 0 {
			scheme, _, ok := strings.Cut(u, "://")
			if ok {
				scheme += "://"
			} else {
				scheme = ""
			}
			parts[i] = scheme + "…" + u[at:]
		}
	}
	return strings.Join(parts, ",")
}

// sources are the registries: those that are named, and those whose buckets are
// on the targets. Which targets are not reached is in lost: they hide no other.
func (f *reachFlags) sources(ctx context.Context) (sources map[docid.LicenseRegion]kvpin.Source, lost, err error) {
	targets, err := f.targets()
	if err != nil {
		return nil, nil, err
	}
	if sources, err = f.named(); err != nil {
		return nil, nil, err
	}
	for _, t := range targets {
		found, err := f.find(ctx, t)
		lost = errors.Join(lost, err)
		for _, license := range found {
			if _, named := sources[license]; !named {
				sources[license] = t.source()
			}
		}
	}
	if len(sources) > 0 {
		return sources, lost, nil
	}
	if lost == nil {
		lost = failed(exitNotFound, "no registry on %s: name the NATS that holds it by --registry", redact(targets[0].url))
	}
	return nil, nil, lost
}

// named are the registries of --registry.
func (f *reachFlags) named() (sources map[docid.LicenseRegion]kvpin.Source, err error) {
	sources = map[docid.LicenseRegion]kvpin.Source{}
	for _, value := range f.registries {
		license, where, ok := strings.Cut(value, "=")
		if !ok || where == "" || !docid.ValidRegion(license) {
			return nil, wrongFlag("registry", "%q: expected dbCode=natsURL, dbCode=file:PATH or dbCode=@context, such as aws-eu-west-1=nats://nats:4222", value)
		}
		var t target
		if name, ok := strings.CutPrefix(where, "@"); ok {
			t, err = f.contextTarget(name)
		} else {
			t, err = f.urlTarget("registry", where)
		}
		if err != nil {
			return nil, err
		}
		sources[docid.LicenseRegion(license)] = t.source()
	}
	return sources, nil
}

func (t target) source() kvpin.Source {
	return kvpin.Source{URL: t.url, Domain: t.domain, Options: t.options}
}

// find returns the license regions whose registries are on a target.
func (f *reachFlags) find(ctx context.Context, t target) (found []docid.LicenseRegion, err error) {
	nc, err := f.connect(t)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	found, err = kvpin.Find(ctx, nc, t.domain)
	if err != nil && !errors.Is(err, jetstream.ErrJetStreamNotEnabled) {
		return nil, fmt.Errorf("look for registries on %s: %w", redact(t.url), err)
	}
	return found, nil
}

// isUnavailable reports whether an error says that somebody does not answer.
func isUnavailable(err error) bool {
	for _, silent := range []error{
		kvpin.ErrUnavailable, nats.ErrNoResponders, nats.ErrTimeout, nats.ErrNoServers, nats.ErrConnectionClosed,
		context.DeadlineExceeded, syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ETIMEDOUT,
	} {
		if errors.Is(err, silent) {
			return true
		}
	}
	return false
}

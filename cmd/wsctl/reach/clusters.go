// Package reach is the way to what wsctl looks at: NATS clusters, the nodes on them, and the
// registries. What is not reached hides nothing else: it is told beside what is found.
package reach

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/pflag"

	"github.com/wsnode/wsnode/cmd/natsflags"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/natsconn"
)

// Clusters are the NATS clusters that wsctl talks to, as the flags name them. Every way to
// a node or a registry begins here, so that each waits for Timeout at most, and what NATS
// denies on any of them is known when somebody does not answer. What the environment says
// is read when it is needed: as defaults, help would show passwords.
type Clusters struct {
	// The flags; static once they are read.
	urls, contexts  []string
	files           natsflags.Files
	inboxes, domain string
	registries      []string

	Timeout time.Duration // a flag too; completion shortens it before it connects

	denied denials // on all connections; guards itself
}

const defaultNATS = "nats://127.0.0.1:4222"

// Register adds the flags that all commands have.
func (c *Clusters) Register(fl *pflag.FlagSet) {
	fl.StringArrayVar(&c.urls, "nats-url", nil, "URL of a region's NATS, or file:PATH of a file that holds it (default "+defaultNATS+"); repeat it for each region [$WSCTL_NATS_URL, separated by spaces]")
	fl.StringArrayVar(&c.contexts, "context", nil, "context of the nats command, instead of --nats-url; repeat it for each region [$WSCTL_CONTEXT, separated by spaces]")
	c.files.Register(fl, "NATS credentials file [$WSCTL_NATS_CREDS]")
	fl.StringVar(&c.inboxes, "nats-inbox", "", "subject below which answers come (default: _INBOX.<user> of the URL, or _INBOX) [$WSCTL_NATS_INBOX]")
	fl.StringVar(&c.domain, "nats-domain", "", "JetStream domain, or prefix of imports, under which registries are found; for history init, the history [$WSCTL_NATS_DOMAIN]")
	fl.StringArrayVar(&c.registries, "registry", nil, "registry that is on another NATS, as dbCode=natsURL, dbCode=file:PATH or dbCode=@context; repeat for each")
	fl.DurationVar(&c.Timeout, "timeout", 5*time.Second, "how long to wait for an answer")
}

// Check refuses wrong flags before anything is reached.
func (c *Clusters) Check() error {
	if c.Timeout <= 0 {
		return exit.WrongFlag("timeout", "%s: expected a time to wait, such as 5s", c.Timeout)
	}
	if inboxes := cmp.Or(c.inboxes, os.Getenv("WSCTL_NATS_INBOX")); inboxes != "" && !natsconn.ValidInboxes(inboxes) {
		return exit.WrongFlag("nats-inbox", "%q: expected words with dots between, the first beginning with _INBOX", inboxes)
	}
	_, err := c.named()
	return err
}

// fromEnv reads a repeatable flag: several values are separated by spaces, since
// commas separate the servers of one cluster.
func fromEnv(variable string) []string { return strings.Fields(os.Getenv(variable)) }

// Target is one NATS cluster.
type Target struct {
	URL     string
	Domain  string // of JetStream
	Options []nats.Option
}

// Targets are the clusters of the regions, at least one.
func (c *Clusters) Targets() (targets []Target, err error) {
	contexts, urls := c.contexts, c.urls
	switch {
	case len(contexts) > 0 && len(urls) > 0:
		return nil, exit.WrongFlag("context", "expected either contexts or --nats-url")
	case len(contexts) == 0 && len(urls) == 0:
		contexts, urls = fromEnv("WSCTL_CONTEXT"), fromEnv("WSCTL_NATS_URL")
	}
	for _, name := range contexts {
		t, err := c.contextTarget(name)
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
		t, err := c.urlTarget("nats-url", url)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// urlTarget is the cluster that a flag names, by URL or by a file that holds one.
// Answers come to a subject that permissions can name.
func (c *Clusters) urlTarget(flag, servers string) (Target, error) {
	options, err := c.options()
	if err != nil {
		return Target{}, err
	}
	url, own, err := natsconn.Servers(servers)
	if err != nil {
		return Target{}, exit.WrongFlag(flag, "%s: %v", Redact(servers), err)
	}
	t := Target{URL: url, Domain: cmp.Or(c.domain, os.Getenv("WSCTL_NATS_DOMAIN")), Options: append(slices.Clone(options), own...)}
	if inboxes := cmp.Or(c.inboxes, os.Getenv("WSCTL_NATS_INBOX"), natsconn.UserInboxes(servers)); inboxes != "" {
		t.Options = append(t.Options, nats.CustomInboxPrefix(inboxes))
	}
	return t, nil
}

func (c *Clusters) contextTarget(name string) (Target, error) {
	n, err := loadContext(name)
	if err != nil {
		return Target{}, err
	}
	options, err := n.options()
	if err != nil {
		return Target{}, err
	}
	t := Target{URL: n.URL, Domain: n.Domain, Options: options}
	if t.URL == "" {
		t.URL = defaultNATS
	}
	return t, nil
}

// options are what the flags say about a connection.
func (c *Clusters) options() (options []nats.Option, err error) {
	files := c.files
	files.Creds = cmp.Or(files.Creds, os.Getenv("WSCTL_NATS_CREDS"))
	if options, err = files.Options(); err != nil {
		return nil, exit.As(exit.Usage, err)
	}
	return options, nil
}

// Connect connects to a target. Unlike a node it does not wait for one that is
// not there. One that is lost later may come back: whoever waits has a time limit.
func (c *Clusters) Connect(t Target) (*nats.Conn, error) {
	options := append(slices.Clone(t.Options), nats.Name("wsctl"), nats.Timeout(c.Timeout), nats.MaxReconnects(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.denied.note(err) }))
	nc, err := nats.Connect(t.URL, options...)
	if err != nil {
		return nil, exit.With(exit.Unavailable, "connect to NATS at %s: %w", Redact(t.URL), err)
	}
	return nc, nil
}

// Redact takes credentials out of URLs.
func Redact(urls string) string {
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

// Sources are the registries: those that are named, and those whose buckets are
// on the targets. Which targets are not reached is in lost: they hide no other.
func (c *Clusters) Sources(ctx context.Context) (sources map[docid.LicenseRegion]kvpin.Source, lost, err error) {
	targets, err := c.Targets()
	if err != nil {
		return nil, nil, err
	}
	if sources, err = c.named(); err != nil {
		return nil, nil, err
	}
	for _, t := range targets {
		found, err := c.Find(ctx, t)
		lost = errors.Join(lost, err)
		for _, license := range found {
			if _, named := sources[license]; !named {
				sources[license] = t.Source()
			}
		}
	}
	if len(sources) > 0 {
		return sources, lost, nil
	}
	if lost == nil {
		lost = exit.With(exit.NotFound, "no registry on %s: name the NATS that holds it by --registry", Redact(targets[0].URL))
	}
	return nil, nil, lost
}

// named are the registries of --registry.
func (c *Clusters) named() (sources map[docid.LicenseRegion]kvpin.Source, err error) {
	sources = map[docid.LicenseRegion]kvpin.Source{}
	for _, value := range c.registries {
		license, where, ok := strings.Cut(value, "=")
		if !ok || where == "" || !docid.ValidRegion(license) {
			return nil, exit.WrongFlag("registry", "%q: expected dbCode=natsURL, dbCode=file:PATH or dbCode=@context, such as aws-eu-west-1=nats://nats:4222", Redact(value))
		}
		var t Target
		if name, ok := strings.CutPrefix(where, "@"); ok {
			t, err = c.contextTarget(name)
		} else {
			t, err = c.urlTarget("registry", where)
		}
		if err != nil {
			return nil, err
		}
		sources[docid.LicenseRegion(license)] = t.Source()
	}
	return sources, nil
}

// Source is a registry on the target.
func (t Target) Source() kvpin.Source {
	return kvpin.Source{URL: t.URL, Domain: t.Domain, Options: t.Options}
}

// Find returns the license regions whose registries are on a target.
func (c *Clusters) Find(ctx context.Context, t Target) (found []docid.LicenseRegion, err error) {
	nc, err := c.Connect(t)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	found, err = kvpin.Find(ctx, nc, t.Domain)
	if err != nil && !errors.Is(err, jetstream.ErrJetStreamNotEnabled) {
		return nil, fmt.Errorf("look for registries on %s: %w", Redact(t.URL), err)
	}
	return found, nil
}

// Explain adds what NATS denied to an error that somebody does not answer.
func (c *Clusters) Explain(err error) error { return c.denied.explain(err) }

// Package check looks for what is wrong with registries, histories and stores.
package check

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/cmd/wsctl/web"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/preflight"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/open"
)

var findingColumns = []console.Column[preflight.Finding]{
	console.Shown("REGISTRY", func(f preflight.Finding) string { return string(f.License) }),
	console.Shown("CHECK", func(f preflight.Finding) string { return f.Check }),
	console.Shown("RESULT", func(f preflight.Finding) string { return f.Result }),
	console.Shown("DETAIL", preflight.Finding.Text),
}

// checkFlags say what there is to look at beside the registries.
type checkFlags struct {
	monitors, stores []string
	historyDomain    string
}

// Command makes the verb check.
func Command(c *command.Env) *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look for what is wrong with registries, histories and stores, and say how to mend it",
		Long: `Look at the history streams of each region, at each registry's bucket, replicas,
clock, latency and leases, at the URLs of the regions, which are dialled as nodes
that carry clients there do, and at the stores of --store. Whether writes reach
the disk before they are acknowledged is not told to clients of NATS: name the
monitoring URLs of its servers by --monitor. The exit code is 6 if something is
wrong. What a node would find before it starts is told by wsnode serve --check.`,
		Args: command.Exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings, err := lookAtAll(cmd.Context(), c, f)
			if err != nil {
				return err
			}
			err = console.PrintRows(c.Console, findingColumns, func(yield func(preflight.Finding, error) bool) {
				for _, f := range findings {
					if !yield(f, nil) {
						return
					}
				}
			})
			if wrong := preflight.CountWrong(findings); err == nil && wrong > 0 {
				err = exit.With(exit.Unhealthy, "%s wrong", console.Plural(wrong, "thing"))
			}
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&f.monitors, "monitor", nil, "monitoring URL of a NATS server, such as http://nats-0:8222; repeat for each server")
	fl.StringArrayVar(&f.stores, "store", nil, "store to look at, as URL or dbCode=URL; repeat for each")
	fl.StringVar(&f.historyDomain, "history-domain", "", "JetStream domain, or prefix of imports, under which history streams are found (default: --nats-domain) [$WSCTL_HISTORY_DOMAIN]")
	return cmd
}

func lookAtAll(ctx context.Context, c *command.Env, f checkFlags) (findings []preflight.Finding, err error) {
	for _, u := range f.monitors {
		if _, err := web.ParseURL("monitor", u, "http", "https"); err != nil {
			return nil, err
		}
	}
	stores, err := f.namedStores()
	if err != nil {
		return nil, err
	}
	targets, err := c.Clusters.Targets()
	if err != nil {
		return nil, err
	}
	twice, err := checkTargets(ctx, c.Clusters)
	if err != nil {
		return nil, err
	}
	var sources map[docid.LicenseRegion]kvpin.Source
	err = c.Clusters.WithRegistries(ctx, func(r *reach.Registries) error {
		sources = r.Sources
		for _, t := range targets {
			region := preflight.Region{URL: t.URL, Options: t.Options, Timeout: c.Clusters.Timeout,
				Domain: cmp.Or(f.historyDomain, os.Getenv("WSCTL_HISTORY_DOMAIN"), t.Domain)}
			found, _ := region.Check(ctx)
			findings = append(findings, found...)
		}
		for _, license := range r.Licenses() {
			findings = append(findings, preflight.Registry{License: license, Source: r.Sources[license], Timeout: c.Clusters.Timeout}.Check(ctx)...)
		}
		findings = append(findings, checkURLs(ctx, r)...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	findings = append(findings, twice...)
	for _, store := range stores {
		store.Timeout = c.Clusters.Timeout
		if source, ok := sources[store.License]; ok {
			store.Registry = &source
		}
		findings = append(findings, store.Check(ctx)...)
	}
	if len(f.monitors) == 0 {
		findings = append(findings, preflight.Finding{Check: "fsync", Result: preflight.Unknown, Detail: "clients of NATS are not told", Mend: "name the monitoring URLs of its servers by --monitor"})
	}
	for _, u := range f.monitors {
		findings = append(findings, checkSync(ctx, u, c.Clusters.Timeout))
	}
	return findings, nil
}

// namedStores are those of --store.
func (f checkFlags) namedStores() (stores []preflight.Store, err error) {
	for _, value := range f.stores {
		license, url := docid.LicenseRegion(""), value
		if before, after, ok := strings.Cut(value, "="); ok && strings.HasPrefix(before, "aws-") {
			license, url = docid.LicenseRegion(before), after
		}
		if !strings.Contains(url, "://") || license != "" && !docid.ValidRegion(string(license)) {
			return nil, exit.WrongFlag("store", "expected URL or dbCode=URL, such as aws-eu-west-1=s3://bucket/prefix")
		}
		stores = append(stores, preflight.Store{
			License: license, Name: storage.Redact(url),
			Open: func(ctx context.Context) (storage.Store, error) { return open.Open(ctx, url, license) },
		})
	}
	return stores, nil
}

// checkURLs looks whether the registries send clients to the same places.
func checkURLs(ctx context.Context, r *reach.Registries) []preflight.Finding {
	rows, err := r.Regions(ctx)
	if err != nil && len(rows) == 0 {
		return []preflight.Finding{{Check: "regions", Result: preflight.Unknown, Detail: err.Error(), Mend: "mend the registries first"}}
	}
	var findings []preflight.Finding
	for _, row := range rows {
		if len(row.Differs) == 0 {
			findings = append(findings, preflight.Finding{Check: "region " + string(row.Region), Result: preflight.OK, Detail: row.URL})
			continue
		}
		findings = append(findings, preflight.Finding{Check: "region " + string(row.Region), Result: preflight.Wrong,
			Detail: fmt.Sprintf("it is %s, but %v", row.URL, row.Differs), Mend: fmt.Sprintf("wsctl regions set %s URL", row.Region)})
	}
	return findings
}

// checkTargets looks for license regions with a registry on more than one cluster: each
// would pin every document by itself.
func checkTargets(ctx context.Context, nats *reach.Clusters) (findings []preflight.Finding, err error) {
	targets, err := nats.Targets()
	if err != nil {
		return nil, err
	}
	type place struct {
		url     string
		created time.Time
	}
	places := map[docid.LicenseRegion][]place{}
	for _, t := range targets {
		url := reach.Redact(t.URL)
		found, err := registriesOn(ctx, nats, t)
		if err != nil {
			continue // the check of its region says why
		}
		for license, created := range found {
			// Two URLs may lead to one cluster: its stream was created once.
			if !slices.ContainsFunc(places[license], func(p place) bool { return p.created.Equal(created) }) {
				places[license] = append(places[license], place{url, created})
			}
		}
	}
	for license, found := range places {
		if len(found) > 1 {
			findings = append(findings, preflight.Finding{License: license, Check: "only one", Result: preflight.Wrong,
				Detail: fmt.Sprintf("it is on %s and on %s: each pins every document by itself", found[0].url, found[1].url),
				Mend:   "start all nodes with the same --registry, then delete the other bucket"})
		}
	}
	slices.SortFunc(findings, func(a, b preflight.Finding) int { return cmp.Compare(a.License, b.License) })
	return findings, nil
}

// registriesOn returns when the buckets of a cluster were created.
func registriesOn(ctx context.Context, nats *reach.Clusters, t reach.Target) (map[docid.LicenseRegion]time.Time, error) {
	licenses, err := nats.Find(ctx, t)
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(t)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	var js jetstream.JetStream
	if t.Domain == "" {
		js, err = jetstream.New(nc)
	} else {
		js, err = jetstream.NewWithDomain(nc, t.Domain)
	}
	if err != nil {
		return nil, err
	}
	created := map[docid.LicenseRegion]time.Time{}
	for _, license := range licenses {
		stream, err := js.Stream(ctx, kvpin.StreamName(license))
		if err != nil {
			return created, fmt.Errorf("look at the registry %s: %w", license, err)
		}
		created[license] = stream.CachedInfo().Created
	}
	return created, nil
}

// checkSync asks a server's monitoring whether it syncs every write.
func checkSync(ctx context.Context, monitor string, timeout time.Duration) preflight.Finding {
	f := preflight.Finding{Check: "fsync " + storage.Redact(monitor), Result: preflight.Unknown, Mend: "see whether the URL is that of a NATS server's monitoring"}
	u, err := web.ParseURL("monitor", monitor, "http", "https")
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	var jsz struct {
		Config struct {
			Always   bool          `json:"sync_always"`
			Interval time.Duration `json:"sync_interval"`
		} `json:"config"`
	}
	body, err := web.Get(ctx, http.DefaultClient, u.JoinPath("jsz"), "", timeout)
	if err == nil {
		err = json.Unmarshal(body, &jsz)
	}
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	if jsz.Config.Always {
		return preflight.Finding{Check: f.Check, Result: preflight.OK, Detail: "every write is synced"}
	}
	f.Result, f.Mend = preflight.Wrong, "set sync_interval: always in the server's jetstream block"
	f.Detail = fmt.Sprintf("synced every %s: killing all servers takes back acknowledged pins, and brings back expired ones", jsz.Config.Interval)
	return f
}

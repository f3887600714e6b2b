package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
)

// finding is one line of a registry check.
type finding struct {
	License docid.LicenseRegion `json:"license"` // empty: all, or a server
	Check   string              `json:"check"`
	Result  string              `json:"result"` // ok, unknown, weak or wrong
	Detail  string              `json:"detail"`
	Mend    string              `json:"mend,omitempty"` // what to do about it
	// Figures are the numbers of Detail, for scripts; their names hold the units.
	Figures map[string]float64 `json:"figures,omitempty"`
}

// The results. Only what is wrong makes the check fail: what is weak is a choice,
// right on one's own machine and risky in production.
const (
	resultOK      = "ok"
	resultUnknown = "unknown"
	resultWeak    = "weak"
	resultWrong   = "wrong"
)

var findingColumns = []column[finding]{
	{"REGISTRY", false, func(f finding) string { return string(f.License) }},
	{"CHECK", false, func(f finding) string { return f.Check }},
	{"RESULT", false, func(f finding) string { return f.Result }},
	{"DETAIL", false, func(f finding) string {
		if f.Mend == "" {
			return f.Detail
		}
		return f.Detail + "; to mend it: " + f.Mend
	}},
}

// Bounds of a healthy registry.
const (
	clockWeak    = time.Second            // leases expire by the leader's clock
	clockWrong   = 5 * time.Second        // half a lease time
	latencyWeak  = 100 * time.Millisecond // each first client of a document waits for several answers
	latencyWrong = 800 * time.Millisecond // nodes wait no longer for an answer
	storageWeak  = 0.8                    // of the account's limit
	goodReplicas = 3
	reads        = 9 // to measure the latency
)

func (c *cli) registryCommand() *cobra.Command {
	return noun("registry", "Whether the registries are fit", []*cobra.Command{c.checkRegistryCommand()}, []*cobra.Command{c.initRegistryCommand()})
}

func (c *cli) checkRegistryCommand() *cobra.Command {
	var monitors []string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look for what is wrong with the registries, and say how to mend it",
		Long: `Look at each registry's bucket, replicas, clock, latency and leases, and at the
URLs of the regions. Whether writes reach the disk before they are acknowledged
is not told to clients of NATS: name the monitoring URLs of its servers by
--monitor. The exit code is 6 if something is wrong.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings, err := c.checkRegistries(cmd.Context(), monitors)
			if err != nil {
				return err
			}
			err = printRows(c, findingColumns, func(yield func(finding, error) bool) {
				for _, f := range findings {
					if !yield(f, nil) {
						return
					}
				}
			})
			wrong := 0
			for _, f := range findings {
				if f.Result == resultWrong {
					wrong++
				}
			}
			if err == nil && wrong > 0 {
				err = failed(exitUnhealthy, "%s wrong", plural(wrong, "thing"))
			}
			return err
		},
	}
	cmd.Flags().StringArrayVar(&monitors, "monitor", nil, "monitoring URL of a NATS server, such as http://nats-0:8222; repeat for each server")
	return cmd
}

// check gathers findings about one registry.
type check struct {
	license  docid.LicenseRegion
	js       jetstream.JetStream
	nc       *nats.Conn
	stream   string
	domain   string
	findings []finding
}

func (k *check) add(name, result, mend, format string, args ...any) {
	if result == resultOK {
		mend = ""
	}
	k.findings = append(k.findings, finding{License: k.license, Check: name, Result: result, Detail: fmt.Sprintf(format, args...), Mend: mend})
}

// measured adds figures to the finding that was added last.
func (k *check) measured(figures map[string]float64) { k.findings[len(k.findings)-1].Figures = figures }

func inMS(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (c *cli) checkRegistries(ctx context.Context, monitors []string) (findings []finding, err error) {
	for _, u := range monitors {
		if _, err := parseURL("monitor", u, "http", "https"); err != nil {
			return nil, err
		}
	}
	targets, err := c.checkTargets(ctx)
	if err != nil {
		return nil, err
	}
	err = c.withRegistries(ctx, func(r *registries) error {
		for _, license := range r.licenses() {
			findings = append(findings, c.checkRegistry(ctx, r, license)...)
		}
		findings = append(findings, r.checkURLs(ctx)...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	findings = append(findings, targets...)
	if len(monitors) == 0 {
		findings = append(findings, finding{Check: "fsync", Result: resultUnknown, Detail: "clients of NATS are not told", Mend: "name the monitoring URLs of its servers by --monitor"})
	}
	for _, u := range monitors {
		findings = append(findings, checkSync(ctx, u, c.reach.timeout))
	}
	return findings, nil
}

// checkRegistry looks at one registry.
func (c *cli) checkRegistry(ctx context.Context, r *registries, license docid.LicenseRegion) []finding {
	source := r.sources[license]
	k := &check{license: license, stream: kvpin.StreamName(license), domain: source.Domain}
	if err := r.failed[license]; err != nil {
		k.addFailure(err)
	} else {
		k.add("bucket", resultOK, "", "%s is as nodes need it", k.stream)
	}
	var err error
	if k.nc, err = c.reach.connect(target{url: source.URL, domain: source.Domain, options: source.Options}); err != nil {
		k.add("connection", resultWrong, "see whether NATS runs, and whether the network and the credentials allow it", "%v", err)
		return k.findings
	}
	defer k.nc.Close()
	if k.js, err = k.jetstream(); err != nil {
		k.add("connection", resultWrong, "turn JetStream on", "%v", err)
		return k.findings
	}
	ctx, cancel := context.WithTimeout(ctx, c.reach.timeout)
	defer cancel()
	k.replicas(ctx)
	k.latency(ctx)
	k.storage(ctx)
	if i := r.inspectors[license]; i != nil {
		k.leases(ctx, i)
		k.outlived(ctx, i)
	}
	return k.findings
}

func (k *check) jetstream() (jetstream.JetStream, error) {
	if k.domain != "" {
		return jetstream.NewWithDomain(k.nc, k.domain)
	}
	return jetstream.New(k.nc)
}

func (k *check) addFailure(err error) {
	var bucket *kvpin.BucketError
	if !errors.As(err, &bucket) {
		k.add("bucket", resultWrong, "see whether the bucket's servers run and have a leader: nats stream info "+k.stream, "%v", err)
		return
	}
	for _, wrong := range bucket.Wrong {
		mend := "nats stream edit " + k.stream
		switch {
		case strings.Contains(wrong, "does not exist"):
			mend = "wsctl registry init, or start a node that may create it"
		case strings.Contains(wrong, "nats-server"):
			mend = "upgrade the server"
		case strings.Contains(wrong, "memory"), strings.Contains(wrong, "mirrors"):
			mend = "delete it when no document is live, and wsctl registry init, or start a node that may create it"
		}
		k.add("bucket", resultWrong, mend, "%s", wrong)
	}
}

// replicas looks at the stream below the bucket, and at the clock of its leader,
// which is in the answer.
func (k *check) replicas(ctx context.Context) {
	sent := time.Now()
	stream, err := k.js.Stream(ctx, k.stream)
	if err != nil {
		k.add("replicas", resultWrong, "see whether the bucket's servers run: nats stream info "+k.stream, "%v", err)
		return
	}
	info := stream.CachedInfo()
	half := time.Since(sent) / 2
	if !info.TimeStamp.IsZero() {
		k.clock(info.TimeStamp.Sub(sent.Add(half)), half)
	}
	have := max(info.Config.Replicas, 1)
	switch {
	case have < goodReplicas:
		// Without the description the nats command takes away what the bucket has.
		k.add("replicas", resultWeak, fmt.Sprintf("on a cluster of three: nats stream edit %s --replicas 3 --description %q", k.stream, kvpin.BucketDescription),
			"%s: whatever that server loses is lost", plural(have, "replica"))
	default:
		k.add("replicas", resultOK, "", "%d", have)
	}
	k.measured(map[string]float64{"replicas": float64(have)})
	if info.Cluster == nil {
		return
	}
	if info.Cluster.Leader == "" {
		k.add("leader", resultWrong, "bring back a majority of its servers", "the bucket has no leader: nothing can be pinned")
	}
	for _, peer := range info.Cluster.Replicas {
		switch {
		case peer.Offline:
			k.add("replica "+peer.Name, resultWrong, "bring the server back, or remove it: nats server raft peer-remove", "offline for %s", peer.Active.Round(time.Second))
		case !peer.Current:
			k.add("replica "+peer.Name, resultWeak, "wait; if it stays so, see the server's disk and network", "behind by %s", plural(int(peer.Lag), "operation"))
		}
	}
}

// clock judges how far the leader's clock is from ours, give or take half of the
// time that the answer took.
func (k *check) clock(off, uncertain time.Duration) {
	const mend = "keep the clocks of the servers by NTP; if it is this machine's that is wrong, keep that one"
	surely := off.Abs() - uncertain
	result := resultOK
	switch {
	case surely > clockWrong:
		result = resultWrong
	case surely > clockWeak:
		result = resultWeak
	}
	k.add("clock", result, mend, "the leader's is %s off this machine's, ±%s", off.Round(time.Millisecond), uncertain.Round(10*time.Microsecond))
	k.measured(map[string]float64{"offMs": inMS(off), "uncertainMs": inMS(uncertain)})
}

// latency measures reads from the leader, which is what nodes do.
func (k *check) latency(ctx context.Context) {
	api := "$JS.API."
	if k.domain != "" {
		api = "$JS." + k.domain + ".API."
	}
	var took []time.Duration
	for range reads {
		start := time.Now()
		if _, err := k.nc.RequestWithContext(ctx, api+"STREAM.MSG.GET."+k.stream, []byte(`{"seq":1}`)); err != nil {
			k.add("latency", resultWrong, "see whether the bucket has a leader: nats stream info "+k.stream, "a read from the leader: %v", err)
			return
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	median, worst := took[len(took)/2], took[len(took)-1]
	result := resultOK
	switch {
	case median > latencyWrong:
		result = resultWrong
	case median > latencyWeak:
		result = resultWeak
	}
	k.add("latency", result, "move the bucket nearer to the nodes, or relieve its servers", "reads from the leader took %s, at most %s",
		median.Round(10*time.Microsecond), worst.Round(10*time.Microsecond))
	k.measured(map[string]float64{"medianMs": inMS(median), "maxMs": inMS(worst)})
}

// storage compares what the account uses with what it may.
func (k *check) storage(ctx context.Context) {
	account, err := k.js.AccountInfo(ctx)
	if err != nil {
		k.add("storage", resultUnknown, "let wsctl's user ask for $JS.API.INFO", "%v", err)
		return
	}
	limit := account.Limits.MaxStore
	if limit <= 0 {
		k.add("storage", resultOK, "", "%s in use, no limit for the account", bytesText(int64(account.Store)))
		k.measured(map[string]float64{"usedBytes": float64(account.Store)})
		return
	}
	share := float64(account.Store) / float64(limit)
	result := resultOK
	if share > storageWeak {
		result = resultWeak
	}
	k.add("storage", result, "give the account more: a full one refuses every document", "%.0f%% of %s in use", share*100, bytesText(limit))
	k.measured(map[string]float64{"usedBytes": float64(account.Store), "limitBytes": float64(limit)})
}

func (k *check) leases(ctx context.Context, i *kvpin.Inspector) {
	leases, err := i.Leases(ctx, k.license)
	switch {
	case err != nil:
		k.add("leases", resultWrong, "look again; if it stays so, see the bucket's servers", "%v", err)
	case len(leases) == 0:
		k.add("leases", resultWeak, "start a node, or see why those that run do not reach this registry", "no node has a lease")
	default:
		k.add("leases", resultOK, "", "%s", plural(len(leases), "node"))
		k.measured(map[string]float64{"nodes": float64(len(leases))})
		k.together(leases)
	}
}

// together looks whether the nodes of each region belong together, by what they say
// in their leases, which are sorted by region. The first node of a region to start
// stands for it.
func (k *check) together(leases []kvpin.Lease) {
	first := map[docid.Region]kvpin.Lease{}
	for _, l := range leases {
		if f, ok := first[l.Region]; !ok || l.Started.Before(f.Started) {
			first[l.Region] = l
		}
	}
	for _, l := range leases {
		if why := first[l.Region].Differs(l.About); why != "" {
			k.add("region "+string(l.Region), resultWrong, "give all its nodes the same --nats-url and the same version",
				"nodes %s and %s do not belong together: %s", first[l.Region].Node, l.Node, why)
		}
	}
}

// outlived looks for keys that are there although they have expired.
func (k *check) outlived(ctx context.Context, i *kvpin.Inspector) {
	found, err := i.Outlived(ctx, k.license)
	pins, leases := len(found.Pins), len(found.Leases)
	result := resultOK
	switch {
	case err != nil:
		k.add("expiry", resultWrong, "look again; if it stays so, see the bucket's servers", "%v", err)
		return
	case pins+leases > 0:
		result = resultWrong
	}
	k.add("expiry", result, "set sync_interval: always in the servers' jetstream block; nodes ignore these keys and remove them within two hours",
		"%s and %s are there after their time", plural(pins, "pin"), plural(leases, "lease"))
	k.measured(map[string]float64{"pins": float64(pins), "leases": float64(leases)})
}

// checkURLs looks whether the registries send clients to the same places.
func (r *registries) checkURLs(ctx context.Context) []finding {
	rows, err := r.regions(ctx)
	if err != nil && len(rows) == 0 {
		return []finding{{Check: "regions", Result: resultUnknown, Detail: err.Error(), Mend: "mend the registries first"}}
	}
	var findings []finding
	for _, row := range rows {
		if len(row.Differs) == 0 {
			findings = append(findings, finding{Check: "region " + string(row.Region), Result: resultOK, Detail: row.URL})
			continue
		}
		findings = append(findings, finding{Check: "region " + string(row.Region), Result: resultWrong,
			Detail: fmt.Sprintf("it is %s, but %v", row.URL, row.Differs), Mend: fmt.Sprintf("wsctl regions set %s URL", row.Region)})
	}
	return findings
}

// checkTargets looks for clusters that are not reached, and for license regions with
// a registry on more than one: each would pin every document by itself.
func (c *cli) checkTargets(ctx context.Context) (findings []finding, err error) {
	targets, err := c.reach.targets()
	if err != nil {
		return nil, err
	}
	type place struct {
		url     string
		created time.Time
	}
	places := map[docid.LicenseRegion][]place{}
	for _, t := range targets {
		url := redact(t.url)
		found, err := c.registriesOn(ctx, t)
		if err != nil {
			findings = append(findings, finding{Check: "NATS " + url, Result: resultWrong, Detail: err.Error(),
				Mend: "see whether it runs, and whether the network and the credentials allow it"})
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
			findings = append(findings, finding{License: license, Check: "only one", Result: resultWrong,
				Detail: fmt.Sprintf("it is on %s and on %s: each pins every document by itself", found[0].url, found[1].url),
				Mend:   "start all nodes with the same --registry, then delete the other bucket"})
		}
	}
	slices.SortFunc(findings, func(a, b finding) int { return cmp.Compare(a.License, b.License) })
	return findings, nil
}

// registriesOn returns when the buckets of a cluster were created.
func (c *cli) registriesOn(ctx context.Context, t target) (map[docid.LicenseRegion]time.Time, error) {
	licenses, err := c.reach.find(ctx, t)
	if err != nil {
		return nil, err
	}
	nc, err := c.reach.connect(t)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := (&check{nc: nc, domain: t.domain}).jetstream()
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
func checkSync(ctx context.Context, monitor string, timeout time.Duration) finding {
	f := finding{Check: "fsync " + monitor, Result: resultUnknown, Mend: "see whether the URL is that of a NATS server's monitoring"}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(monitor, "/")+"/jsz", nil)
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	defer answer.Body.Close()
	var jsz struct {
		Config struct {
			Always   bool          `json:"sync_always"`
			Interval time.Duration `json:"sync_interval"`
		} `json:"config"`
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&jsz); err != nil || answer.StatusCode != http.StatusOK {
		f.Detail = fmt.Sprintf("%s: %v", answer.Status, err)
		return f
	}
	if jsz.Config.Always {
		return finding{Check: f.Check, Result: resultOK, Detail: "every write is synced"}
	}
	f.Result, f.Mend = resultWrong, "set sync_interval: always in the server's jetstream block"
	f.Detail = fmt.Sprintf("synced every %s: killing all servers takes back acknowledged pins, and brings back expired ones", jsz.Config.Interval)
	return f
}

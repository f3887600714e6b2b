package preflight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/natsconn"
)

// Registry is the registry of a license region.
type Registry struct {
	License docid.LicenseRegion
	Source  kvpin.Source
	Node    *Member       // that wants to use it; nil: an operator looks
	Timeout time.Duration // 0: DefaultTimeout
	Now     Now
}

// Member is what a node would say in its lease.
type Member struct {
	Region    docid.Region
	Node      docid.NodeID
	PublicURL string
	Lease     time.Duration
	kvpin.About
}

// Bounds of a healthy registry.
const (
	latencyWeak  = 100 * time.Millisecond // each first client of a document waits for several answers
	latencyWrong = 800 * time.Millisecond // nodes wait no longer for an answer
	storageWeak  = 0.8                    // of the account's limit
	reads        = 9                      // to measure the latency
)

// registry is a look at one.
type registry struct {
	Registry
	report
	nc     *nats.Conn
	js     jetstream.JetStream
	stream string
	found  bool // the bucket is there
}

// Check looks at the registry.
func (g Registry) Check(ctx context.Context) []Finding {
	if g.Timeout == 0 {
		g.Timeout = DefaultTimeout
	}
	k := &registry{Registry: g, report: report{license: g.License}, stream: kvpin.StreamName(g.License)}
	var err error
	if k.nc, err = connect(g.Source.URL, g.Source.Options, g.Timeout); err != nil {
		k.add("connection", Wrong, mendConnection(err), "connect to NATS%s: %v", natsconn.At(g.Source.URL), err)
		return k.findings
	}
	defer k.nc.Close()
	if k.js, err = jetStream(k.nc, g.Source.Domain); err != nil {
		k.add("connection", Wrong, "turn JetStream on", "%v", err)
		return k.findings
	}
	if g.Node != nil {
		// First: a request that is denied gets no answer, which looks like a fault.
		if r := k.rights(ctx); len(r.missing) > 0 {
			r.judge(&k.report, "the user of the registry", "REGISTRY_POD_…_RIGHTS")
			return k.findings
		} else {
			r.judge(&k.report, "the user of the registry", "")
		}
	}
	ways := k.look(ctx)
	// Its look may have used up the registry's time: regions are other machines, and have their own.
	k.findings = append(k.findings, together(ctx, ways...)...)
	return k.findings
}

// look looks at the registry itself, and returns the checks of the ways to regions.
func (k *registry) look(ctx context.Context) (ways []func(context.Context) []Finding) {
	ctx, cancel := context.WithTimeout(ctx, k.Timeout)
	defer cancel()
	if k.bucket(ctx); !k.found {
		return nil
	}
	k.replicas(ctx)
	k.latency(ctx)
	k.storage(ctx)
	return k.inspect(ctx)
}

func jetStream(nc *nats.Conn, domain string) (jetstream.JetStream, error) {
	if domain != "" {
		return jetstream.NewWithDomain(nc, domain)
	}
	return jetstream.New(nc)
}

// rights tries out what a node does with its registries.
func (k *registry) rights(ctx context.Context) *rights {
	r := &rights{nc: k.nc, timeout: k.Timeout}
	app := stranger.AppID()
	app.License = k.License
	usage := "wsn.usage." + string(k.License) + "." + app.LimitKey("app")
	r.subscribe(ctx, usage)
	r.publish(ctx, usage)
	api, keys := apiPrefix(k.Source.Domain), "$KV."+strings.TrimPrefix(k.stream, "KV_")+"."
	if there := r.ask(ctx, api+"STREAM.INFO."+k.stream, ""); !there {
		return r // nobody takes the rest
	}
	last := fmt.Sprintf(`{"last_by_subj":%q}`, keys+"none")
	r.ask(ctx, api+"STREAM.MSG.GET."+k.stream, last)
	r.ask(ctx, api+"DIRECT.GET."+k.stream, last)
	write := keys
	if k.Source.Domain != "" {
		write = api + keys
	}
	for _, key := range []string{
		stranger.PinKey(), app.LimitKey("app"),
		"lease." + string(k.Node.Region) + "." + string(k.Node.Node), "sweep." + string(k.Node.Region),
	} {
		r.write(ctx, write+key)
	}
	return r
}

// bucket looks whether nodes can use the bucket.
func (k *registry) bucket(ctx context.Context) {
	source := k.Source
	source.Create = false
	_, err := kvpin.Create(ctx, k.License, source)
	k.found = true
	if err == nil {
		k.add("bucket", OK, "", "%s is as nodes need it", k.stream)
		return
	}
	var bucket *kvpin.BucketError
	if !errors.As(err, &bucket) {
		k.add("bucket", Wrong, "see whether the bucket's servers run and have a leader: nats stream info "+k.stream, "%v", err)
		return
	}
	for _, wrong := range bucket.Wrong {
		mend := "nats stream edit " + k.stream
		switch {
		case strings.Contains(wrong, "does not exist"):
			k.found = false
			mend = "wsctl registry init, or start a node that may create it"
			if k.Node != nil && k.Source.Create && mayCreate(ctx, k.nc, k.Source.Domain, k.stream, k.Timeout) {
				k.add("bucket", OK, "", "there is none yet; the first node creates it")
				continue
			}
		case strings.Contains(wrong, "replicas"):
			mend += fmt.Sprintf(" --replicas %d --description %q", k.Source.Replicas, kvpin.BucketDescription)
		case strings.Contains(wrong, "nats-server"):
			mend = "upgrade the server"
		case strings.Contains(wrong, "memory"), strings.Contains(wrong, "mirrors"):
			mend = "delete it when no document is live, and wsctl registry init, or start a node that may create it"
		}
		k.add("bucket", Wrong, mend, "%s", wrong)
	}
}

// replicas looks at the stream below the bucket, and at the clock of its leader, which
// is in the answer.
func (k *registry) replicas(ctx context.Context) {
	sent := k.Now.now()
	stream, err := k.js.Stream(ctx, k.stream)
	if err != nil {
		k.add("replicas", Wrong, "see whether the bucket's servers run: nats stream info "+k.stream, "%v", err)
		return
	}
	info := stream.CachedInfo()
	half := k.Now.now().Sub(sent) / 2
	if !info.TimeStamp.IsZero() {
		k.clock("clock", "the leader's", info.TimeStamp.Sub(sent.Add(half)), half)
	}
	k.report.replicas("", info, k.asked(), kvpin.BucketDescription)
}

// asked is how many replicas a node was told, which the bucket's check compares.
func (k *registry) asked() int {
	if k.Node == nil {
		return 0
	}
	return min(max(k.Source.Replicas, 1), goodReplicas)
}

// latency measures reads from the leader, which is what nodes do.
func (k *registry) latency(ctx context.Context) {
	var took []time.Duration
	for range reads {
		start := time.Now()
		if _, err := k.nc.RequestWithContext(ctx, apiPrefix(k.Source.Domain)+"STREAM.MSG.GET."+k.stream, []byte(`{"seq":1}`)); err != nil {
			k.add("latency", Wrong, "see whether the bucket has a leader: nats stream info "+k.stream, "a read from the leader: %v", err)
			return
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	median, worst := took[len(took)/2], took[len(took)-1]
	result := OK
	switch {
	case median > latencyWrong:
		result = Wrong
	case median > latencyWeak:
		result = Weak
	}
	k.add("latency", result, "move the bucket nearer to the nodes, or relieve its servers", "reads from the leader took %s, at most %s",
		median.Round(10*time.Microsecond), worst.Round(10*time.Microsecond))
	k.measured(map[string]float64{"medianMs": inMS(median), "maxMs": inMS(worst)})
}

// storage compares what the account uses with what it may. Nodes need not know.
func (k *registry) storage(ctx context.Context) {
	if k.Node != nil {
		return
	}
	account, err := k.js.AccountInfo(ctx)
	if err != nil {
		k.add("storage", Unknown, "let wsctl's user ask for $JS.API.INFO", "%v", err)
		return
	}
	limit := account.Limits.MaxStore
	if limit <= 0 {
		k.add("storage", OK, "", "%s in use, no limit for the account", bytesText(int64(account.Store)))
		k.measured(map[string]float64{"usedBytes": float64(account.Store)})
		return
	}
	share := float64(account.Store) / float64(limit)
	result := OK
	if share > storageWeak {
		result = Weak
	}
	k.add("storage", result, "give the account more: a full one refuses every document", "%.0f%% of %s in use", share*100, bytesText(limit))
	k.measured(map[string]float64{"usedBytes": float64(account.Store), "limitBytes": float64(limit)})
}

// Package permissions runs nodes and operators under the configuration of NATS that
// the product ships, to show that it suffices and that it holds.
package permissions

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/quota"
	"github.com/wsnode/wsnode/relay/room"
	"github.com/wsnode/wsnode/test/e2e/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }

const license = docid.LicenseRegion("aws-eu-west-1")

var doc = docid.Document{License: license, Tenant: "acme", App: "notes", Name: "a b"}

func TestTheCommandsInTheConfigurationGiveEveryVariable(t *testing.T) {
	var text, comments string
	for _, name := range []string{"nats.conf", "permissions.conf", "cluster.conf"} {
		part, err := os.ReadFile(filepath.Join("..", "..", "deploy", "nats", name))
		if err != nil {
			t.Fatal(err)
		}
		text += string(part)
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			comments += line
		}
	}
	for _, variable := range regexp.MustCompile(`\$(\w+_\w+)`).FindAllStringSubmatch(text, -1) {
		name := variable[1]
		if strings.Contains(text, "\n"+name+": {") {
			continue // the configuration's own
		}
		if !strings.Contains(comments, name+"=") {
			t.Errorf("no command gives %s", name)
		}
		// Nodes refuse what begins with WSNODE_ and is no setting of theirs.
		if !strings.HasPrefix(name, "NATS_") {
			t.Errorf("%s does not begin with NATS_", name)
		}
	}
}

// violations collects what the server refuses.
type violations struct {
	mu   sync.Mutex
	seen []string
}

func (v *violations) option() nats.Option {
	return nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.seen = append(v.seen, err.Error())
	})
}

func (v *violations) check(t *testing.T) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, text := range v.seen {
		if strings.Contains(text, "ermission") {
			t.Error(text)
		}
	}
}

// setUp creates the streams as an operator does, and the regions' URLs.
func (s *shipped) setUp(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := history.Create(ctx, s.connect(t, setupHistory), history.Config{Domain: "history"}); err != nil {
		t.Fatal(err)
	}
	for _, l := range []docid.LicenseRegion{license, "aws-us-east-1"} {
		if _, err := kvpin.Create(ctx, l, kvpin.Source{URL: s.url(setupRegistry), Domain: "registry", Options: s.options(setupRegistry), Create: true}); err != nil {
			t.Fatal(err)
		}
	}
	i := s.inspect(ctx, t, operator)
	defer i.Close()
	for region, url := range map[docid.Region]string{"eu-central-1": "wss://eu-central-1.example", "us-east-1": "wss://us-east-1.example"} {
		if err := i.SetRegionURL(ctx, license, region, url); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *shipped) inspect(ctx context.Context, t *testing.T, user string, more ...nats.Option) *kvpin.Inspector {
	t.Helper()
	i, err := kvpin.OpenInspector(ctx, map[docid.LicenseRegion]kvpin.Source{
		license: {URL: s.url(user), Domain: "registry", Options: s.options(user, more...)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// parts are what a node has on NATS.
type parts struct {
	bus      *bus.Bus
	history  *history.History
	rooms    *room.Rooms
	registry *kvpin.Registry
}

func (s *shipped) registry(ctx context.Context, t *testing.T, user, region, id string, v *violations) *kvpin.Registry {
	t.Helper()
	r, err := kvpin.Open(ctx, kvpin.Config{
		Region: docid.Region(region), Node: docid.NodeID(id), URL: "wss://" + region + ".example", Grace: time.Second,
		Registries: map[docid.LicenseRegion]kvpin.Source{
			license: {URL: s.url(user), Domain: "registry", Options: s.options(user, v.option())},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (s *shipped) node(t *testing.T, id string, v *violations) *parts {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	nc, err := bus.Connect(ctx, bus.ConnectConfig{URL: s.url(pod), Options: s.options(pod, v.option())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	p := new(parts)
	if p.bus, err = bus.New(nc, bus.Config{Node: docid.NodeID(id)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.bus.Close)
	if p.history, err = history.Open(ctx, nc, history.Config{Publisher: p.bus, Domain: "history"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.history.Close)
	if p.rooms, err = room.Open(room.Config{Bus: p.bus, History: p.history}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.rooms.Close)
	p.registry = s.registry(ctx, t, registryPod, "eu-central-1", id, v)
	return p
}

func TestNodesNeedNoMoreThanTheShippedPermissions(t *testing.T) {
	s := ship(t)
	s.setUp(t)
	v := new(violations)
	a, b := s.node(t, "a", v), s.node(t, "b", v)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	hold, err := a.registry.Hold(ctx, doc)
	must(err)
	epoch := string(hold.Pin().Epoch)
	live, err := a.rooms.Open(ctx, doc, epoch, false, nil)
	must(err)
	also, err := b.registry.Hold(ctx, doc)
	must(err)
	second, err := b.rooms.Open(ctx, doc, epoch, false, nil)
	must(err)
	must(live.Restore(ctx)) // append and acknowledgement
	answer, err := b.bus.Request(ctx, doc.SignalsSubject(), oplog.Question())
	must(err)
	if got, ok := oplog.ReadWho(answer); !ok || got != epoch {
		t.Errorf("who: %q", got)
	}
	_, err = a.registry.Regions(ctx)
	must(err)
	second.Close()
	_, err = also.Release(ctx, time.Now())
	must(err)
	live.Close()
	_, err = hold.Release(ctx, time.Now())
	must(err)
	must(a.history.Drop(ctx, doc.UpdatesSubject(a.history.Shard(doc.PinKey()), epoch)))
	for _, err := range a.history.Subjects(ctx, docid.UpdatesFilter(0)) {
		must(err)
	}
	_, err = a.history.State(ctx)
	must(err)
	v.check(t)
}

// A node of another region uses the registry of this one, and counts for plan
// limits together with its nodes.
func TestNodesOfOtherRegionsNeedTheRegistryOnly(t *testing.T) {
	s := ship(t)
	s.setUp(t)
	v := new(violations)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	here := s.registry(ctx, t, registryPod, "eu-central-1", "a", v)
	there := s.registry(ctx, t, foreignPod, "us-east-1", "z", v)
	hold, err := there.Hold(ctx, doc)
	if err != nil {
		t.Fatal(err)
	}
	if pin, state, err := here.Lookup(ctx, doc); err != nil || state != kvpin.Live || pin.Region != "us-east-1" {
		t.Errorf("seen from the other region: %v %v, %v", pin, state, err)
	}
	for _, r := range []*kvpin.Registry{here, there} {
		if url, err := r.RegionURL(ctx, "us-east-1"); err != nil || url != "wss://us-east-1.example" {
			t.Errorf("URL: %q, %v", url, err)
		}
		keys := r.Keys(license)
		key := doc.AppID().LimitKey("x")
		e, err := keys.Get(ctx, key)
		if err == nil {
			_, err = keys.Update(ctx, key, []byte("1"), e.Revision, time.Minute)
		}
		if err != nil {
			t.Errorf("limits: %v", err)
		}
	}
	answering, asking := quota.OpenNATSExchange(here.Conn), quota.OpenNATSExchange(there.Conn)
	defer answering.Close()
	defer asking.Close()
	stop, err := answering.Answer(doc.AppID(), func() []byte { return []byte("7") })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := here.Conn(license).Flush(); err != nil {
		t.Fatal(err)
	}
	asked, done := context.WithCancel(ctx)
	answers := 0
	_ = asking.Ask(asked, doc.AppID(), func(answer []byte) { // it ends with its context
		if string(answer) == "7" {
			answers++
			done()
		}
	})
	done()
	if answers != 1 {
		t.Errorf("%d answers about usage", answers)
	}
	// A deletion here ends the document there.
	here.Attach(looked{})
	there.Attach(looked{})
	removed, err := here.Evict(ctx, doc)
	if err != nil || len(removed) != 1 {
		t.Fatalf("evicted %v: %v", removed, err)
	}
	if silent, err := here.StoreChanged(ctx, doc, removed[0], true); err != nil {
		t.Errorf("%v were not told: %v", silent, err)
	}
	if _, err := hold.Release(ctx, time.Now()); err != nil {
		t.Error(err)
	}
	v.check(t)
}

// looked is a node that looks at stores whenever it is told to.
type looked struct{ kvpin.Rooms }

func (looked) Told(context.Context, docid.Document, kvpin.Epoch) error { return nil }

func TestOperatorsSeePinsAndReadersToo(t *testing.T) {
	s := ship(t)
	s.setUp(t)
	v := new(violations)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := s.registry(ctx, t, registryPod, "eu-central-1", "a", v)
	hold, err := r.Hold(ctx, doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{operator, reader} {
		i := s.inspect(ctx, t, user, v.option())
		if leases, err := i.Leases(ctx, license); err != nil || len(leases) != 1 {
			t.Errorf("%s sees %d leases, %v", user, len(leases), err)
		}
		pins := 0
		for _, err := range i.Pins(ctx, license, kvpin.PinFilter{}) {
			if err != nil {
				t.Error(err)
			}
			pins++
		}
		if pins != 1 {
			t.Errorf("%s sees %d pins", user, pins)
		}
		watched := 0
		watch, stop := context.WithCancel(ctx)
		if err := i.WatchPins(watch, license, kvpin.PinFilter{}, func(kvpin.PinInfo) { watched++; stop() }); err != nil || watched == 0 {
			t.Errorf("%s watches %d pins, %v", user, watched, err)
		}
		stop()
		if user == operator {
			info, err := i.Pin(ctx, doc)
			if err == nil {
				err = i.Unpin(ctx, doc, info.Pin.Revision) // and tells its holder
			}
			if err != nil {
				t.Errorf("unpin: %v", err)
			}
		}
		i.Close()
		if user == operator { // the holder pins it again
			for pinned := false; !pinned && ctx.Err() == nil; {
				_, state, err := r.Lookup(ctx, doc)
				pinned = err == nil && state == kvpin.Live
			}
		}
	}
	if _, err := hold.Release(ctx, time.Now()); err != nil {
		t.Error(err)
	}
	v.check(t)
}

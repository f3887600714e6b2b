// Package permissions runs nodes and operators under the NATS permissions that
// the product ships, to show that they suffice and that they hold.
package permissions

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/room"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const license = docid.LicenseRegion("aws-eu-west-1")

var doc = docid.Document{License: license, Tenant: "acme", App: "notes", Name: "a b"}

// shipped starts a server with the configuration in deploy/nats.
func shipped(t *testing.T) *server.Server {
	t.Helper()
	for key, value := range map[string]string{
		"NATS_NAME": "test", "NATS_LISTEN": "127.0.0.1:-1", "NATS_MONITOR": "127.0.0.1:-1", "NATS_STORE": t.TempDir(),
		"WSNODE_POD_PASSWORD": "pod", "WSNODE_OPERATOR_PASSWORD": "operator", "WSNODE_READER_PASSWORD": "reader",
	} {
		t.Setenv(key, value)
	}
	options, err := server.ProcessConfigFile(filepath.Join("..", "..", "deploy", "nats", "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	options.NoSigs = true
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server did not start")
	}
	return s
}

func TestTheCommandInTheConfigurationGivesEveryVariable(t *testing.T) {
	var text string
	for _, name := range []string{"nats.conf", "permissions.conf"} {
		part, err := os.ReadFile(filepath.Join("..", "..", "deploy", "nats", name))
		if err != nil {
			t.Fatal(err)
		}
		text += string(part)
	}
	command, _, _ := strings.Cut(text, "nats-server -c")
	for _, variable := range regexp.MustCompile(`\$((?:NATS|WSNODE)_\w+)`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(command, variable[1]+"=") {
			t.Errorf("the command gives no %s", variable[1])
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

func user(name string) nats.Option {
	return nats.UserInfo(map[string]string{"pod": "wsnode", "operator": "operator", "reader": "reader"}[name], name)
}

// parts are what a node has on NATS.
type parts struct {
	bus      *bus.Bus
	history  *history.History
	rooms    *room.Rooms
	registry *kvpin.Registry
}

func node(t *testing.T, url, id string, v *violations) *parts {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	nc, err := bus.Connect(ctx, bus.ConnectConfig{URL: url, Options: []nats.Option{user("pod"), v.option()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	p := new(parts)
	if p.bus, err = bus.New(nc, bus.Config{Node: id}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.bus.Close)
	if p.history, err = history.Open(ctx, nc, history.Config{Publisher: p.bus}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.history.Close)
	if p.rooms, err = room.Open(room.Config{Bus: p.bus, History: p.history}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.rooms.Close)
	p.registry, err = kvpin.Open(ctx, kvpin.Config{
		Region: "eu-central-1", Node: docid.NodeID(id), URL: "wss://eu-central-1.example", Grace: time.Second,
		Registries: map[docid.LicenseRegion]kvpin.Source{license: {URL: url, Create: true, Options: []nats.Option{user("pod"), v.option()}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.registry.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestNodesNeedNoMoreThanTheShippedPermissions(t *testing.T) {
	url := shipped(t).ClientURL()
	v := new(violations)
	a, b := node(t, url, "a", v), node(t, url, "b", v)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
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
	v.check(t)
}

func TestThePermissionsKeepEverybodyToTheirOwn(t *testing.T) {
	url := shipped(t).ClientURL()
	node(t, url, "a", new(violations)) // makes the streams and buckets
	for _, c := range []struct{ user, subject string }{
		{"pod", "$JS.API.STREAM.DELETE.wsnode-history-0"},
		{"pod", "$JS.API.STREAM.CREATE.orders"},
		{"pod", "$JS.API.STREAM.PURGE.orders"},
		{"pod", "$KV.orders.pin.x"},
		{"pod", control.Subject(control.DrainVerb, "a")},
		{"operator", doc.UpdatesSubject(0, "e")},
		{"operator", "$KV.wsnode-aws-eu-west-1.lease.a"},
		{"operator", "$JS.API.STREAM.PURGE.wsnode-history-0"},
		{"reader", "$KV.wsnode-aws-eu-west-1.pin.acme.notes.x"},
		{"reader", control.Subject(control.DrainVerb, "a")},
		{"reader", "$JS.API.STREAM.MSG.GET.wsnode-history-0"},
	} {
		t.Run(fmt.Sprintf("%s publishes %s", c.user, c.subject), func(t *testing.T) {
			refused := make(chan error, 1)
			nc, err := nats.Connect(url, user(c.user), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
				select {
				case refused <- err:
				default:
				}
			}))
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if err := errors.Join(nc.Publish(c.subject, nil), nc.Flush()); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-refused:
				if !strings.Contains(err.Error(), "ermission") {
					t.Error(err)
				}
			case <-time.After(time.Minute):
				t.Error("it was let through")
			}
		})
	}
}

func TestOperatorsSeePinsAndReadersToo(t *testing.T) {
	url := shipped(t).ClientURL()
	v := new(violations)
	n := node(t, url, "a", v)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	hold, err := n.registry.Hold(ctx, doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"operator", "reader"} {
		found := inspect(ctx, t, url, who, v)
		if found != 1 {
			t.Errorf("%s sees %d pins", who, found)
		}
	}
	if _, err := hold.Release(ctx, time.Now()); err != nil {
		t.Error(err)
	}
	v.check(t)
}

// inspect counts the pins that a user can see.
func inspect(ctx context.Context, t *testing.T, url, who string, v *violations) (pins int) {
	t.Helper()
	i, err := kvpin.OpenInspector(ctx, map[docid.LicenseRegion]kvpin.Source{license: {URL: url, Options: []nats.Option{user(who), v.option()}}})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if leases, err := i.Leases(ctx, license); err != nil || len(leases) != 1 {
		t.Errorf("%s sees %d leases, %v", who, len(leases), err)
	}
	for _, err := range i.Pins(ctx, license, kvpin.PinFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		pins++
	}
	return pins
}

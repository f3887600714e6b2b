package permissions

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/history"
	"github.com/wsnode/wsnode/relay/room"
)

// testdata/one-account.conf are the permissions that version 3bca598 shipped. An
// upgrade takes the nodes first.
func TestNodesWorkUnderThePermissionsOfTheVersionBefore(t *testing.T) {
	for variable, value := range map[string]string{"WSNODE_POD_PASSWORD": "p1", "WSNODE_OPERATOR_PASSWORD": "p4", "WSNODE_READER_PASSWORD": "p5"} {
		t.Setenv(variable, value)
	}
	options := &server.Options{ServerName: "before", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir()}
	authorization, err := server.ProcessConfigFile(filepath.Join("testdata", "before.conf"))
	if err != nil {
		t.Fatal(err)
	}
	options.Users = authorization.Users
	n, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	n.Start()
	t.Cleanup(func() { n.Shutdown(); n.WaitForShutdown() })
	if !n.ReadyForConnections(time.Minute) {
		t.Fatal("the server did not start")
	}
	s := &shipped{Server: n}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	url := func(user string) string { return "nats://" + user + "@" + s.Addr().String() }
	// Nobody minds that hints are denied.
	as := func(user string) []nats.Option { return s.options(user)[1:] }
	nc, err := bus.Connect(ctx, bus.ConnectConfig{URL: url(pod), Options: as(pod)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	b, err := bus.New(nc, bus.Config{Node: "a"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	h, err := history.Open(ctx, nc, history.Config{Publisher: b})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	rooms, err := room.Open(room.Config{Bus: b, History: h})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rooms.Close)
	r, err := kvpin.Open(ctx, kvpin.Config{
		Region: "eu-central-1", Node: "a", URL: "wss://eu-central-1.example",
		Registries: map[docid.LicenseRegion]kvpin.Source{license: {URL: url(pod), Options: as(pod), Create: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	hold, err := r.Hold(ctx, doc)
	if err != nil {
		t.Fatal(err)
	}
	live, err := rooms.Open(ctx, doc, string(hold.Pin().Epoch), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := live.Restore(ctx); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{operator, reader} {
		i, err := kvpin.OpenInspector(ctx, map[docid.LicenseRegion]kvpin.Source{license: {URL: url(user), Options: as(user)}})
		if err != nil {
			t.Fatal(err)
		}
		if leases, err := i.Leases(ctx, license); err != nil || len(leases) != 1 {
			t.Errorf("%s: %d leases, %v", user, len(leases), err)
		}
		i.Close()
	}
	live.Close()
	if _, err := hold.Release(ctx, time.Now()); err != nil {
		t.Error(err)
	}
	if err := r.Close(ctx); err != nil {
		t.Error(err)
	}
}

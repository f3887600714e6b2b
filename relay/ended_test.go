package relay

import (
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestAConnectionThatEndsForGoodMakesTheNodeUnreadyUntilItIsThereAgain(t *testing.T) {
	servers := natstest.Server(t)
	proxy := natstest.NewProxy(t, servers.URL)
	const license = docid.LicenseRegion("aws-eu-west-1")
	p := startedNode(t, oneNode(t, proxy.URL, proxy.URL))
	await := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("not within a minute: " + what)
			}
		}
	}
	operator := control.NewClient(natstest.Connect(t, servers), time.Second)
	answers := func() bool { _, err := operator.Info(t.Context(), "a"); return err == nil }
	await("an answer to operators", answers)
	for range 2 {
		before := p.links.bus.Conn()
		proxy.Say("-ERR 'Something That No Client Knows'\r\n")
		await("unready", func() bool { return p.Ended() != nil })
		await("ready again", func() bool { return p.Ended() == nil && p.links.bus.Conn() != before })
		await("an answer to operators", answers)
		await("the history", func() bool { _, err := p.links.history.State(t.Context()); return err == nil })
		await("an append", func() bool {
			stored := make(chan error, 1)
			doc := docid.Document{License: license, Tenant: "acme", App: "notes", Name: "x"}
			subject := doc.UpdatesSubject(p.links.history.Shard("x"), "e")
			if p.links.history.Append(subject, []byte("x"), func(_ uint64, err error) { stored <- err }) != nil {
				return false
			}
			return <-stored == nil
		})
		await("the registry", func() bool { return p.links.registry.Reachable(license) })
	}
}

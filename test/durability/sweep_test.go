package durability

import (
	"fmt"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestHistoriesThatCrashesLeftAreSweptAndLiveOnesAreNot(t *testing.T) {
	i := natstest.Server(t)
	often := func(c *relay.Config) { c.SweepEvery = 500 * time.Millisecond }
	a, b := startPod(t, i, "a", often), startPod(t, i, "b", often)

	live := dial(t, a.url, "live", "")
	live.typeText("here to stay")
	abandoned := docid.Document{License: license, Tenant: "acme", App: "notes", Name: "left behind"}
	foreign := docid.Document{License: "aws-us-east-1", Tenant: "acme", App: "notes", Name: "of a registry that is not ours"}
	earlier := docid.Document{License: license, Tenant: "acme", App: "notes", Name: "live"} // in an epoch that has ended
	for _, doc := range []docid.Document{abandoned, foreign, earlier} {
		done := make(chan error, 1)
		err := a.history.Append(doc.UpdatesSubject(a.history.Shard(doc.PinKey()), "ended"), []byte("x"), func(_ uint64, err error) { done <- err })
		if err == nil {
			err = <-done
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, time.Minute, func() (bool, string) {
		n, _ := subjects(t, a.history)
		return n == 2, fmt.Sprintf("%d histories, expected the live one and the foreign one", n)
	})
	time.Sleep(3 * time.Second) // several sweeps more
	if n, _ := subjects(t, a.history); n != 2 {
		t.Errorf("%d histories after more sweeps, expected 2", n)
	}
	late := dial(t, b.url, "live", "")
	late.waitHas(live)
}

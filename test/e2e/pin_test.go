package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
	"github.com/wsnode/wsnode/test/wait"
)

// grace is how long a document stays pinned after its last client left.
const grace = 10 * time.Second

func TestSecondRegionIsRedirectedToThePin(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	token := dev.Token()
	node := yjs.Start(t)
	for region := range dev.Regions {
		if found := cluster.Discover(t, dev.HTTP(region, 0), token, "doc"); !found.IsNew {
			t.Fatalf("nobody has opened the document: %+v", found)
		}
	}
	node.Join(on(dev, cluster.US, 1, token, "doc"))
	for region := range dev.Regions {
		if found := cluster.Discover(t, dev.HTTP(region, 0), token, "doc"); found.IsNew || found.Region != "us-east-1" {
			t.Errorf("the document is open in us-east-1: %+v", found)
		}
	}
	c := node.Open(on(dev, cluster.EU, 0, token, "doc"))
	if got, expected := c.WaitClosed(4009).Reason, "REDIRECT:"+dev.WS(cluster.US, 0)+"/doc"; got != expected {
		t.Errorf("the reason is %q, expected %q", got, expected)
	}
}

func TestDiscoveryOfANewDocumentPrefersTheTokensRegion(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	for _, test := range []struct {
		regionCode, expected string
	}{
		{"us-east-1", "us-east-1"},
		{"eu-central-1", "eu-central-1"},
		{"ap-nowhere-1", "eu-central-1"},
		{"aws-us-east-1", "eu-central-1"},
	} {
		token := dev.Token("regionCode", test.regionCode)
		found := cluster.Discover(t, dev.HTTP(cluster.EU, 1), token, "doc")
		if !found.IsNew || found.Region != test.expected {
			t.Errorf("regionCode %s: %+v, expected region %s", test.regionCode, found, test.expected)
		}
	}
}

// A hundred times, ten clients in each of two regions open a new document at the
// same instant.
func TestOneRegionWinsEachRaceAndAllConverge(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	token := dev.Token()
	const rounds, clients = 100, 20
	node := yjs.Start(t)
	wins := make([]int, len(dev.Regions))
	for round := range rounds {
		document := fmt.Sprintf("race-%d", round)
		racers := make([]*yjs.Client, clients)
		for i := range racers {
			o := on(dev, i%2, i/2%2, token, document)
			o.Follow = true
			racers[i] = node.Open(o)
		}
		node.TypeTogether(1, racers...)
		node.WaitSame(settle, racers...)

		winner := cluster.Discover(t, dev.HTTP(round%2, 0), token, document)
		if winner.IsNew {
			t.Fatalf("%s: twenty clients have it open, and isNew is true", document)
		}
		for i, racer := range racers {
			closes := racer.State().Closes
			home := dev.Regions[i%2] == winner.Region
			redirects := 0
			for _, c := range closes {
				switch {
				case c.Code == 1013: // "try again later": the provider does
					t.Logf("%s: %v", document, c)
				case home || c.Code != 4009 || c.Reason != "REDIRECT:"+winner.URL:
					t.Fatalf("%s: a client of %s was closed with %v, expected nothing but redirects to %s", document, dev.Regions[i%2], closes, winner.URL)
				default:
					redirects++
				}
			}
			if !home && redirects != 1 {
				t.Fatalf("%s: a client of the losing region was redirected %d times: %v", document, redirects, closes)
			}
			racer.Destroy()
		}
		for i, region := range dev.Regions {
			if region == winner.Region {
				wins[i]++
			}
		}
	}
	t.Logf("wins of %v: %v", dev.Regions, wins)
}

func TestReconnectWithinTheGracePeriodFindsTheContent(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	token := dev.Token()
	node := yjs.Start(t)
	a := node.Join(on(dev, cluster.EU, 0, token, "doc"))
	a.Insert(0, "content")
	b := node.Join(on(dev, cluster.EU, 1, token, "doc"))
	b.WaitText("content")
	a.Destroy()
	b.Destroy()

	time.Sleep(grace / 2) // the contract's time itself is under test
	if found := cluster.Discover(t, dev.HTTP(cluster.US, 0), token, "doc"); found.IsNew || found.Region != "eu-central-1" {
		t.Errorf("the document is in its grace period: %+v", found)
	}
	c := node.Join(on(dev, cluster.EU, 1, token, "doc"))
	c.WaitText("content")
}

func TestAfterTheGracePeriodADocumentWithoutAStoreIsUnpinnedAndEmpty(t *testing.T) {
	t.Parallel()
	dev := cluster.DevConfig{Flags: []string{"--store", "none"}}.Start(t)
	token := dev.Token()
	node := yjs.Start(t)
	a := node.Join(on(dev, cluster.EU, 0, token, "doc"))
	a.Insert(0, "content")
	b := node.Join(on(dev, cluster.EU, 1, token, "doc"))
	b.WaitText("content")
	clock := wait.Start()
	a.Destroy()
	b.Destroy()

	cluster.WaitUnpinned(t, dev.HTTP(cluster.EU, 0), token, "doc", grace+settle)
	if took := clock.Took(); took < grace-200*time.Millisecond || clock.Exceeds(grace+2*time.Second) {
		t.Errorf("the document was unpinned after %v, expected %v", took, grace)
	}
	c := node.Join(on(dev, cluster.US, 0, token, "doc"))
	if s := c.State(); s.Text != "" || len(s.Closes) != 0 {
		t.Errorf("the next life begins with %q, closes %v", s.Text, s.Closes)
	}
	c.Insert(0, "new content")
	late := node.Open(on(dev, cluster.EU, 0, token, "doc"))
	late.WaitClosed(4009)
	if found := cluster.Discover(t, dev.HTTP(cluster.EU, 1), token, "doc"); found.IsNew || found.Region != "us-east-1" {
		t.Errorf("the document lives in us-east-1 now: %+v", found)
	}
}

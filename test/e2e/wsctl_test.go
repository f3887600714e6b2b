package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

func TestWsctlListsPins(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	node := yjs.Start(t)
	token := dev.Token()
	node.Join(on(dev, cluster.EU, 0, token, "shared"))
	node.Join(on(dev, cluster.EU, 1, token, "shared"))
	node.Join(on(dev, cluster.US, 1, dev.Token("tenant", "acme", "dbCode", "aws-us-east-1"), "a b/ü"))

	type pin struct {
		Document, Name, Tenant, License, Region string
		Nodes                                   []string
		Since                                   time.Time
	}
	var pins []pin
	if err := json.Unmarshal([]byte(cluster.Wsctl(t, "pins", "--nats-url", dev.NATS, "-o", "json")), &pins); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(pins, func(a, b pin) int { return strings.Compare(a.Name, b.Name) })
	if len(pins) != 2 {
		t.Fatalf("pins are %+v, expected two", pins)
	}
	for i, expected := range []pin{
		{Name: "a b/ü", Tenant: "acme", License: "aws-us-east-1", Region: "us-east-1", Nodes: []string{"us-east-1-1"}},
		{Name: "shared", Tenant: "dev", License: "aws-eu-west-1", Region: "eu-central-1", Nodes: []string{"eu-central-1-0", "eu-central-1-1"}},
	} {
		got := pins[i]
		slices.Sort(got.Nodes)
		if got.Name != expected.Name || got.Tenant != expected.Tenant || got.License != expected.License ||
			got.Region != expected.Region || !slices.Equal(got.Nodes, expected.Nodes) || time.Since(got.Since).Abs() > time.Minute {
			t.Errorf("pin %+v, expected %+v", got, expected)
		}
	}

	table := cluster.Wsctl(t, "pins", "--nats-url", dev.NATS)
	for _, word := range []string{"DOCUMENT", "REGION", "NODES", "SINCE", "shared", "a b/ü", "us-east-1-1"} {
		if !strings.Contains(table, word) {
			t.Errorf("the table does not hold %s:\n%s", word, table)
		}
	}
}

func TestWsctlGetsATokenThatIsTaken(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	token := strings.TrimSpace(cluster.Wsctl(t, "token", "--dev-url", dev.HTTP(cluster.US, 0), "--tenant", "acme", "--region", "us-east-1"))
	if found := cluster.Discover(t, dev.HTTP(cluster.EU, 0), token, "doc"); found.Region != "us-east-1" {
		t.Errorf("%+v, expected the token's region", found)
	}
	yjs.Start(t).Join(on(dev, cluster.EU, 0, token, "doc"))
}

package cluster

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// EU and US are the indexes of wsnode dev's default regions.
const (
	EU = iota
	US
)

// Dev is a running `wsnode dev`.
type Dev struct {
	*Process
	tb      testing.TB
	Port    int      // that of the first node of the first region
	Regions []string // in the order of their indexes
	Nodes   int      // in each region
	NATS    string   // URL of the first region's NATS, which holds the registries
}

// DevConfig is how to start a `wsnode dev`. The zero value has its default
// regions and nodes, on free ports.
type DevConfig struct {
	Regions []string
	Nodes   int
	Port    int      // of an earlier one that has ended
	Flags   []string // more of them
}

// StartDev starts `wsnode dev` with its defaults and waits until it is ready.
func StartDev(tb testing.TB) *Dev {
	tb.Helper()
	return DevConfig{}.Start(tb)
}

// Start starts `wsnode dev` and waits until it is ready.
func (c DevConfig) Start(tb testing.TB) *Dev {
	tb.Helper()
	if c.Regions == nil {
		c.Regions = []string{"eu-central-1", "us-east-1"}
	}
	if c.Nodes == 0 {
		c.Nodes = 2
	}
	if c.Port == 0 {
		c.Port = FreePorts(tb, devPorts(len(c.Regions), c.Nodes))
	}
	natsPort := FreePorts(tb, len(c.Regions))
	args := append([]string{"dev",
		"--port", strconv.Itoa(c.Port),
		"--nats-port", strconv.Itoa(natsPort),
		"--regions", strings.Join(c.Regions, ","),
		"--nodes", strconv.Itoa(c.Nodes),
	}, c.Flags...)
	d := &Dev{
		Process: Run(tb, "wsnode-dev", Binary(tb, wsnode), args...),
		tb:      tb, Port: c.Port, Regions: c.Regions, Nodes: c.Nodes,
		NATS: fmt.Sprintf("nats://127.0.0.1:%d", natsPort),
	}
	d.WaitLine(func(line string) bool { return line == "ready" })
	return d
}

// Addr is the address of a node: region and node are indexes from 0.
func (d *Dev) Addr(region, node int) string {
	return fmt.Sprintf("127.0.0.1:%d", d.Port+10*region+node)
}

// WS is the server URL of a node for providers.
func (d *Dev) WS(region, node int) string { return "ws://" + d.Addr(region, node) }

// HTTP is the base URL of a node's HTTP API.
func (d *Dev) HTTP(region, node int) string { return "http://" + d.Addr(region, node) }

// Token asks for a token; parameters are pairs of name and value, such as
// "tenant", "acme".
func (d *Dev) Token(pairs ...string) string {
	d.tb.Helper()
	return fetchToken(d.tb, d.HTTP(EU, 0), pairs)
}

func fetchToken(tb testing.TB, base string, pairs []string) string {
	tb.Helper()
	query := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		query.Set(pairs[i], pairs[i+1])
	}
	a := Get(tb, base+"/dev/token?"+query.Encode(), "")
	if a.Status != 200 {
		tb.Fatalf("/dev/token: %d %s", a.Status, a.Body)
	}
	return strings.TrimSpace(string(a.Body))
}

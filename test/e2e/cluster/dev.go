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

// StartDev starts `wsnode dev` with its default regions and nodes on free ports
// and waits until it is ready. More flags may be given.
func StartDev(tb testing.TB, flags ...string) *Dev {
	tb.Helper()
	return StartDevRegions(tb, []string{"eu-central-1", "us-east-1"}, 2, flags...)
}

// StartDevRegions is StartDev with regions and nodes of one's choice.
func StartDevRegions(tb testing.TB, regions []string, nodes int, flags ...string) *Dev {
	tb.Helper()
	d := &Dev{tb: tb, Regions: regions, Nodes: nodes, Port: freePorts(tb, devOffsets(len(regions), nodes))}
	natsPort := freePorts(tb, devOffsets(1, len(regions)))
	d.NATS = fmt.Sprintf("nats://127.0.0.1:%d", natsPort)
	args := append([]string{"dev",
		"--nats-port", strconv.Itoa(natsPort),
		"--port", strconv.Itoa(d.Port),
		"--regions", strings.Join(regions, ","),
		"--nodes", strconv.Itoa(nodes),
	}, flags...)
	d.Process = Run(tb, "wsnode-dev", Binary(tb, wsnode), args...)
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

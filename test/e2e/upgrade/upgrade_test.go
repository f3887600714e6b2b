package upgrade

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/wsnode/wsnode/clients/load"
	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/crowd"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

// region is one whose nodes are replaced one by one.
type region struct {
	t     *testing.T
	serve cluster.Serve
	nodes []*cluster.Node
}

// replace ends a node as a rolling update does, and starts one of a version in its place.
func (r *region) replace(i int, v version) {
	r.t.Helper()
	r.nodes[i].Terminate()
	if code := r.nodes[i].Wait(); code != 0 {
		r.t.Errorf("node %d ended with %d before %s took its place", i, code, v.name)
	}
	r.start(i, v)
}

func (r *region) start(i int, v version) {
	r.t.Helper()
	again := r.serve
	again.Program = v.wsnode
	if r.nodes[i] != nil {
		again.Listen = r.nodes[i].Addr
	}
	r.nodes[i] = again.StartHealthy(r.t)
	for line := range strings.Lines(r.nodes[i].Output()) {
		if strings.Contains(line, "level=ERROR") {
			r.t.Errorf("%s says: %s", v.name, line)
		}
	}
}

// ctl runs a version's wsctl, which must succeed.
func (r *region) ctl(v version, args ...string) string {
	r.t.Helper()
	out, err := exec.Command(v.wsctl, append(args, "--nats-url", r.serve.NATS)...).CombinedOutput()
	if err != nil {
		r.t.Errorf("wsctl %q of %s: %v\n%s", args, v.name, err, out)
	}
	return string(out)
}

// commands are what wsctl has in both versions, with what they must say.
var commands = map[string]string{
	"nodes list":                           "eu-central-1",
	"sessions list":                        "acme/notes/story",
	"docs list":                            "acme/notes/story",
	"docs get acme/notes/story":            "acme/notes/story",
	"docs stat acme/notes/story":           "acme/notes/story",
	"pins list":                            "acme/notes/story",
	"regions list":                         "ws://eu-central-1.example",
	"registry check":                       "aws-eu-west-1",
	"trace aws-eu-west-1/acme/notes/story": "admitted",
}

// looks has a wsctl of each version look at all nodes, whatever theirs is.
func (r *region) looks(versions ...version) {
	r.t.Helper()
	var running sync.WaitGroup // most of them wait for answers
	for _, v := range versions {
		for command, says := range commands {
			running.Go(func() {
				if out := r.ctl(v, strings.Fields(command)...); !strings.Contains(out, says) || strings.Contains(out, "no answer") {
					r.t.Errorf("wsctl %s of %s says no %q:\n%s", command, v.name, says, out)
				}
			})
		}
	}
	running.Wait()
}

// Nothing that clients type is lost while a region is upgraded node by node, nor on the
// way back, and the wsctl of either version works all the while.
func TestARegionIsUpgradedNodeByNodeAndTakenBack(t *testing.T) {
	nodes, o := 2, load.EndureOptions{Docs: 4, Clients: 3, Rate: 20}
	if soak() {
		nodes, o = 3, load.EndureOptions{Docs: 40, Clients: 10, Rate: 300}
	}
	before, now := previous(t), current(t)
	t.Logf("from %s to %s and back", before.name, now.name)
	keys := issuer.New(t)
	r := &region{t: t, nodes: make([]*cluster.Node, nodes), serve: cluster.Serve{
		Region: "eu-central-1", JWKS: keys.JWKS, NATS: cluster.StartNATS(t), URL: "ws://eu-central-1.example", Flags: []string{
			"--admin-listen", "off", "--refused-per-minute", "0", "--admitted-per-minute", "0", "--health-per-minute", "0", // all come from one address
		},
	}}
	target := load.Target{Name: "region", Token: keys.Token(nil)}
	for i := range r.nodes {
		r.start(i, before)
		target.URLs = append(target.URLs, r.nodes[i].WS())
	}
	typing := crowd.Start(t, "typing clients", target, o)
	real, token := yjs.Start(t), keys.Token(nil)
	var people []*yjs.Client
	for _, n := range r.nodes {
		people = append(people, real.Join(yjs.Options{URL: n.WS(), Document: "story", Token: token}))
	}
	told := ""
	tell := func(part string) {
		t.Helper()
		for i, p := range people {
			p.WaitText(told)
			line := fmt.Sprintf("%s %d. ", part, i)
			p.Insert(-1, line)
			told += line
		}
		for _, p := range people {
			p.WaitText(told)
		}
	}
	tell("before")
	r.looks(now)
	for _, v := range []version{now, before} {
		for i := range r.nodes {
			r.replace(i, v)
			tell(fmt.Sprintf("node %d is of %s", i, v.name))
			r.looks(before, now)
		}
	}
	typing.Finish()
	late := real.Join(yjs.Options{URL: r.nodes[0].WS(), Document: "story", Token: token})
	late.WaitText(told)
}

package permissions

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

// place is where a user finds NATS.
type place struct {
	address  string
	ca       string // file
	replicas string
}

// documented are the commands of docs/operations.md that set a region up, each
// for a shell, at a place.
func documented(t *testing.T, at place) (commands []*exec.Cmd) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(cluster.Root(), "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer(
		"nats-0:4222", at.address, "/etc/wsnode/nats-ca.pem", at.ca,
		"setup-history:…", setupHistory, "setup-registry:…", setupRegistry, "operator:…", operator)
	_, section, _ := strings.Cut(string(page), "\n### registry init and history init")
	_, section, _ = strings.Cut(section, "```shell\n")
	section, _, _ = strings.Cut(section, "```")
	path := "PATH=" + filepath.Dir(cluster.Binary(t, "./cmd/wsctl")) + ":" + os.Getenv("PATH")
	export := ""
	for line := range strings.Lines(here.Replace(section)) {
		if strings.HasPrefix(line, "export ") {
			export = line
			continue
		}
		line = strings.Replace(line, "--replicas 3", "--replicas "+at.replicas, 1)
		cmd := exec.Command("sh", "-c", export+line)
		cmd.Env = append(os.Environ(), path)
		commands = append(commands, cmd)
	}
	if len(commands) != 3 {
		t.Fatalf("found %v", commands)
	}
	return commands
}

// ctl runs wsctl as a user of a domain; it must succeed.
func (s *shipped) ctl(t *testing.T, user, domain string, args ...string) string {
	t.Helper()
	return cluster.Wsctl(t, append(args, "--nats-url", s.url(user), "--nats-ca", s.ca, "--nats-domain", domain)...)
}

// region is a region of real nodes, whose registry is somewhere.
type region struct {
	name            docid.Region
	nats, registry  *shipped
	user            string // at the registry
	publicURL, jwks string
}

func (r region) start(t *testing.T, id, listen string) *cluster.Node {
	t.Helper()
	var p *cluster.Process
	t.Cleanup(func() { // when it has ended
		if out := p.Output(); strings.Contains(out, "ermission") {
			t.Errorf("%s says:\n%s", id, out)
		}
	})
	p = cluster.RunWsnode(t, "serve", "--region", string(r.name), "--node", id, "--listen", listen, "--public-url", r.publicURL,
		"--nats-url", r.nats.url(pod), "--nats-ca", r.nats.ca, "--history-domain", "history",
		"--registry", string(license)+"="+r.registry.url(r.user), "--registry-domain", "registry",
		"--jwks-url", r.jwks, "--admin-listen", "off", "--drain-spread", "0s")
	return &cluster.Node{Process: p, Addr: listen}
}

// A document is open on two nodes of a region, and found from another region.
func TestRealNodesClientsAndOperatorsNeedNoMore(t *testing.T) {
	eu := ship(t)
	us := eu.another(t, "nats-us")
	for _, cmd := range documented(t, place{eu.Addr().String(), eu.ca, "1"}) {
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
	}
	us.ctl(t, setupHistory, "history", "history", "init", "--yes")
	keys := issuer.New(t)
	listen := []string{cluster.FreeAddress(t), cluster.FreeAddress(t), cluster.FreeAddress(t)}
	home := region{"eu-central-1", eu, eu, registryPod, "ws://" + listen[0], keys.JWKS}
	other := region{"us-east-1", us, eu, foreignPod, "ws://" + listen[2], keys.JWKS}
	for _, r := range []region{home, other} {
		eu.ctl(t, operator, "registry", "regions", "set", string(r.name), r.publicURL, "--yes")
	}
	a, b, z := home.start(t, "a", listen[0]), home.start(t, "b", listen[1]), other.start(t, "z", listen[2])
	for _, n := range []*cluster.Node{a, b, z} {
		cluster.Started(t, n.Process, n.Addr)
	}
	clients, token := yjs.Start(t), keys.Token(nil)
	one := clients.Join(yjs.Options{URL: a.WS(), Document: "todo", Token: token})
	two := clients.Join(yjs.Options{URL: b.WS(), Document: "todo", Token: token})
	one.Insert(0, "milk")
	two.WaitText("milk")
	three := clients.Open(yjs.Options{URL: z.WS(), Document: "todo", Token: token, Follow: true})
	if got, want := three.WaitClosed(4009).Reason, "REDIRECT:"+home.publicURL+"/todo"; got != want {
		t.Errorf("the reason is %q, expected %q", got, want)
	}
	three.WaitText("milk")
	steer(t, eu)
	two.WaitClosed(1012)
	three.Insert(4, ", bread")
	one.WaitText("milk, bread")
}

// steer does what readers and operators do at the nodes a, b and z, and drains b.
func steer(t *testing.T, eu *shipped) {
	t.Helper()
	for _, user := range []string{reader, operator} {
		for command, want := range map[string]string{
			"nodes list": "eu-central-1", "sessions list": "acme/notes/todo", "docs list": "acme/notes/todo", "pins list": "acme/notes/todo",
			"regions list": "us-east-1", "check --history-domain history": "wsnode-history-0 is as nodes need it",
		} {
			if out := eu.ctl(t, user, "registry", strings.Fields(command)...); !strings.Contains(out, want) {
				t.Errorf("%s as %s:\n%s", command, user, out)
			}
		}
	}
	var refused sync.WaitGroup // each waits for an answer that does not come
	for command, rights := range map[string]string{
		"nodes drain b --yes": "OPERATOR", "regions set us-east-1 wss://evil.example --yes": "OPERATOR",
		"pins release acme/notes/todo --force --yes": "OPERATOR", "sessions kick --document acme/notes/todo --yes": "OPERATOR",
		"registry init aws-us-east-1 --yes": "SETUP", "regions evacuate eu-central-1 --to us-east-1 --yes": "OPERATOR",
	} {
		refused.Go(func() {
			if out := eu.fails(t, reader, "registry", strings.Fields(command)...); !strings.Contains(out, "the rights of "+rights) {
				t.Errorf("%s as a reader: %s", command, out)
			}
		})
	}
	refused.Wait()
	// What no store keeps cannot be moved; the mark is written, and taken away.
	if out := eu.fails(t, operator, "registry", "regions", "evacuate", "eu-central-1", "--to", "us-east-1", "--yes"); !strings.Contains(out, "no store keeps it") {
		t.Errorf("evacuated without a store: %s", out)
	}
	if out := eu.ctl(t, operator, "registry", "regions", "list"); !strings.Contains(out, "evacuated") {
		t.Errorf("the region is not marked: %s", out)
	}
	eu.ctl(t, operator, "registry", "regions", "evacuate", "eu-central-1", "--undo", "--yes")
	if out := eu.ctl(t, operator, "registry", "regions", "list"); strings.Contains(out, "evacuated") {
		t.Errorf("the region is still marked: %s", out)
	}
	eu.ctl(t, operator, "registry", "nodes", "drain", "b", "--wait", "--yes")
}

// fails runs wsctl, which must fail, and returns what it says.
func (s *shipped) fails(t *testing.T, user, domain string, args ...string) string {
	t.Helper()
	cmd := exec.Command(cluster.Binary(t, "./cmd/wsctl"), append(args, "--nats-url", s.url(user), "--nats-ca", s.ca, "--nats-domain", domain)...)
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("wsctl %q as %s succeeds: %s", args, user, out)
	}
	return string(out)
}

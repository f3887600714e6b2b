package permissions

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

// day is an operator's: two regions with TLS and the shipped permissions, each of which
// holds a registry, and what docs/operations.md says to type.
type day struct {
	t        *testing.T
	eu, us   *shipped
	page     string
	replaces *strings.Replacer // what stands in the page for what is here
	env      []string
	token    string
	nodes    map[string]*cluster.Node
	admin    map[string]string
}

// command is a command of the page, as it stands there after prompts and in lists.
func (d *day) command(begins string) string {
	d.t.Helper()
	var found []string
	for line := range strings.Lines(d.page) {
		line = strings.TrimSpace(line)
		if len(found) > 0 || strings.HasPrefix(line, begins) {
			found = append(found, strings.TrimSuffix(line, `\`))
			if !strings.HasSuffix(line, `\`) {
				return d.replaces.Replace(strings.Join(found, " "))
			}
		}
	}
	d.t.Fatalf("docs/operations.md has no command %q", begins)
	return ""
}

// types runs a command of the page, with what else it takes here; it must succeed.
func (d *day) types(begins string, more ...string) string {
	d.t.Helper()
	line := d.command(begins)
	cmd := exec.Command("sh", "-c", line+" "+strings.Join(more, " "))
	cmd.Env, cmd.Dir = d.env, d.t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	d.t.Logf("$ %s\n%s", line, out)
	return string(out)
}

// serve is the page's command of a node, for a region.
func (d *day) serve(id string, more ...string) *cluster.Process {
	line := d.command("wsnode serve --region us-east-1")
	if strings.HasPrefix(id, "eu") {
		line = strings.NewReplacer("us-east-1", "eu-central-1", d.us.url(pod), d.eu.url(pod),
			d.nodes["us-1"].Addr, d.nodes["eu-1"].Addr, foreignPod, registryPod, "aws-us-east-1", "aws-us-east-1").Replace(line)
	}
	args := append(strings.Fields(line)[1:], "--node", id, "--listen", d.nodes[id].Addr, "--admin-listen", d.admin[id], "--drain-spread", "1s")
	return cluster.RunWsnode(d.t, append(args, more...)...)
}

func (d *day) start(id string) {
	d.t.Helper()
	d.nodes[id] = cluster.Started(d.t, d.serve(id), d.nodes[id].Addr)
}

// begin sets both regions up.
func begin(t *testing.T) *day {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(cluster.Root(), "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	d := &day{t: t, eu: ship(t, withRoots), page: string(page), nodes: map[string]*cluster.Node{}, admin: map[string]string{}}
	d.us = d.eu.another(t, "nats-us")
	for _, id := range []string{"eu-1", "eu-2", "us-1"} {
		d.nodes[id], d.admin[id] = &cluster.Node{Addr: cluster.FreeAddress(t)}, cluster.FreeAddress(t)
	}
	keys := issuer.New(t)
	d.replaces = strings.NewReplacer(
		"eu-nats-0:4222", d.eu.Addr().String(), "us-nats-0:4222", d.us.Addr().String(), "nats-0:4222", d.eu.Addr().String(),
		"/etc/wsnode/nats-ca.pem", d.eu.ca, "--history-replicas 3", "--history-replicas 1", "--replicas 3", "--replicas 1",
		"wsnode:…", pod, "registry-us-east-1:…", foreignPod, "operator:…", operator,
		"https://backend.example.com/.well-known/jwks.json", keys.JWKS,
		"wss://us-east-1.example.com", "ws://"+d.nodes["us-1"].Addr, "wss://eu-central-1.example.com", "ws://"+d.nodes["eu-1"].Addr,
	)
	for _, at := range []*shipped{d.eu, d.us} {
		for _, cmd := range documented(t, place{at.Addr().String(), at.ca, "1"})[:2] {
			if at == d.us {
				cmd.Args[2] = strings.Replace(cmd.Args[2], "aws-eu-west-1", "aws-us-east-1", 1)
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", cmd, err, out)
			}
		}
	}
	d.env = append(os.Environ(), "PATH="+filepath.Dir(cluster.Binary(t, "./cmd/wsctl"))+":"+os.Getenv("PATH"),
		"WSCTL_NATS_URL="+d.eu.url(operator)+" "+d.us.url(operator), "WSCTL_NATS_DOMAIN=registry", "WSCTL_HISTORY_DOMAIN=history")
	d.names()
	d.token = keys.Token(nil)
	return d
}

// names writes the regions' URLs into both registries.
func (d *day) names() {
	d.t.Helper()
	d.types("wsctl regions set eu-central-1 wss://eu-central-1.example.com --nats-ca")
	line := d.command("wsctl regions set eu-central-1 wss://eu-central-1.example.com --nats-ca")
	line = strings.NewReplacer("eu-central-1", "us-east-1", d.nodes["eu-1"].Addr, d.nodes["us-1"].Addr).Replace(line)
	cmd := exec.Command("sh", "-c", line)
	cmd.Env = d.env
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// prometheus scrapes all nodes with the shipped rules; empty if nobody watches.
func (d *day) prometheus() (address string) {
	d.t.Helper()
	if os.Getenv("WSNODE_SOAK") == "" {
		return ""
	}
	program, err := exec.LookPath("prometheus")
	if err != nil {
		d.t.Fatal("prometheus is not installed: task soak:operator does it")
	}
	address = cluster.FreeAddress(d.t)
	var targets []string
	for _, a := range d.admin {
		targets = append(targets, `"`+a+`"`)
	}
	file := filepath.Join(d.t.TempDir(), "prometheus.yml")
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs: [{job_name: wsnode, static_configs: [{targets: [%s]}]}]\n",
		filepath.Join(cluster.Root(), "deploy", "prometheus", "alerts.yaml"), strings.Join(targets, ", "))
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		d.t.Fatal(err)
	}
	cluster.Run(d.t, "prometheus", program, "--config.file="+file, "--storage.tsdb.path="+d.t.TempDir(), "--web.listen-address="+address)
	return address
}

// sees waits until a query of Prometheus has so many results.
func (d *day) sees(prometheus, query string, results int) {
	d.t.Helper()
	if prometheus == "" {
		return
	}
	var last string
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		answer, err := http.Get("http://" + prometheus + "/api/v1/query?query=" + url.QueryEscape(query))
		if err != nil {
			last = err.Error()
			continue
		}
		var found struct {
			Data struct{ Result []json.RawMessage }
		}
		err = json.NewDecoder(answer.Body).Decode(&found)
		answer.Body.Close()
		if last = fmt.Sprintf("%s, %v", found.Data.Result, err); err == nil && len(found.Data.Result) == results {
			return
		}
	}
	d.t.Fatalf("Prometheus answers %s with %s, expected %d results", query, last, results)
}

// TestAnOperatorsDay goes by the page: set up, check, start, watch, upgrade, back up, and
// restore a registry that is lost. Prometheus watches in task soak:operator only, which
// installs it.
func TestAnOperatorsDay(t *testing.T) {
	d := begin(t)
	ca := "--nats-ca " + d.eu.ca
	for id := range d.nodes {
		if p := d.serve(id, "--check"); p.Wait() != 0 {
			t.Fatalf("%s:\n%s", id, p.Output())
		}
	}
	for id := range d.nodes {
		d.start(id)
	}
	watched := d.prometheus()
	d.sees(watched, `up{job="wsnode"} == 1`, 3)
	clients := yjs.Start(t)
	one := clients.Join(yjs.Options{URL: d.nodes["eu-1"].WS(), Document: "todo", Token: d.token})
	two := clients.Open(yjs.Options{URL: d.nodes["us-1"].WS(), Document: "todo", Token: d.token, Follow: true})
	one.Insert(0, "milk")
	two.WaitText("milk")
	d.types("wsctl check", ca)
	for command, says := range map[string]string{
		"wsctl nodes list --region eu-central-1": "eu-2", "wsctl docs get acme/notes/todo": "eu-1",
		"wsctl sessions list --document acme/notes/todo": "eu-1/", "wsctl regions list -o wide": d.nodes["us-1"].Addr, "wsctl top --once": "eu-1",
	} {
		if out := d.types(command, ca); !strings.Contains(out, says) {
			t.Errorf("%s says no %s:\n%s", command, says, out)
		}
	}

	// A rolling upgrade, node by node.
	for _, id := range []string{"us-1", "eu-2", "eu-1"} {
		drain := d.command("wsctl nodes drain us-1 --delay 1s --spread 1s --wait --yes")
		cmd := exec.Command("sh", "-c", strings.Replace(drain, "us-1", id, 1)+" "+ca)
		cmd.Env = d.env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
		d.nodes[id].Terminate()
		if code := d.nodes[id].Wait(); code != 0 {
			t.Errorf("%s ended with %d", id, code)
		}
		d.start(id)
		d.types("wsctl check", ca)
	}
	one.Insert(-1, ", bread")
	two.WaitText("milk, bread")
	d.sees(watched, `up{job="wsnode"} == 1`, 3)

	d.restore(ca)
	one.Insert(-1, ", tea")
	two.WaitText("milk, bread, tea")
	d.sees(watched, `ALERTS{alertstate="firing",severity="page"}`, 0)
}

// restore loses a registry, and brings it back by the page: nodes may not create it.
func (d *day) restore(ca string) {
	t := d.t
	t.Helper()
	if out := d.types("wsctl regions list -o wide", ca); !strings.Contains(out, "eu-central-1") {
		t.Errorf("there is nothing to back up:\n%s", out)
	}
	d.types("wsctl docs export acme/notes/todo --file todo.yjs --force", ca)
	root, err := nats.Connect(d.eu.url(rootOf("REGISTRY")), nats.RootCAs(d.eu.ca))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := root.Request("$JS.API.STREAM.DELETE."+kvpin.StreamName(docid.LicenseRegion("aws-eu-west-1")), nil, time.Minute); err != nil {
		t.Fatal(err)
	}
	init := documented(t, place{d.eu.Addr().String(), d.eu.ca, "1"})[1]
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", init, err, out)
	}
	d.names()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Second) {
		out := d.types("wsctl pins list --tenant acme --app notes --region eu-central-1 --state live -o wide", ca)
		if strings.Contains(out, "todo") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the nodes do not write their pins into the new registry:\n%s", out)
		}
	}
	d.types("wsctl check", ca)
}

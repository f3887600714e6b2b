package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/clients/load"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/devcluster"
	"github.com/wsnode/wsnode/relay/natsd"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
	typists "github.com/wsnode/wsnode/test/e2e/crowd"
	"github.com/wsnode/wsnode/test/wait"
)

const (
	euRegion = docid.Region("eu-central-1")
	usRegion = docid.Region("us-east-1")
)

// twoRegions are eu-central-1 with two nodes and us-east-1 with two, which share a store.
type twoRegions struct {
	devcluster.TestCluster
	t     *testing.T
	store *storagetest.Faulty
	token string

	onSave atomic.Value // of func(), called before each save
}

// typesX is a Yjs client that types x.
var typesX = []byte{0, 2, 11, 1, 1, 7, 0, 4, 1, 1, 't', 1, 'x', 0}

func newTwoRegions(t *testing.T, configure ...func(*devcluster.Options)) *twoRegions {
	t.Helper()
	r := &twoRegions{t: t, store: &storagetest.Faulty{Store: storagetest.NewMemory()}}
	r.store.Choose = func(operation string, _ docid.Document) storagetest.Fault {
		if wait, ok := r.onSave.Load().(func()); ok && operation == "save" {
			wait()
		}
		return r.store.Get()
	}
	o := devcluster.Options{
		Regions: []docid.Region{euRegion, usRegion}, Nodes: 2,
		NATS: func(int) natsd.Config { return natsd.Config{Listen: "127.0.0.1:0"} },
		Node: relay.Options{Stores: map[docid.LicenseRegion]storage.Store{"aws-eu-west-1": r.store}},
	}
	o.Node.Config.Grace = 3 * time.Second
	for _, c := range configure {
		c(&o)
	}
	r.TestCluster = devcluster.ForTest(t, o)
	_, r.token = r.Client(authn.Subject{Tenant: "acme", App: "notes"})
	r.awaitStores(2 * o.Nodes)
	return r
}

// awaitStores waits until all nodes know of each other that they have the store.
func (r *twoRegions) awaitStores(nodes int) {
	r.t.Helper()
	const license = docid.LicenseRegion("aws-eu-west-1")
	i, err := kvpin.OpenInspector(r.t.Context(), map[docid.LicenseRegion]kvpin.Source{license: {URL: r.Regions[0].NATS.URL()}})
	if err != nil {
		r.t.Fatal(err)
	}
	defer i.Close()
	wait.For(r.t, "the nodes know of each other's stores", func() error {
		leases, err := i.Leases(r.t.Context(), license)
		with := 0
		for _, l := range leases {
			if l.Store != "" && l.Store != kvpin.NoStore {
				with++
			}
		}
		if with != nodes {
			return fmt.Errorf("%d of %d have one: %v", with, nodes, err)
		}
		return nil
	})
}

// ctl runs wsctl, pointed at both regions.
func (r *twoRegions) ctl(args ...string) (code int, said string) {
	r.t.Helper()
	args = append(args, "--nats-url", r.Regions[1].NATS.URL(), "--timeout", "30s")
	code, said = ctl(r.t, r.Regions[0].NATS.URL(), args...)
	r.t.Logf("wsctl %s: %d\n%s", strings.Join(args[:len(args)-4], " "), code, said)
	return code, said
}

func (r *twoRegions) must(args ...string) string {
	r.t.Helper()
	code, said := r.ctl(args...)
	if code != 0 {
		r.t.Fatalf("wsctl %v: exit code %d", args, code)
	}
	return said
}

// evacuates evacuates a region, and runs the command again where the machine was too busy for
// what it waits for.
func (r *twoRegions) evacuates(region docid.Region, more ...string) {
	r.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; {
		code, said := r.ctl(append([]string{"regions", "evacuate", string(region), "--yes"}, more...)...)
		if code == 0 && strings.Contains(said, string(region)+" is evacuated: ") {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s is not evacuated: %d", region, code)
		}
	}
}

// target is all nodes; clients of us-east-1 are carried while their documents are in
// eu-central-1, and those of Hocuspocus' wire wherever they are.
func (r *twoRegions) target(wire load.Protocol) load.Target {
	t := load.Target{Name: "two regions", Token: r.token, Protocol: wire}
	for _, n := range r.Regions[0].Nodes {
		t.URLs = append(t.URLs, n.URL)
	}
	us := r.Regions[1].Nodes[0].URL
	if wire == load.YWebsocket {
		us += "?elsewhere=carry"
	}
	t.URLs = append(t.URLs, us)
	return t
}

// opens connects to a document and returns by which close code that ends, 0 if it does not.
func (r *twoRegions) opens(n *devcluster.Node, document string) (c *websocket.Conn, code websocket.StatusCode, reason string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	c, _, err := websocket.Dial(ctx, n.URL+"/"+document+"?token="+r.token, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	opened := c
	r.t.Cleanup(func() { _ = opened.CloseNow() })
	if _, _, err = c.Read(ctx); err != nil {
		return nil, websocket.CloseStatus(err), err.Error()
	}
	return c, 0, ""
}

// discovers is where a node says that a document is, or should be.
func (r *twoRegions) discovers(n *devcluster.Node, document string) docid.Region {
	r.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(strings.Replace(n.URL, "ws:", "http:", 1) + "/discovery?documentName=" + document + "&token=" + r.token)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	var found struct{ Region docid.Region }
	if err := json.NewDecoder(answer.Body).Decode(&found); err != nil {
		r.t.Fatal(err)
	}
	return found.Region
}

// documents is how many documents live in a region.
func (r *twoRegions) documents(region docid.Region) (n int) {
	r.t.Helper()
	return strings.Count(r.must("pins", "list", "--region", string(region), "-o", "json"), `"document"`)
}

// wsctl pins move: clients follow, and what cannot be moved is said.
func TestAPinIsMoved(t *testing.T) {
	r := newTwoRegions(t)
	eu, us := r.Regions[0].Nodes[0], r.Regions[1].Nodes[0]
	if code, said := r.ctl("pins", "move", "acme/notes/todo", "us-east-1", "--yes", "--license", "aws-eu-west-1"); code != exit.NotFound || !strings.Contains(said, "not pinned") {
		t.Errorf("nobody has it open: %d %s", code, said)
	}
	c, code, _ := r.opens(eu, "todo")
	if code != 0 {
		t.Fatal(code)
	}
	if code, said := r.ctl("pins", "move", "acme/notes/todo", "nowhere", "--yes"); code == 0 || !strings.Contains(said, "nowhere") {
		t.Errorf("to a region that does not exist: %d %s", code, said)
	}
	if said := r.must("pins", "move", "acme/notes/todo", "eu-central-1", "--yes"); !strings.Contains(said, "already") {
		t.Errorf("to where it is: %s", said)
	}
	r.must("pins", "move", "acme/notes/todo", "us-east-1", "--yes")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var err error
	for err == nil {
		_, _, err = c.Read(ctx)
	}
	if websocket.CloseStatus(err) != 4009 || !strings.Contains(err.Error(), us.URL) {
		t.Errorf("its client is told %v", err)
	}
	if _, code, _ := r.opens(us, "todo"); code != 0 {
		t.Errorf("it does not open there: %d", code)
	}
	if _, code, _ := r.opens(eu, "todo"); code != 4009 {
		t.Errorf("where it was clients are told %d", code)
	}
}

// Who asked for a move may be gone: the node goes on with it.
func TestAMoveOutlivesWhoAskedForIt(t *testing.T) {
	r := newTwoRegions(t, func(o *devcluster.Options) {
		o.Node.Config.StoreFirst, o.Node.Config.StoreInterval = time.Hour, time.Hour // the move alone stores
	})
	eu := r.Regions[0].Nodes[0]
	c, code, _ := r.opens(eu, "todo")
	if code != 0 {
		t.Fatal(code)
	}
	saving, saves := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r.onSave.Store(func() {
		once.Do(func() { close(saving) })
		<-saves
	})
	if err := c.Write(t.Context(), websocket.MessageBinary, typesX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan string, 1)
	go func() {
		var out bytes.Buffer
		run(ctx, []string{"pins", "move", "acme/notes/todo", "us-east-1", "--yes", "--nats-url", r.Regions[0].NATS.URL()}, strings.NewReader(""), &out, &out)
		asked <- out.String()
	}()
	<-saving
	cancel()
	t.Log(<-asked)
	close(saves)
	wait.Until(t, "it moves", func() bool { return r.documents(usRegion) > 0 })
	if _, code, _ := r.opens(eu, "todo"); code != 4009 {
		t.Errorf("where it was clients are told %d", code)
	}
}

// What docs/operations.md tells operators to type.
func TestTheCommandsAboutRegionsInOperationsWork(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?ms)^```sh regions\n(.*?)^```$").FindSubmatch(text)
	if block == nil {
		t.Fatal("there are none")
	}
	r := newTwoRegions(t)
	if _, code, _ := r.opens(r.Regions[0].Nodes[0], "todo"); code != 0 {
		t.Fatal(code)
	}
	for line := range strings.Lines(string(block[1])) {
		r.must(strings.Fields(line)[1:]...)
	}
}

// A region whose documents cannot be stored is not evacuated, and says why.
func TestWhatCannotBeEvacuatedIsListedAndGoesOn(t *testing.T) {
	r := newTwoRegions(t)
	eu := r.Regions[0].Nodes[0]
	c, code, _ := r.opens(eu, "stuck")
	if code != 0 {
		t.Fatal(code)
	}
	r.store.Set(storagetest.Down)
	if err := c.Write(t.Context(), websocket.MessageBinary, typesX); err != nil {
		t.Fatal(err)
	}
	code2, said := r.ctl("regions", "evacuate", "eu-central-1", "--yes")
	if code2 != exit.Unhealthy || !strings.Contains(said, "acme/notes/stuck") || !strings.Contains(said, "not evacuated") {
		t.Errorf("%d %s", code2, said)
	}
	if said := r.must("regions", "list"); !strings.Contains(said, "evacuated") {
		t.Errorf("the mark is not shown: %s", said)
	}
	r.store.Set(storagetest.None)
	r.evacuates(euRegion)
	if n := r.documents(euRegion); n > 0 {
		t.Errorf("%d documents are left", n)
	}
}

// A region is evacuated under typing clients, some of whom are carried there: nobody loses an
// edit, and what is new begins elsewhere. Clients of Hocuspocus' wire, which are carried from
// then on or not any more, do not even notice. WSNODE_SOAK is the real size.
func TestARegionIsEvacuatedUnderTypingClients(t *testing.T) {
	half, rate := 4, 20
	if os.Getenv("WSNODE_SOAK") != "" {
		half, rate = 100, 300
	}
	docs := 2 * half
	r := newTwoRegions(t)
	// So that all documents begin in eu-central-1, wherever their clients come to: this is how clients
	// of an evacuated region are served.
	r.evacuates(usRegion)
	type crowd = *typists.Crowd
	people := map[load.Protocol]crowd{}
	for _, wire := range []load.Protocol{load.YWebsocket, load.Hocuspocus} {
		people[wire] = typists.Start(t, string(wire), r.target(wire), load.EndureOptions{Docs: half, Clients: 3, Rate: rate})
	}
	if n := r.documents(euRegion); n != docs || r.documents(usRegion) != 0 {
		t.Errorf("%d documents live in eu-central-1, expected %d", n, docs)
	}
	r.must("regions", "evacuate", "us-east-1", "--undo", "--yes")
	people[load.YWebsocket].Wait(time.Second)
	r.evacuates(euRegion, "--to", "us-east-1")
	people[load.YWebsocket].Wait(time.Second)
	wait.For(t, "all documents live in us-east-1", func() error {
		if us, eu := r.documents(usRegion), r.documents(euRegion); us != docs || eu != 0 {
			return fmt.Errorf("%d there and %d here, expected %d and none", us, eu, docs)
		}
		return nil
	})
	result := people[load.YWebsocket].Finish()
	if longest := typists.Value(result, "offline max"); os.Getenv("WSNODE_SOAK") != "" && longest > 3*time.Second {
		t.Errorf("a client was offline for %v, 3 s are allowed", longest)
	}
	result = people[load.Hocuspocus].Finish()
	if returns, _ := result.Value("returns"); returns > 0 {
		t.Errorf("%v connections of Hocuspocus' wire ended", returns)
	}
	eu, us := r.Regions[0].Nodes[1], r.Regions[1].Nodes[0]
	if _, code, reason := r.opens(eu, "new"); code != 4009 || !strings.Contains(reason, us.URL) {
		t.Errorf("a new document in the evacuated region: %d %s", code, reason)
	}
	if region := r.discovers(eu, "new"); region != usRegion {
		t.Errorf("a new document is discovered in %s", region)
	}
	if listed := r.must("regions", "list", "-o", "json"); !strings.Contains(strings.ReplaceAll(listed, " ", ""), `"evacuated":true`) {
		t.Errorf("the mark is not shown: %s", listed)
	}
	r.must("regions", "evacuate", "eu-central-1", "--undo", "--yes")
	wait.For(t, "a document begins where the mark was taken away", func() error {
		if _, code, _ := r.opens(eu, "newer"); code != 0 {
			return fmt.Errorf("closed with %d", code)
		}
		return nil
	})
}

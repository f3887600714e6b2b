package stored

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/apps"
	"github.com/wsnode/wsnode/relay/devcluster"
	"github.com/wsnode/wsnode/relay/natsd"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

// past is a document's past: its text at snapshots.
type past struct {
	t     *testing.T
	texts [][2]string // snapshot, text
}

func (p *past) remember(c *yjs.Client) {
	p.texts = append(p.texts, [2]string{c.Snapshot(), c.State().Text})
}

// shownBy has a client show every state that is remembered.
func (p *past) shownBy(c *yjs.Client, who string) {
	p.t.Helper()
	for i, want := range p.texts {
		if text := c.Restore(want[0]); text != want[1] {
			p.t.Errorf("%s: state %d of %d is %q, and was %q", who, i+1, len(p.texts), text, want[1])
		}
	}
}

// writes types, takes back and writes anew, several times.
func (p *past) writes(c *yjs.Client, what string) {
	for i := range 5 {
		text := fmt.Sprintf("%s %d. ", what, i)
		c.Insert(0, text)
		p.remember(c)
		c.Delete(2, len(text)-4)
		p.remember(c)
	}
}

// keepingRegions are two regions with a store, for an app that keeps what is deleted
// while keeps is true.
func keepingRegions(t *testing.T, keeps *atomic.Bool) (w *keepingWorld) {
	t.Helper()
	c := devcluster.ForTest(t, devcluster.Options{
		Regions: []docid.Region{"eu-central-1", "us-east-1"},
		NATS:    func(int) natsd.Config { return natsd.Config{Listen: "127.0.0.1:0"} }, // for wsctl
		Node: relay.Options{
			Config: relay.Config{
				Grace: time.Second, StoreInterval: time.Second,
				Apps: func(docid.AppID) apps.Settings { return apps.Settings{KeepDeleted: keeps.Load()} },
			},
			Stores: map[docid.LicenseRegion]storage.Store{"aws-eu-west-1": storagetest.NewMemory()},
		},
	})
	_, token := c.Client(authn.Subject{Tenant: "acme", App: "notes"})
	return &keepingWorld{t, c, yjs.Start(t), token}
}

type keepingWorld struct {
	t       *testing.T
	cluster devcluster.TestCluster
	clients *yjs.Node
	token   string
}

const inEurope, inAmerica = 0, 1

func (w *keepingWorld) join(region int, keep bool) *yjs.Client {
	w.t.Helper()
	return w.clients.Join(yjs.Options{URL: w.cluster.Regions[region].URL, Document: "todo", Token: w.token, Keep: keep})
}

// empty ends all clients and waits until the document is live nowhere.
func (w *keepingWorld) empty(clients ...*yjs.Client) {
	w.t.Helper()
	for _, c := range clients {
		c.Destroy()
	}
	url := strings.Replace(w.cluster.Regions[inEurope].URL, "ws", "http", 1)
	cluster.WaitUnpinned(w.t, url, w.token, "todo", patience)
}

// Whoever comes late or was away shows every former state: beside the authors, beside
// clients that collect garbage, and in another region when all of them are gone.
func TestVersionsOfADocumentOutliveItsUsers(t *testing.T) {
	var keeps atomic.Bool
	keeps.Store(true)
	w, p := keepingRegions(t, &keeps), &past{t: t}
	author, collector, away := w.join(inEurope, true), w.join(inEurope, false), w.join(inEurope, true)
	p.writes(author, "first")
	away.WaitText(author.State().Text)
	away.Disconnect()
	p.writes(author, "while somebody is away")
	collector.WaitText(author.State().Text)
	collector.Insert(0, "by one that collects. ")
	author.WaitText(collector.State().Text)
	p.writes(author, "after")
	late := w.join(inEurope, true)
	late.WaitText(author.State().Text)
	p.shownBy(late, "a late joiner")
	away.Connect()
	away.WaitText(author.State().Text)
	p.shownBy(away, "one that was away")
	text := author.State().Text
	w.empty(author, collector, away, late)

	other := w.join(inAmerica, true)
	other.WaitText(text)
	p.shownBy(other, "one in the other region")
	keeps.Store(false) // by mistake
	p.writes(other, "in America")
	text = other.State().Text
	w.empty(other)
	back := w.join(inEurope, true)
	back.WaitText(text)
	p.shownBy(back, "one that comes when the setting is gone")
	w.empty(back)

	cluster.Wsctl(t, "store", "drop-deleted", "aws-eu-west-1/acme/notes/todo", "--nats-url", w.cluster.Regions[inEurope].NATS.URL(), "--yes")
	last := w.join(inAmerica, true)
	last.WaitText(text)
	if shown := last.Restore(p.texts[0][0]); shown == p.texts[0][1] {
		t.Errorf("what was dropped is still there: %q", shown)
	}
}

// An export says which documents keep what is deleted, and an import has them go on with it,
// into another installation as well, whose app has no such setting.
func TestAnExportKeepsWhatIsDeleted(t *testing.T) {
	var keeps, never atomic.Bool
	keeps.Store(true)
	w, p := keepingRegions(t, &keeps), &past{t: t}
	author := w.join(inEurope, true)
	p.writes(author, "exported")
	text := author.State().Text
	w.empty(author)
	folder := filepath.Join(t.TempDir(), "all")
	cluster.Wsctl(t, "store", "export", "--to", folder, "--nats-url", w.cluster.Regions[inEurope].NATS.URL())

	other := keepingRegions(t, &never)
	imports := func() string {
		return cluster.Wsctl(t, "store", "import", "--from", "dir", folder, "--yes", "--output", "json", "--nats-url", other.cluster.Regions[inEurope].NATS.URL())
	}
	if said := imports(); !strings.Contains(said, `"created":1`) {
		t.Fatalf("the import said %q", said)
	}
	if said := imports(); !strings.Contains(said, `"unchanged":1`) {
		t.Errorf("once more it said %q", said)
	}
	first := other.join(inEurope, true)
	first.WaitText(text)
	p.shownBy(first, "one who comes to the other installation")
	p.writes(first, "imported") // has it stored anew
	text = first.State().Text
	other.empty(first)
	late := other.join(inAmerica, true)
	late.WaitText(text)
	p.shownBy(late, "one who comes after it was stored there")
}

// An app that begins to keep what is deleted has the states from then on.
func TestAnAppBeginsToKeepWhatIsDeleted(t *testing.T) {
	var keeps atomic.Bool
	w, before, after := keepingRegions(t, &keeps), &past{t: t}, &past{t: t}
	author := w.join(inEurope, true)
	before.writes(author, "before")
	keeps.Store(true)
	text := author.State().Text
	w.empty(author)
	author = w.join(inEurope, true)
	author.WaitText(text)
	if shown := author.Restore(before.texts[0][0]); shown == before.texts[0][1] {
		t.Error("it was kept without the setting: nothing is tested")
	}
	after.writes(author, "after")
	text = author.State().Text
	w.empty(author)
	late := w.join(inAmerica, true)
	late.WaitText(text)
	after.shownBy(late, "a late joiner")
}

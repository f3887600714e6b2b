package wsctl

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
	"github.com/wsnode/wsnode/test/wait"
)

// Two Yjs updates, by two clients who typed "a" and "b" into the text "text".
var typedA, typedB = update(1, 'a'), update(2, 'b')

func update(client, letter byte) string {
	return string([]byte{1, 1, client, 0, 4, 1, 4}) + "text" + string([]byte{1, letter, 0})
}

// inDev is a world of one wsnode dev, with a region of so many nodes.
func inDev(t *testing.T, nodes int, flags ...string) (*world, *cluster.Dev) {
	t.Helper()
	d := cluster.DevConfig{Regions: []string{"eu-central-1"}, Nodes: nodes, Flags: append([]string{"--grace", "1s"}, flags...)}.Start(t)
	w := &world{t: t, dir: t.TempDir(), euNATS: d.NATS}
	w.write("a.yjs", []byte(typedA))
	w.write("b.yjs", []byte(typedB))
	return w, d
}

func TestStoredDocumentsArePutTakenOutAndDeleted(t *testing.T) {
	t.Parallel()
	w, d := inDev(t, 1)
	const doc = "aws-eu-west-1/dev/demo/lists/today"
	w.ctl("store", "check").must().says("ok")
	w.ctl("store", "get", doc).exits(3)
	w.ctlWith("n\n", "store", "put", doc, "a.yjs").exits(5)
	w.ctl("store", "put", doc, "a.yjs", "--yes", "--dry-run").must()
	w.ctl("store", "get", doc).exits(3)
	var result struct{ Outcome string }
	for _, step := range []struct{ file, expected string }{{"a.yjs", "created"}, {"a.yjs", "unchanged"}, {"b.yjs", "merged"}} {
		if w.ctl("store", "put", doc, step.file, "--yes", "-o", "json").json(&result); result.Outcome != step.expected {
			t.Errorf("%s: %s, expected %s", step.file, result.Outcome, step.expected)
		}
	}
	w.ctl("store", "put", doc, "a.yjs", "--yes", "--create").exits(5)
	w.ctlWith("hello", "store", "put", doc, "-", "--yes").exits(1)
	w.ctl("store", "list").must().says(doc, "stored")
	w.ctl("store", "list", "--license", "aws-eu-west-1", "--tenant", "dev", "--app", "demo", "--prefix", "lists/").must().says(doc)
	w.ctl("docs", "stat", doc).must().says("nowhere", "stored", "ago, version")

	// Yjs reads what comes out.
	w.ctl("store", "get", "dev/demo/lists/today", "-f", "out.yjs").must()
	body, err := os.ReadFile(filepath.Join(w.dir, "out.yjs"))
	if err != nil {
		t.Fatal(err)
	}
	if text := yjs.Start(t).Read(body); text != "ab" && text != "ba" {
		t.Errorf("Yjs reads %q", text)
	}

	// Nothing is put under a live one, and it is deleted under its users.
	client := yjs.Start(t).Join(yjs.Options{URL: d.WS(0, 0), Document: "live", Token: d.Token("tenant", "dev", "app", "demo")})
	client.Insert(-1, "typed")
	refused := w.ctl("store", "put", "aws-eu-west-1/dev/demo/live", "a.yjs", "--yes").exits(5)
	if !strings.Contains(refused.err, "have a client apply the update") {
		t.Errorf("it does not say what to do instead: %s", refused.err)
	}
	w.ctl("store", "delete", "aws-eu-west-1/dev/demo/live", "--yes").must()
	client.WaitClosed(4404)
	w.ctl("store", "list").must()

	w.ctl("store", "delete", doc, "--yes").must()
	w.ctl("store", "put", doc, "a.yjs", "--yes").exits(5)
	w.ctl("store", "list").must().says(doc, "deleted")
	w.ctl("docs", "stat", doc).must().says("deleted")
	w.ctl("store", "put", doc, "b.yjs", "--yes", "--undelete").must()
	w.ctl("store", "get", doc, "-f", "back.yjs").must()
	if back, err := os.ReadFile(filepath.Join(w.dir, "back.yjs")); err != nil || string(back) != typedB {
		t.Errorf("it came back as %q, %v", back, err)
	}
}

// What somebody removed from a store under a live document is written again once an
// operator says so.
func TestWhatAStoreHasLostIsAccepted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, d := inDev(t, 2, "--store", "file://"+dir)
	const doc = "aws-eu-west-1/dev/demo/live"
	client := yjs.Start(t).Join(yjs.Options{URL: d.WS(0, 1), Document: "live", Token: d.Token("tenant", "dev", "app", "demo")})
	client.Insert(-1, "typed")
	wait.Until(t, "it is stored", func() bool { return w.ctl("docs", "store", doc, "--yes").code == 0 })
	w.ctl("store", "accept", doc).must().says("nothing is lost")
	if err := os.Remove(filepath.Join(dir, doc+".yjs")); err != nil {
		t.Fatal(err)
	}
	w.ctl("store", "accept", "dev/demo/live", "--dry-run").must().says("eu-central-1: the document was in its store, and is not any more")
	w.ctlWith("n\n", "store", "accept", doc).exits(5)
	w.ctl("store", "get", doc).exits(3)
	w.ctl("store", "accept", doc, "--yes").must().says("goes on with what there is")
	w.ctl("store", "get", doc, "-f", "again.yjs").must()
	if body, err := os.ReadFile(filepath.Join(w.dir, "again.yjs")); err != nil || yjs.Start(t).Read(body) != "typed" {
		t.Errorf("the store holds %q, %v", body, err)
	}
}

func TestFormerVersionsAreListedReadAndErased(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, _ := inDev(t, 1, "--store", "file://"+dir+"?versions=30d")
	const doc = "aws-eu-west-1/acme/notes/todo"
	// A body that was stored two days ago.
	path, was := filepath.Join(dir, doc+".yjs"), time.Now().Add(-48*time.Hour)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(typedA), 0o644), os.Chtimes(path, was, was)); err != nil {
		t.Fatal(err)
	}
	w.ctl("store", "versions", doc).must()
	w.ctl("store", "put", doc, "b.yjs", "--yes").must()
	var versions []struct{ ID string }
	if w.ctl("store", "versions", doc, "-o", "json").json(&versions); len(versions) != 1 {
		t.Fatalf("%d versions, expected that of two days ago", len(versions))
	}
	content := func(flags ...string) string {
		w.ctl(append([]string{"store", "get", doc, "-f", "out.yjs", "--force"}, flags...)...).must()
		read, err := os.ReadFile(filepath.Join(w.dir, "out.yjs"))
		if err != nil {
			t.Fatal(err)
		}
		return string(read)
	}
	for _, flags := range [][]string{{"--at", "24h"}, {"--at", was.Add(time.Second).UTC().Format(time.RFC3339)}, {"--version", versions[0].ID}} {
		if got := content(flags...); got != typedA {
			t.Errorf("%v: %q, expected what was there two days ago", flags, got)
		}
	}
	if now := content(); now == typedA || content("--at", "0s") != now {
		t.Error("the present version is not what was put")
	}
	w.ctl("store", "get", doc, "--at", "72h").exits(3)
	w.ctl("store", "get", doc, "--at", "tomorrow").exits(2)
	w.ctl("store", "get", doc, "--version", "none").exits(3)

	// Restored as a new document.
	content("--at", "24h")
	w.ctl("store", "put", "aws-eu-west-1/acme/notes/then", "out.yjs", "--create", "--yes").must()

	w.ctl("store", "delete", doc, "--yes").must()
	if got := content("--at", "24h"); got != typedA {
		t.Errorf("after the deletion: %q", got)
	}
	w.ctl("store", "delete", doc, "--yes", "--erase").must().says("2 versions erased", "out of reach")
	w.ctl("store", "get", doc, "--at", "24h").exits(3)
	if left, err := os.ReadDir(filepath.Join(dir, ".versions", "aws-eu-west-1", "acme", "notes")); len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// Everything of a tenant goes, and nothing else; what cannot be deleted is told, and goes
// when the command is repeated.
func TestATenantIsErased(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, d := inDev(t, 1, "--store", "file://"+dir+"?versions=30d")
	plant := func(doc string, content string, ago time.Duration) {
		path, was := filepath.Join(dir, "aws-eu-west-1", doc+".yjs"), time.Now().Add(-ago)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644), os.Chtimes(path, was, was)); err != nil {
			t.Fatal(err)
		}
	}
	w.write("b.yjs", []byte(typedB))
	for i := range 12 {
		plant(fmt.Sprint("acme/notes/n", i), typedA, time.Hour)
	}
	plant("acme/drafts/kept", typedA, 48*time.Hour)
	plant("acme2/notes/theirs", typedA, time.Hour)
	plant("acme/notes/corrupt", "", time.Hour)
	w.ctl("store", "put", "aws-eu-west-1/acme/drafts/kept", "b.yjs", "--yes").must() // has a version, too
	w.ctl("store", "put", "aws-eu-west-1/acme/notes/n1", "b.yjs", "--yes").must()
	w.ctl("store", "delete", "aws-eu-west-1/acme/notes/n1", "--yes").must()

	w.ctl("store", "delete", "--app", "notes", "--yes").exits(2)
	w.ctl("store", "delete", "aws-eu-west-1/acme/notes/n2", "--tenant", "acme", "--yes").exits(2)
	w.ctlWith("n\n", "store", "delete", "--tenant", "acme").exits(5)
	// What nobody has stored yet must not be left behind, so what is live has to be known.
	away := fmt.Sprintf("aws-eu-west-1=nats://127.0.0.1:%d", cluster.FreePorts(t, 1))
	w.ctl("store", "delete", "--tenant", "acme", "--erase", "--yes", "--registry", away, "--timeout", "1s").exits(4).says("nothing was deleted")
	client := yjs.Start(t).Join(yjs.Options{URL: d.WS(0, 0), Document: "n3", Token: d.Token("tenant", "acme", "app", "notes")})
	client.WaitText("a")
	first := w.ctl("store", "delete", "--tenant", "acme", "--app", "notes", "--erase", "--yes", "-o", "json").exits(6)
	var rows []struct{ Document, Outcome string }
	if err := json.Unmarshal([]byte(first.out), &rows); err != nil || len(rows) != 13 {
		t.Fatalf("%d rows, %v; expected one for each document\n%s", len(rows), err, first.out)
	}
	for _, r := range rows {
		expected := map[string]string{"aws-eu-west-1/acme/notes/corrupt": "kept", "aws-eu-west-1/acme/notes/n1": "unchanged"}[r.Document]
		if r.Outcome != cmp.Or(expected, "deleted") {
			t.Errorf("%+v", r)
		}
	}
	client.WaitClosed(4404)
	w.ctl("store", "get", "aws-eu-west-1/acme/drafts/kept").must()
	if err := os.Remove(filepath.Join(dir, "aws-eu-west-1", "acme", "notes", "corrupt.yjs")); err != nil {
		t.Fatal(err)
	}
	w.ctl("store", "delete", "--tenant", "acme", "--erase", "--yes").must().says("1 document deleted", "2 versions erased", "0 kept")
	w.ctl("store", "delete", "--tenant", "acme", "--erase", "--yes").must().says("0 documents deleted, 0 versions erased")
	w.ctl("store", "get", "aws-eu-west-1/acme2/notes/theirs").must()
	left := w.ctl("store", "list", "--license", "aws-eu-west-1", "--tenant", "acme", "-o", "json").must().out
	if strings.Contains(left, `"bytes":4`) || strings.Count(left, `"deleted":true`) != 13 {
		t.Errorf("left: %s", left)
	}
	files, err := filepath.Glob(filepath.Join(dir, ".versions", "aws-eu-west-1", "acme", "*", "*"))
	if err != nil || len(files) > 0 {
		t.Errorf("versions are left: %v, %v", files, err)
	}
}

// storeBlock is the block of docs/operations.md with the commands for a store.
var storeBlock = regexp.MustCompile("(?ms)^```sh stored\n(.*?)^```$")

func TestTheCommandsForStoresInOperationsWork(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(cluster.Root(), "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := storeBlock.FindSubmatch(text)
	if block == nil {
		t.Fatal("there are no commands for stores")
	}
	w, d := inDev(t, 1)
	client := yjs.Start(t).Join(yjs.Options{URL: d.WS(0, 0), Document: "todo", Token: d.Token("tenant", "acme", "app", "notes")})
	client.Insert(-1, "milk")
	for line := range strings.Lines(string(block[1])) {
		if strings.Contains(line, "store init") { // a node of dev mode has named its store
			w.ctl("store", "init", "aws-eu-west-1", "--yes").exits(3)
			continue
		}
		w.typeLine(strings.TrimSpace(line))
		if strings.Contains(line, "docs store") { // a live one is left alone by what follows
			client.Destroy()
			wait.Until(t, "nobody has the document any more", func() bool { return !strings.Contains(w.ctl("pins", "list").out, "todo") })
		}
	}
}

func TestWhatIsExportedComesBackAfterALoss(t *testing.T) {
	t.Parallel()
	w, _ := inDev(t, 1)
	names := []string{"todo", "a b/ü", "Todo", strings.Repeat("long/", 50) + "name"}
	for _, name := range names {
		w.ctl("store", "put", "aws-eu-west-1/acme/notes/"+name, "a.yjs", "--yes").must()
	}
	w.ctl("store", "put", "aws-us-east-1/acme/notes/todo", "b.yjs", "--yes").must()
	w.ctl("store", "put", "aws-eu-west-1/acme/notes/gone", "b.yjs", "--yes").must()
	w.ctl("store", "delete", "aws-eu-west-1/acme/notes/gone", "--yes").must()
	w.ctl("store", "export", "--to", "all.tar").must()
	w.ctl("store", "export", "--to", "all.tar").exits(5)
	for range 2 {
		w.ctl("store", "export", "--to", "all").must()
	}
	archive := w.ctl("store", "export", "--to", "-").must().out

	for from, run := range map[string]func(*world) result{
		"dir": func(n *world) result {
			return n.ctl("store", "import", "--from", "dir", filepath.Join(w.dir, "all"), "--yes", "-o", "json")
		},
		"tar": func(n *world) result {
			return n.ctl("store", "import", "--from", "tar", filepath.Join(w.dir, "all.tar"), "--yes", "-o", "json")
		},
		"standard input": func(n *world) result {
			return n.ctlWith(archive, "store", "import", "--from", "tar", "-", "--yes", "-o", "json")
		},
	} {
		t.Run(from, func(t *testing.T) {
			n, _ := inDev(t, 1)
			n.t = t
			n.ctl("store", "put", "aws-eu-west-1/acme/notes/todo", "b.yjs", "--yes").must() // newer
			n.ctl("store", "put", "aws-eu-west-1/acme/notes/gone", "b.yjs", "--yes").must()
			for _, expected := range []map[string]int{{"created": 4, "merged": 1, "deleted": 1}, {"unchanged": 6}} {
				var answer struct {
					Outcomes map[string]int
					Failures []string
				}
				run(n).json(&answer)
				for outcome, count := range expected {
					if answer.Outcomes[outcome] != count || len(answer.Failures) > 0 {
						t.Errorf("%+v, expected %v", answer, expected)
					}
				}
			}
			list := n.ctl("store", "list").must().says("aws-us-east-1/acme/notes/todo")
			for _, name := range names {
				list.says("aws-eu-west-1/acme/notes/" + name)
			}
		})
	}
}

func TestForeignNamesThatNodesWouldTakeForOthersAreNotImported(t *testing.T) {
	t.Parallel()
	w, _ := inDev(t, 1)
	for file, content := range map[string]string{
		"acme/notes/good.yjs": typedA, "acme/notes/x=2Fx.yjs": typedA, "acme/notes/a=3Fb.yjs": typedA, "acme/notes/broken.yjs": "hello",
		"good.yjs": typedA, "acme/notes/readme.txt": "no document",
	} {
		path := filepath.Join(w.dir, "foreign", filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		w.write(filepath.Join("foreign", file), []byte(content))
	}
	for _, dry := range []string{"--dry-run", "--yes"} {
		said := w.ctl("store", "import", "--from", "dir", "foreign", "--license", "aws-eu-west-1", dry).exits(6).err
		for _, why := range []string{
			`"x/x" is taken for "x" by nodes`, "a=3Fb.yjs", "broken.yjs: ", "good.yjs: expected dbCode/tenant/app/NAME.yjs", "1 created, 4 not written",
		} {
			if !strings.Contains(said, why) {
				t.Errorf("%s: no %q in %s", dry, why, said)
			}
		}
		if stored := w.ctl("store", "list").must().out; strings.Contains(stored, "good") != (dry == "--yes") || strings.Contains(stored, "x") && strings.Contains(stored, "notes/x") {
			t.Errorf("%s: %s", dry, stored)
		}
	}
}

package wsctl

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
	"github.com/wsnode/wsnode/test/wait"
)

// A copy, with an id of its own, lacks a document and has another one as it was before.
// Both are told, the copy takes the place of the store, and nodes go on with it.
func TestACopyTakesThePlaceOfALostStore(t *testing.T) {
	t.Parallel()
	lost, copied := filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "copy")
	start := func(dir string) (*world, *cluster.Dev) { return inDev(t, 1, "--store", "file://"+dir) }
	const of = "aws-eu-west-1/acme/notes/"
	w, d := start(lost)
	for _, name := range []string{"same", "missing", "older", "gone"} {
		w.ctl("store", "put", of+name, "a.yjs", "--yes").must()
	}
	w.ctl("store", "delete", of+"gone", "--yes").must()
	w.ctl("store", "put", of+"older", "b.yjs", "--yes").must()
	w.ctl("store", "export", "--to", "all").must()

	other, d2 := start(copied)
	for _, name := range []string{"same", "older", "gone"} {
		other.ctl("store", "put", of+name, "a.yjs", "--yes").must()
	}
	d2.Stop() // its folder is for one process

	w.ctl("store", "adopt", "aws-eu-west-1", "file://"+copied, "--yes").exits(5) // the store works
	if err := os.Rename(lost, lost+".lost"); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "the store is lost", func() bool { return strings.Contains(w.ctl("store", "check").out, "wrong") })
	compared := w.ctl("store", "adopt", "aws-eu-west-1", "file://"+copied, "--compare", filepath.Join(w.dir, "all"), "--dry-run").must()
	compared.says(of+"missing", "missing", of+"older", "differs", of+"gone", "not deleted", "1 document the same, 3 missing or different")
	w.ctlWith("n\n", "store", "adopt", "aws-eu-west-1", "file://"+copied).exits(5)
	w.ctl("store", "adopt", "aws-eu-west-1", "file://"+copied, "--compare", filepath.Join(w.dir, "all"), "--yes").must().says("start the nodes with")
	if err := os.Rename(copied, lost); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "nodes have the copy", func() bool { return w.ctl("store", "check").code == 0 })

	// What the copy lacks comes out of the export, and clients find what was there.
	w.ctl("store", "import", "--from", "dir", "all", "--yes").must()
	if _, err := os.Stat(filepath.Join(lost, filepath.FromSlash(of+"missing.yjs"))); errors.Is(err, os.ErrNotExist) {
		t.Error("the document that the copy lacked is not in its place")
	}
	client := yjs.Start(t).Join(yjs.Options{URL: d.WS(0, 0), Document: "missing", Token: d.Token("tenant", "acme", "app", "notes")})
	client.WaitText("a")
}

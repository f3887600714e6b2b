package stored

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/jackc/pgx/v5"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/e2e/yjs"
	"github.com/wsnode/wsnode/test/stores"
	"github.com/wsnode/wsnode/test/wait"
)

// start runs two regions of one node each, whose documents are kept in a store.
func start(t *testing.T, flags ...string) *cluster.Dev {
	t.Helper()
	return cluster.DevConfig{Nodes: 1, Flags: append([]string{"--grace", "1s", "--store-interval", "1s"}, flags...)}.Start(t)
}

const patience = 2 * time.Minute

// leave ends a client and waits until its document is live nowhere.
func leave(t *testing.T, d *cluster.Dev, c *yjs.Client, document string) {
	t.Helper()
	c.Destroy()
	cluster.WaitUnpinned(t, d.HTTP(cluster.EU, 0), d.Token(), document, patience)
}

// body is what is stored of a document, as wsctl gives it out.
func body(t *testing.T, d *cluster.Dev, document string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "body.yjs")
	cluster.Wsctl(t, "store", "get", "aws-eu-west-1/dev/demo/"+document, "--nats-url", d.NATS, "-f", file)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// outliving is the document of outlives.
const outliving = "kept/äö b"

// outlives types in one region, leaves, and finds all of it in the other one; then Yjs
// reads what is stored.
func outlives(t *testing.T, d *cluster.Dev) {
	t.Helper()
	clients, token := yjs.Start(t), d.Token()
	const document = outliving
	first := clients.Join(yjs.Options{URL: d.WS(cluster.EU, 0), Document: document, Token: token})
	first.Insert(-1, "typed in Europe")
	leave(t, d, first, document)
	second := clients.Join(yjs.Options{URL: d.WS(cluster.US, 0), Document: document, Token: token})
	second.WaitText("typed in Europe")
	second.Insert(-1, ", and in America")
	leave(t, d, second, document)
	if text := clients.Read(body(t, d, document)); text != "typed in Europe, and in America" {
		t.Errorf("Yjs reads %q from the store", text)
	}
	third := clients.Join(yjs.Options{URL: d.WS(cluster.EU, 0), Document: document, Token: token})
	third.WaitText("typed in Europe, and in America")
}

// read has Yjs read what lies in a backend, without any part of wsnode.
func read(t *testing.T, content []byte, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if text := yjs.Start(t).Read(content); text != "typed in Europe, and in America" {
		t.Errorf("Yjs reads %q from the backend", text)
	}
}

func TestADocumentOutlivesItsUsersInAFolder(t *testing.T) {
	dir := t.TempDir()
	outlives(t, start(t, "--store", "file://"+dir))
	content, err := os.ReadFile(filepath.Join(dir, "aws-eu-west-1", "dev", "demo", "kept=2f=c3=a4=c3=b6=20b.yjs"))
	read(t, content, err)
}

func TestADocumentOutlivesItsUsersInS3(t *testing.T) {
	store := startS3(t)
	outlives(t, start(t, "--store", store))
	_, endpoint, _ := strings.Cut(store, "&endpoint=")
	bucket, key := stores.Bucket, "prefix/aws-eu-west-1/dev/demo/kept=2F=C3=A4=C3=B6=20b.yjs"
	object, err := stores.S3Client(endpoint, nil).GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	defer object.Body.Close()
	content, err := io.ReadAll(object.Body)
	read(t, content, err)
}

func TestADocumentOutlivesItsUsersInPostgreSQL(t *testing.T) {
	store := startPostgres(t)
	outlives(t, start(t, "--store", store))
	conn, err := pgx.Connect(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var content []byte
	err = conn.QueryRow(t.Context(), "select body from wsnode_documents where name = $1", outliving).Scan(&content)
	read(t, content, err)
}

func TestADocumentOutlivesItsUsersInTheApplicationsBackend(t *testing.T) {
	b, store := startBackend(t)
	outlives(t, start(t, "--store", store))
	read(t, b.Bodies()["/aws-eu-west-1/dev/demo/"+url.PathEscape(outliving)], nil)
}

// A store that is down is never an empty document, and what was typed meanwhile is
// stored when it is back.
func TestAStoreThatIsDownLosesNothing(t *testing.T) {
	b, store := startBackend(t)
	d := start(t, "--store", store)
	clients, token := yjs.Start(t), d.Token()
	first := clients.Join(yjs.Options{URL: d.WS(cluster.EU, 0), Document: "todo", Token: token})
	first.Insert(-1, "before")
	leave(t, d, first, "todo")

	b.Fail(true)
	second := clients.Open(yjs.Options{URL: d.WS(cluster.EU, 0), Document: "todo", Token: token})
	second.WaitClosed(1013)
	if state := second.State(); state.Synced || state.Text != "" {
		t.Errorf("a document whose store is down: %+v", state)
	}
	if a := cluster.Get(t, d.HTTP(cluster.EU, 0)+"/health", ""); a.Status != http.StatusOK || !strings.Contains(string(a.Body), "degraded") {
		t.Errorf("health while the store is down: %d %s", a.Status, a.Body)
	}
	b.Fail(false)
	second.WaitText("before") // it comes back by itself

	b.Fail(true)
	second.Insert(-1, ", meanwhile")
	second.Destroy()
	owed := func() string { return cluster.Wsctl(t, "store", "debts", "--nats-url", d.NATS) }
	wait.For(t, "it is owed", func() error {
		if listed := owed(); !strings.Contains(listed, "aws-eu-west-1/dev/demo/todo") {
			return errors.New(listed)
		}
		return nil
	})
	// From either region, whoever comes before it is stored finds it.
	third := clients.Join(yjs.Options{URL: d.WS(cluster.EU, 0), Document: "todo", Token: token})
	third.WaitText("before, meanwhile")
	third.Destroy()
	fourth := clients.Join(yjs.Options{URL: d.WS(cluster.US, 0), Document: "todo", Token: token, Follow: true})
	fourth.WaitText("before, meanwhile")
	b.Fail(false)
	leave(t, d, fourth, "todo")
	if listed := owed(); strings.Contains(listed, "todo") {
		t.Errorf("it is still owed: %s", listed)
	}
	if text := clients.Read(body(t, d, "todo")); text != "before, meanwhile" {
		t.Errorf("Yjs reads %q from the store", text)
	}
}

func TestRestartingAStandaloneNodeKeepsItsDocuments(t *testing.T) {
	w := newStandalone(t)
	n := w.start(t)
	clients := yjs.Start(t)
	c := clients.Join(yjs.Options{URL: n.WS(), Document: "todo", Token: w.token})
	c.Insert(-1, "typed before the restart")
	other := clients.Join(yjs.Options{URL: n.WS(), Document: "todo", Token: w.token})
	other.WaitText("typed before the restart") // the node has it
	n.Stop()
	c.Destroy()
	other.Destroy()
	n = w.start(t)
	clients.Join(yjs.Options{URL: n.WS(), Document: "todo", Token: w.token}).WaitText("typed before the restart")
	n.Stop()

	// All of NATS is lost; the folder of documents is not.
	if err := os.RemoveAll(filepath.Join(w.data, "jetstream")); err != nil {
		t.Fatal(err)
	}
	n = w.start(t)
	clients.Join(yjs.Options{URL: n.WS(), Document: "todo", Token: w.token}).WaitText("typed before the restart")
	n.Stop()

	// An emptied folder of documents is not taken for one in which nothing is.
	if err := os.RemoveAll(filepath.Join(w.data, "documents")); err != nil {
		t.Fatal(err)
	}
	if code := w.startProcess(t).Wait(); code == 0 {
		t.Error("a node whose documents are gone started")
	}
}

// standalone is a node with NATS inside, that is started again and again.
type standalone struct {
	data, listen, token string
	keys                *issuer.Issuer
}

func newStandalone(t *testing.T) *standalone {
	t.Helper()
	keys := issuer.New(t)
	return &standalone{data: t.TempDir(), listen: cluster.FreeAddress(t), keys: keys, token: keys.Token(nil)}
}

func (w *standalone) startProcess(t *testing.T) *cluster.Node {
	t.Helper()
	return cluster.Serve{Region: "eu-central-1", Listen: w.listen, JWKS: w.keys.JWKS, Flags: []string{
		"--data", w.data, "--grace", "1s", "--store-interval", "1s", "--admin-listen", "off",
	}}.Start(t)
}

func (w *standalone) start(t *testing.T) *cluster.Node {
	t.Helper()
	n := w.startProcess(t)
	n.WaitLine(func(line string) bool { return strings.Contains(line, "msg=ready") })
	return n
}

func TestOperatorsHaveALiveDocumentStored(t *testing.T) {
	d := start(t, "--store", "file://"+t.TempDir(), "--store-interval", "1h")
	clients := yjs.Start(t)
	c := clients.Join(yjs.Options{URL: d.WS(cluster.EU, 0), Document: "todo", Token: d.Token()})
	says := func(word string) func() error {
		return func() error {
			if stat := cluster.Wsctl(t, "docs", "stat", "aws-eu-west-1/dev/demo/todo", "--nats-url", d.NATS); !strings.Contains(stat, word) {
				return errors.New(stat)
			}
			return nil
		}
	}
	c.Insert(-1, "first")
	wait.For(t, "the first edit is stored by itself", says(", clean"))
	c.Insert(-1, ", second") // it would wait for an hour
	wait.For(t, "the second one is not", says("not stored yet"))
	cluster.Wsctl(t, "docs", "store", "--yes", "aws-eu-west-1/dev/demo/todo", "--nats-url", d.NATS)
	if text := clients.Read(body(t, d, "todo")); text != "first, second" {
		t.Errorf("Yjs reads %q from the store", text)
	}
	if err := says(", clean")(); err != nil {
		t.Errorf("not clean: %v", err)
	}
}

package stored

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/jackc/pgx/v5"

	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
	"github.com/wsnode/wsnode/test/stores"
)

// importsVariable says how many documents each source has; task soak:imports sets it.
const importsVariable = "WSNODE_IMPORTS"

// Two of the names cannot be taken: nodes take twice/twice for twice, and refuse the
// other one.
const folded, refused = "twice/twice", "what?"

func foreignNames(t *testing.T) []string {
	n := 200
	if text := os.Getenv(importsVariable); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"twice", folded, refused}
	for i := len(names); i < n; i++ {
		names = append(names, fmt.Sprintf([]string{"document %d", "Document %d", "a/b/%d", "ü %d"}[i%4], i))
	}
	return names
}

// textOf is an update of a client who wrote the document's name, and a full stop.
func textOf(name string) []byte {
	u := append([]byte{1, 1, 7, 0, 4, 1, 4}, "text"...)
	return append(append(u, byte(len(name)+1)), name+".\x00"...)
}

// sweet is a file of y-sweet with the document.
func sweet(name string) []byte {
	entries := [][2][]byte{
		{{0, 0, 'd', 'o', 'c', 0}, {0, 0, 0, 1}},
		{{0, 1, 0, 0, 0, 1, 0}, textOf(name)},
		{{0, 1, 0, 0, 0, 1, 1}, {1, 7, byte(len(name) + 1)}},
	}
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(entries)))
	for _, e := range entries {
		for _, part := range e {
			b = append(binary.LittleEndian.AppendUint64(b, uint64(len(part))), part...)
		}
	}
	return b
}

// importing is a dev cluster whose folder can be looked into.
type importing struct {
	t       *testing.T
	dev     *cluster.Dev
	dir     string
	clients *yjs.Node
}

func startImporting(t *testing.T) *importing {
	t.Helper()
	i := &importing{t: t, dir: t.TempDir(), clients: yjs.Start(t)}
	i.dev = cluster.DevConfig{Regions: []string{"eu-central-1"}, Nodes: 1, Flags: []string{"--store", "file://" + i.dir}}.Start(t)
	return i
}

func (i *importing) wsctl(args ...string) (*exec.Cmd, *bytes.Buffer) {
	var said bytes.Buffer
	cmd := exec.Command(cluster.Binary(i.t, "./cmd/wsctl"), append([]string{"store"}, append(args, "--nats-url", i.dev.NATS)...)...)
	cmd.Stderr = &said
	return cmd, &said
}

// stored are the bodies of an app in the folder.
func (i *importing) stored(app string) (paths []string) {
	paths, err := filepath.Glob(filepath.Join(i.dir, "aws-eu-west-1", "acme", app, "*"+storage.Extension))
	if err != nil {
		i.t.Fatal(err)
	}
	return paths
}

// run imports from a source, interrupted twice, and checks that all is there once.
func (i *importing) run(t *testing.T, app string, names []string, args ...string) {
	t.Helper()
	args = append([]string{"import", "--yes", "--license", "aws-eu-west-1", "--tenant", "acme", "--app", app}, args...)
	for round, signal := range []os.Signal{os.Interrupt, syscall.SIGKILL} {
		cmd, said := i.wsctl(append(args, "--parallel", "2")...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		look := time.NewTicker(time.Millisecond)
		for over := false; !over; {
			select {
			case <-look.C:
				if over = len(i.stored(app)) > (round+1)*len(names)/3; over {
					_ = cmd.Process.Signal(signal)
					<-ended
				}
			case <-ended: // it was faster than we looked
				over = true
			}
		}
		look.Stop()
		t.Logf("%s: %d of %d after the interruption; %s", app, len(i.stored(app)), len(names), said)
	}
	for range 2 { // the second time nothing is left to do
		cmd, said := i.wsctl(args...)
		err := cmd.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 6 || !strings.Contains(said.String(), folded) || !strings.Contains(said.String(), refused) ||
			!strings.Contains(said.String(), "2 not written") {
			t.Fatalf("%s: %v, expected two documents that are not taken\n%s", app, err, said)
		}
	}
	left := map[string]bool{}
	for _, name := range names {
		left[name] = name != folded && name != refused
	}
	for _, path := range i.stored(app) {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		d, _, err := storage.Spelling{MaxName: 200, LowerCase: true}.Parse("aws-eu-west-1/acme/" + app + "/" + filepath.Base(path))
		if text := i.clients.Read(body); err != nil || text != d.Name+"." || !left[d.Name] {
			t.Errorf("%s: %q holds %q, %v; expected its own text, and nobody else's", app, d.Name, text, err)
		}
		delete(left, d.Name)
	}
	for name := range left {
		if left[name] {
			t.Errorf("%s: %q is missing", app, name)
		}
	}
}

func TestDocumentsOfOtherServersAreImported(t *testing.T) {
	names := foreignNames(t)
	i := startImporting(t)
	folder := t.TempDir()
	makeForeign(t, folder, names)

	t.Run("Hocuspocus' SQLite", func(t *testing.T) {
		i.run(t, "sqlite", names, "--from", "hocuspocus-sqlite", filepath.Join(folder, "hocuspocus.sqlite"))
	})
	t.Run("y-websocket's LevelDB", func(t *testing.T) {
		dump := exec.Command("node", filepath.Join(cluster.Root(), "examples", "leveldb", "dump.mjs"), filepath.Join(folder, "leveldb"))
		dump.Dir = yjs.Dir()
		archive, err := dump.Output()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(folder, "leveldb.tar")
		if err := os.WriteFile(file, archive, 0o600); err != nil {
			t.Fatal(err)
		}
		i.run(t, "leveldb", names, "--from", "tar", file)
	})
	t.Run("buckets", func(t *testing.T) {
		front := httptest.NewServer(stores.S3(t))
		t.Cleanup(front.Close)
		client := stores.S3Client(front.URL, nil)
		put := func(key string, body []byte) {
			if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(stores.Bucket), Key: &key, Body: bytes.NewReader(body)}); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range names {
			put("hocuspocus-documents/"+name+".bin", textOf(name))
			put("sweet/"+name+"/data.ysweet", sweet(name))
		}
		put("hocuspocus-documents/README.md", []byte("no document"))
		const parameters = "?region=us-east-1&path-style=1&endpoint="
		i.run(t, "hocuspocus-s3", names, "--from", "s3://"+stores.Bucket+"/hocuspocus-documents/"+parameters+front.URL)
		i.run(t, "y-sweet", names, "--from", "s3", "s3://"+stores.Bucket+"/sweet"+parameters+front.URL)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		address := "postgres:///postgres?user=admin&host=" + stores.Postgres(t)
		conn, err := pgx.Connect(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		if _, err := conn.Exec(t.Context(), `create table documents (name text primary key, data bytea not null)`); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if _, err := conn.Exec(t.Context(), `insert into documents values ($1, $2)`, name, textOf(name)); err != nil {
				t.Fatal(err)
			}
		}
		i.run(t, "postgres", names, "--from", address, "--query", "select name, data from documents order by name")
	})
	t.Run("and come back after a loss", func(t *testing.T) { comeBack(t, i) })
}

// makeForeign has Node write what servers in Node keep.
func makeForeign(t *testing.T, folder string, names []string) {
	t.Helper()
	list, err := json.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "foreign.mjs", folder)
	cmd.Dir, cmd.Stdin = yjs.Dir(), bytes.NewReader(list)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// comeBack exports everything, and imports it where nothing is, and where one document
// has newer content.
func comeBack(t *testing.T, i *importing) {
	archive := filepath.Join(t.TempDir(), "all.tar")
	if cmd, said := i.wsctl("export", "--to", archive); cmd.Run() != nil {
		t.Fatalf("export\n%s", said)
	}
	other := startImporting(t)
	newer := filepath.Join(t.TempDir(), "newer.yjs")
	if err := os.WriteFile(newer, bytes.Replace(textOf("newer"), []byte{1, 1, 7}, []byte{1, 1, 8}, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"put", "aws-eu-west-1/acme/sqlite/twice", newer, "--yes"},
		{"import", "--from", "tar", archive, "--yes"},
	} {
		if cmd, said := other.wsctl(args...); cmd.Run() != nil {
			t.Fatalf("%q\n%s", args, said)
		}
	}
	was, is := contents(t, i.dir), contents(t, other.dir)
	const touched = "aws-eu-west-1/acme/sqlite/twice.yjs"
	text := other.clients.Read([]byte(is[touched]))
	if !strings.Contains(text, "twice.") || !strings.Contains(text, "newer.") {
		t.Errorf("the one with newer content holds %q, expected both", text)
	}
	delete(was, touched)
	delete(is, touched)
	if !maps.Equal(was, is) || len(was) == 0 {
		t.Errorf("%d documents came back of %d, or others", len(is), len(was))
	}
}

// contents are the bodies in a store's folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	tree := os.DirFS(dir)
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != storage.Extension {
			return err
		}
		body, err := fs.ReadFile(tree, path)
		found[path] = string(body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

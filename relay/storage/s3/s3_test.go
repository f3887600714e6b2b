package s3_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/s3"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
	"github.com/wsnode/wsnode/test/stores"
)

const bucket = stores.Bucket

// server is a real S3 server, behind a way to it that fails when told to.
type server struct {
	wire   *storagetest.Wire
	url    string
	prefix string
}

func start(t *testing.T) *server {
	t.Helper()
	s := &server{prefix: "a/prefix", wire: &storagetest.Wire{
		Refuse: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`)
		},
		Handler: stores.S3(t),
	}}
	front := httptest.NewServer(s.wire)
	t.Cleanup(front.Close)
	s.url = front.URL
	return s
}

// raw is a client beside the store.
func (s *server) raw() *awss3.Client { return stores.S3Client(s.url, nil) }

func (s *server) config() s3.Config {
	return s3.Config{Bucket: bucket, Prefix: s.prefix, Endpoint: s.url, PathStyle: true}
}

func open(t *testing.T, c s3.Config) *s3.Store {
	t.Helper()
	store, err := s3.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func (s *server) put(ctx context.Context, key, body string, metadata map[string]string) error {
	_, err := s.raw().PutObject(ctx, &awss3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String(s.prefix + "/" + key), Body: strings.NewReader(body), Metadata: metadata,
	})
	return err
}

var todo = docid.Document{License: storagetest.License, Tenant: "acme", App: "notes", Name: "todo"}

// One server for all tests: it takes a while to build.
func TestABucket(t *testing.T) {
	s := start(t)
	t.Run("keeps the contract", func(t *testing.T) {
		keeping := s.config()
		keeping.Versions = 24 * time.Hour
		storagetest.Run(t, &storagetest.Harness{
			Store: open(t, s.config()), Other: open(t, s.config()), Versioned: open(t, keeping),
			Inject: s.wire.Inject, Large: 100 << 20,
			Plant: func(d docid.Document, body []byte) error {
				return s.put(context.Background(), storage.Key(d), string(body), nil)
			},
			Damage: func(d docid.Document) error { return s.damage(storage.Key(d)) },
		})
	})
	for name, test := range map[string]func(*testing.T, *server){
		"is one plain object":                 isOneObject,
		"that does not exist is a refusal":    missingBucket,
		"refuses a wrong signature":           wrongSecret,
		"obeys conditions, or is refused":     unconditional,
		"is not absent because of a 404":      foreignAnswers,
		"tells conflicts by all their names":  conflictAnswers,
		"lists around what is not a document": foreignObjects,
		"lists versions of its own":           bucketVersioning,
		"needs no more than the policies":     shippedPolicies,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

// damage cuts the last byte off, and keeps the metadata.
func (s *server) damage(key string) error {
	ctx := context.Background()
	whole := aws.String(s.prefix + "/" + key)
	got, err := s.raw().GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String(bucket), Key: whole})
	if err != nil {
		return err
	}
	defer got.Body.Close()
	body := make([]byte, aws.ToInt64(got.ContentLength)-1)
	if _, err := io.ReadFull(got.Body, body); err != nil {
		return err
	}
	return s.put(ctx, key, string(body), got.Metadata)
}

func isOneObject(t *testing.T, s *server) {
	store := open(t, s.config())
	d := todo
	d.Name = "one object é"
	if _, err := store.Save(t.Context(), d, storage.Absent, storage.Meta{Epoch: "e", KeepDeleted: true}, []byte("text")); err != nil {
		t.Fatal(err)
	}
	got, err := s.raw().HeadObject(t.Context(), &awss3.HeadObjectInput{
		Bucket: aws.String(bucket), Key: aws.String("a/prefix/suite/acme/notes/one=20object=20=C3=A9.yjs"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, expected := range map[string]string{
		"wsn-format": "2", "wsn-generation": "0", "wsn-epoch": "e", "wsn-keep-deleted": "1", "wsn-name": "one%20object%20%C3%A9",
		"wsn-sha256": storage.Sum([]byte("text")).String(),
	} {
		if value := got.Metadata[name]; value != expected {
			t.Errorf("%s is %q, expected %q", name, value, expected)
		}
	}
	if *got.ContentType != "application/octet-stream" || *got.ContentLength != 4 {
		t.Errorf("%s of %d bytes", *got.ContentType, *got.ContentLength)
	}
}

func isRefusal(t *testing.T, store storage.Store) {
	t.Helper()
	_, loadErr := store.Load(t.Context(), todo, nil)
	_, statErr := store.Stat(t.Context(), todo)
	_, createErr := store.Save(t.Context(), todo, storage.Absent, storage.Meta{}, []byte("x"))
	_, saveErr := store.Save(t.Context(), todo, `"x":0`, storage.Meta{}, []byte("x"))
	_, listErr := store.List(t.Context(), storage.Query{})
	for what, err := range map[string]error{"load": loadErr, "stat": statErr, "create": createErr, "save": saveErr, "list": listErr} {
		if !errors.Is(err, storage.ErrRefused) || errors.Is(err, storage.ErrAbsent) {
			t.Errorf("%s: %v, expected ErrRefused", what, err)
		}
		if err != nil && strings.Contains(err.Error(), "not-the-secret") {
			t.Errorf("%s: %v shows a secret", what, err)
		}
	}
}

func missingBucket(t *testing.T, s *server) {
	c := s.config()
	c.Bucket = "no-such-bucket"
	isRefusal(t, open(t, c))
}

func wrongSecret(t *testing.T, s *server) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
	isRefusal(t, open(t, s.config()))
}

// overwriting is a server that keeps objects and knows no conditions.
func overwriting(t *testing.T) string {
	type object struct {
		body     []byte
		metadata http.Header
	}
	var mu sync.Mutex
	objects := map[string]object{}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		o, ok := objects[r.URL.Path]
		if r.Method == http.MethodPut {
			body, _ := io.ReadAll(r.Body)
			o = object{body, http.Header{}}
			for name, values := range r.Header {
				if strings.HasPrefix(name, "X-Amz-Meta-") {
					o.metadata[name] = values
				}
			}
			objects[r.URL.Path] = o
		} else if !ok {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, xmlError("NoSuchKey"))
			return
		}
		maps.Copy(w.Header(), o.metadata)
		w.Header().Set("ETag", `"`+storage.Sum(o.body).String()+`"`)
		if r.Method == http.MethodGet {
			_, _ = w.Write(o.body)
		}
	}))
	t.Cleanup(front.Close)
	return front.URL
}

func unconditional(t *testing.T, s *server) {
	c := s.config()
	c.Endpoint = overwriting(t)
	store := open(t, c)
	id := storage.Identity{ID: storage.NewStoreID(), License: "eu", KeyFormat: storage.KeyFormat}
	if err := storage.Init(t.Context(), store, id); err != nil {
		t.Fatal(err)
	}
	if err := storage.Check(t.Context(), store); !errors.Is(err, storage.ErrUnconditional) {
		t.Errorf("check: %v, expected ErrUnconditional", err)
	}
	c.Endpoint, c.Prefix = s.url, "conditional"
	store = open(t, c)
	if err := errors.Join(storage.Init(t.Context(), store, id), storage.Check(t.Context(), store)); err != nil {
		t.Errorf("check: %v", err)
	}
}

// answering is a store whose server answers requests of a method like this.
func answering(t *testing.T, s *server, method string, status int, body string) *s3.Store {
	inner := s.wire.Handler
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			inner.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(front.Close)
	c := s.config()
	c.Endpoint = front.URL
	return open(t, c)
}

func xmlError(code string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><Error><Code>` + code + `</Code><Message>m</Message></Error>`
}

func foreignAnswers(t *testing.T, s *server) {
	d := todo
	d.Name = "foreign answers"
	for _, answer := range []struct {
		status int
		body   string
	}{
		{404, ""}, {404, "<html>no such host</html>"}, {404, xmlError("NoSuchBucket")}, {404, xmlError("NotFound")}, {403, xmlError("AccessDenied")},
		{503, xmlError("SlowDown")}, {200, ""}, {204, ""}, {301, ""}, {307, ""},
	} {
		store := answering(t, s, http.MethodGet, answer.status, answer.body)
		_, loadErr := store.Load(t.Context(), d, nil)
		_, statErr := store.Stat(t.Context(), d) // its HEAD is answered with a 404
		for what, err := range map[string]error{"load": loadErr, "stat": statErr} {
			if err == nil || errors.Is(err, storage.ErrAbsent) || errors.Is(err, storage.ErrDeleted) {
				t.Errorf("%s, answered %d %s: %v", what, answer.status, answer.body, err)
			}
		}
	}
}

func conflictAnswers(t *testing.T, s *server) {
	d := todo
	d.Name = "conflict answers"
	v, err := open(t, s.config()).Save(t.Context(), d, storage.Absent, storage.Meta{Generation: 3}, []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range []struct {
		status   int
		code     string
		conflict bool
	}{
		{412, "PreconditionFailed", true}, {409, "ConditionalRequestConflict", true}, {404, "NoSuchKey", true},
		{409, "OperationAborted", false}, {404, "NoSuchBucket", false}, {500, "InternalError", false}, {501, "NotImplemented", false},
	} {
		store := answering(t, s, http.MethodPut, answer.status, xmlError(answer.code))
		_, err := store.Save(t.Context(), d, v, storage.Meta{}, []byte("more"))
		var conflict *storage.ConflictError
		if errors.As(err, &conflict) != answer.conflict {
			t.Errorf("%d %s: %v", answer.status, answer.code, err)
		}
		if answer.conflict && (conflict.Current.Version != v || conflict.Current.Generation != 3) {
			t.Errorf("%d %s tells of %+v, expected version %s of generation 3", answer.status, answer.code, conflict.Current, v)
		}
	}
}

func foreignObjects(t *testing.T, s *server) {
	c := s.config()
	store := open(t, c)
	d := docid.Document{License: "foreign", Tenant: "t", App: "a", Name: "x"}
	if _, err := store.Save(t.Context(), d, storage.Absent, storage.Meta{}, []byte("text")); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"README", "foreign/t/a/", "foreign/t/a/x.txt", "foreign/t/a/=.yjs", "foreign/t/a/a==b.yjs", "foreign/t/a/b/c.yjs"} {
		if err := s.put(t.Context(), key, "", nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, limit := range []int{0, 1} {
		var listed []storage.Entry
		q := storage.Query{License: "foreign", Limit: limit}
		for {
			page, err := store.List(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			listed = append(listed, page.Entries...)
			if q.After = page.Next; page.Next == "" {
				break
			}
		}
		if len(listed) != 1 || listed[0].Document != d {
			t.Errorf("listed %+v, expected the document alone", listed)
		}
	}
}

func TestOpenRefusesWhatCannotBe(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	for _, c := range []s3.Config{
		{}, {Bucket: "b"}, {Bucket: "b", Region: "r", Prefix: "/x"}, {Bucket: "b", Region: "r", Prefix: "x/"},
		{Bucket: "b", Region: "r", Prefix: strings.Repeat("x", storage.MaxPrefix+1)},
		{Bucket: "b", Region: "r", Profile: "no-such-profile"},
	} {
		if s, err := s3.Open(t.Context(), c); err == nil {
			s.Close()
			t.Errorf("%+v was opened", c)
		}
	}
}

func TestShippedPoliciesAreRead(t *testing.T) {
	files, err := filepath.Glob("../../../deploy/store/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var policy map[string]any
		if err := json.Unmarshal(text, &policy); err != nil || !strings.Contains(string(text), "PREFIX") {
			t.Errorf("%s: %v; expected a place for the prefix", file, err)
		}
	}
}

// Where the bucket keeps versions itself, they are listed, loaded and erased like ours.
func bucketVersioning(t *testing.T, s *server) {
	ctx, own := t.Context(), "versioned"
	if _, err := s.raw().CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: &own}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.raw().PutBucketVersioning(ctx, &awss3.PutBucketVersioningInput{
		Bucket: &own, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	}); err != nil {
		t.Fatal(err)
	}
	for _, keep := range []time.Duration{0, time.Hour} {
		c, d := s.config(), todo
		c.Bucket, c.Versions, d.Name = own, keep, fmt.Sprint("kept for ", keep)
		store := open(t, c)
		v, beside := storage.Absent, d
		beside.Name += " beside"
		for i, body := range []string{"one", "two", "three"} {
			var err error
			at := time.Date(2026, 3, 1, 1+i/2, i, 0, 0, time.UTC) // the second is the last of its hour
			if v, err = store.Save(ctx, d, v, storage.Meta{Epoch: body, Time: at}, []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := store.Save(ctx, beside, storage.Absent, storage.Meta{}, []byte("beside")); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Delete(ctx, d, v, storage.Meta{Generation: 7, Time: time.Now()}); err != nil {
			t.Fatal(err)
		}
		bodies := func() map[string]int {
			copies, err := store.Copies(ctx, d)
			if err != nil {
				t.Fatal(err)
			}
			found := map[string]int{}
			for _, one := range copies {
				stored, err := store.LoadCopy(ctx, d, one.ID, nil)
				if err != nil || stored.Epoch != string(stored.Body) || one.Size != stored.Size || one.Replaced.IsZero() {
					t.Fatalf("version %+v: %+v, %v", one, stored, err)
				}
				found[string(stored.Body)]++
			}
			return found
		}
		expected := map[string]int{"one": 1, "two": 1, "three": 1}
		if keep > 0 {
			expected["two"]++
			expected["three"]++
		}
		if found := bodies(); !maps.Equal(found, expected) {
			t.Errorf("kept for %s: versions %v, expected %v", keep, found, expected)
		}
		if _, err := store.LoadCopy(ctx, d, "bucket-01BX5ZZKBKACTAV9WEVGEMMVRZ", nil); !errors.Is(err, storage.ErrAbsent) {
			t.Errorf("a version that is not there: %v, expected ErrAbsent", err)
		}
		if _, err := store.Erase(ctx, d); err != nil {
			t.Fatal(err)
		}
		if found := bodies(); len(found) > 0 {
			t.Errorf("after they were erased: %v", found)
		}
		all, err := s.raw().ListObjectVersions(ctx, &awss3.ListObjectVersionsInput{Bucket: &own, Prefix: aws.String("a/prefix/.versions/")})
		if err != nil || len(all.Versions) > 0 {
			t.Errorf("%d versions of copies are left, %v", len(all.Versions), err)
		}
		if _, err := store.Load(ctx, d, nil); !errors.Is(err, storage.ErrDeleted) {
			t.Errorf("load: %v, expected the tombstone", err)
		}
		if got, err := store.Load(ctx, beside, nil); err != nil || string(got.Body) != "beside" {
			t.Errorf("the document beside: %q, %v", got.Body, err)
		}
	}
}

package http_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
	store "github.com/wsnode/wsnode/relay/storage/http"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
	"github.com/wsnode/wsnode/test/stores"
)

// Secrets of the tests, in the form that is written to files.
var (
	secret      = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a secret of more than 24 bytes"))
	otherSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("another one of above 24 bytes"))
)

// newBackend is an application's backend that takes only what is signed; "" checks
// digests alone.
func newBackend(t *testing.T, secret string) *stores.Backend {
	return &stores.Backend{Check: func(h http.Header, body []byte) error {
		err := verify(secret, h, body)
		if err != nil {
			t.Error(err)
		}
		return err
	}}
}

// verify checks a request as the libraries of Standard Webhooks do, with the digest
// in place of the body, and the digest against the body.
func verify(secret string, h http.Header, body []byte) error {
	digest, sum := h.Get("Content-Digest"), sha256.Sum256(body)
	if expected := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"; digest != expected {
		return fmt.Errorf("digest %s, expected %s", digest, expected)
	}
	if secret == "" {
		return nil
	}
	at, err := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	if age := time.Since(time.Unix(at, 0)); err != nil || age > 5*time.Minute || age < -5*time.Minute {
		return fmt.Errorf("timestamp %s", h.Get("webhook-timestamp"))
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(h.Get("webhook-id") + "." + h.Get("webhook-timestamp") + "." + digest))
	expected := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for signature := range strings.SplitSeq(h.Get("webhook-signature"), " ") {
		if hmac.Equal([]byte(signature), []byte(expected)) && h.Get("webhook-id") != "" {
			return nil
		}
	}
	return fmt.Errorf("no signature of %q is ours", h.Get("webhook-signature"))
}

const template = "/base/{dbCode}/{tenantId}/{appId}/{document}"

func open(t *testing.T, c store.Config) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func secretFile(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	front := httptest.NewServer(h)
	t.Cleanup(front.Close)
	return front.URL
}

var todo = docid.Document{License: storagetest.License, Tenant: "acme", App: "notes", Name: "todo"}

// escapedPath is where a document is below the template.
func escapedPath(d docid.Document) string {
	return strings.NewReplacer("{dbCode}", string(d.License), "{tenantId}", string(d.Tenant), "{appId}", string(d.App),
		"{document}", strings.ReplaceAll(url.PathEscape(d.Name), ".", "%2E")).Replace(template)
}

func TestABackendKeepsTheContract(t *testing.T) {
	b := newBackend(t, secret)
	wire := &storagetest.Wire{Handler: b}
	c := store.Config{URL: serve(t, wire) + template, SecretFile: secretFile(t, otherSecret, secret)}
	storagetest.Run(t, &storagetest.Harness{
		Store: open(t, c), Other: open(t, c), Inject: wire.Inject, Unlisted: true,
		Plant: func(d docid.Document, body []byte) error {
			b.Change(escapedPath(d), func(o *stores.Object) { o.Body = body })
			return nil
		},
		Damage: func(d docid.Document) error {
			b.Change(escapedPath(d), func(o *stores.Object) { o.Body = o.Body[:len(o.Body)-1] })
			return nil
		},
	})
}

// answering is a store whose backend answers everything like this.
func answering(t *testing.T, status int, body string, header ...string) *store.Store {
	return open(t, store.Config{URL: at(serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})))})
}

// at is the template below a server.
func at(base string) string { return base + template }

// What is on the way to a backend answers, too: nothing of it is a fact.
func TestForeignAnswersStateNothing(t *testing.T) {
	const etag = `"1"`
	for _, a := range []struct {
		status  int
		body    string
		header  []string
		refused bool
	}{
		{status: 404}, {status: 404, body: "<html>default backend</html>", header: []string{"ETag", etag}},
		{status: 404, header: []string{"wsnode-absent", "0"}},
		{status: 410}, // a tombstone has an ETag
		{status: 200, body: "<html>log in</html>"}, // as has a body
		{status: 200, body: "x", header: []string{"ETag", `W/"1"`}},
		{status: 200, body: "x", header: []string{"ETag", etag, "Content-Encoding", "gzip"}},
		{status: 204, header: []string{"ETag", etag}}, {status: 206, body: "x", header: []string{"ETag", etag}}, {status: 304, header: []string{"ETag", etag}, refused: true},
		{status: 302, header: []string{"Location", "/elsewhere"}, refused: true}, {status: 307, header: []string{"Location", "/elsewhere"}, refused: true},
		{status: 401, refused: true}, {status: 403, refused: true}, {status: 405, refused: true}, {status: 400}, {status: 429}, {status: 500}, {status: 502}, {status: 503},
	} {
		s := answering(t, a.status, a.body, a.header...)
		_, loadErr := s.Load(t.Context(), todo, nil)
		_, statErr := s.Stat(t.Context(), todo)
		for what, err := range map[string]error{"load": loadErr, "stat": statErr} {
			if err == nil || errors.Is(err, storage.ErrAbsent) || errors.Is(err, storage.ErrDeleted) || errors.Is(err, storage.ErrConflict) {
				t.Errorf("%s, answered %d %q %v: %v", what, a.status, a.body, a.header, err)
			}
			if errors.Is(err, storage.ErrRefused) != a.refused {
				t.Errorf("%s, answered %d: %v, refused: expected %v", what, a.status, err, a.refused)
			}
		}
	}
}

func TestABackendWithoutETagsIsRefused(t *testing.T) {
	for _, etag := range []string{"", `W/"1"`, "1", `""`} {
		s := answering(t, 204, "", "ETag", etag)
		if _, err := s.Save(t.Context(), todo, storage.Absent, storage.Meta{}, []byte("x")); !errors.Is(err, storage.ErrUnconditional) {
			t.Errorf("ETag %q: %v, expected ErrUnconditional", etag, err)
		}
	}
}

func TestABodyOfUnknownLengthIsRefused(t *testing.T) {
	s := open(t, store.Config{URL: at(serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"1"`)
		_ = http.NewResponseController(w).Flush() // in chunks, then
		_, _ = io.WriteString(w, "body")
	})))})
	if got, err := s.Load(t.Context(), todo, nil); err == nil {
		t.Errorf("loaded %q", got.Body)
	}
}

func TestAConflictIsNotRepeatedByTheTransport(t *testing.T) {
	var puts atomic.Int32
	s := open(t, store.Config{URL: at(serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if puts.Add(1) > 1 {
			panic(http.ErrAbortHandler) // on a connection that was used before
		}
		w.Header().Set("ETag", `"1"`)
	})))})
	if _, err := s.Save(t.Context(), todo, storage.Absent, storage.Meta{}, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Save(t.Context(), todo, `"1"`, storage.Meta{}, []byte("x")); err == nil || puts.Load() != 2 {
		t.Errorf("%v after %d requests, expected a failure after 2", err, puts.Load())
	}
}

func TestHeadersTellOfTheDocument(t *testing.T) {
	requests := make(chan *http.Request, 1)
	s := open(t, store.Config{URL: at(serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r.Clone(context.Background())
		w.Header().Set("ETag", `"1"`)
	})))})
	d := docid.Document{License: "eu", Tenant: "acme.com", App: "notes", Name: "a/b ä+.."}
	if _, err := s.Save(t.Context(), d, `"7"`, storage.Meta{Generation: 255, Epoch: "e1", Region: "eu-central-1", KeepDeleted: true}, []byte("x")); err != nil {
		t.Fatal(err)
	}
	r := <-requests
	got, path := r.Header, r.URL.EscapedPath()
	if expected := "/base/eu/acme%2Ecom/notes/a%2Fb%20%C3%A4%2B%2E%2E"; path != expected {
		t.Errorf("path %s, expected %s", path, expected)
	}
	for name, expected := range map[string]string{
		"wsnode-document": "a%2Fb%20%C3%A4+..", "wsnode-tenant": "acme.com", "wsnode-app": "notes", "wsnode-license": "eu",
		"wsnode-epoch": "e1", "wsnode-region": "eu-central-1", "wsnode-generation": "ff", "wsnode-keep-deleted": "1", "if-match": `"7"`,
	} {
		if value := got.Get(name); value != expected {
			t.Errorf("%s: %q, expected %q", name, value, expected)
		}
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	var asked atomic.Int32
	address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("wsnode-absent", "1")
		w.WriteHeader(http.StatusNotFound)
	}))
	s := open(t, store.Config{URL: at(address)})
	if _, err := s.Stat(t.Context(), todo); err == nil || errors.Is(err, storage.ErrAbsent) {
		t.Fatalf("stat: %v, expected a failure", err)
	}
	begun := time.Now()
	if _, err := s.Stat(t.Context(), todo); !errors.Is(err, storage.ErrAbsent) || asked.Load() != 2 {
		t.Errorf("stat: %v after %d requests, expected ErrAbsent after 2", err, asked.Load())
	}
	if waited := time.Since(begun); waited < 900*time.Millisecond {
		t.Errorf("asked again after %v, expected 1 s", waited)
	}
}

func TestAddressesAreChecked(t *testing.T) {
	for _, bad := range []string{
		"", "ftp://h/{tenantId}/{appId}/{document}", "https://h/{tenantId}/{appId}", "https://h/{tenantId}/{appId}/{document}/{document}",
		"https://h/{tenantId}{appId}/{document}", "https://h/{tenantId}/{appId}/{document}?x=1", "https://h/{tenantId}/{appId}/{document}#x",
		"https://h/{tenantId}/{appId}/{other}/{document}", "https://{tenantId}.h/{appId}/{document}", "http://{tenantId}.h/{appId}/{document}",
		"https:///{tenantId}/{appId}/{document}", "https://h:x/{tenantId}/{appId}/{document}",
	} {
		if s, err := store.Open(t.Context(), store.Config{URL: bad, License: "eu"}); err == nil {
			s.Close()
			t.Errorf("%s was opened", bad)
		}
	}
	if _, err := store.Open(t.Context(), store.Config{URL: "https://h/{tenantId}/{appId}/{document}"}); err == nil {
		t.Error("a URL that does not tell license regions apart was opened")
	}
	s := open(t, store.Config{URL: serve(t, newBackend(t, "")) + "/{tenantId}/{appId}/{document}", License: "eu"})
	if _, err := s.Stat(t.Context(), todo); !errors.Is(err, storage.ErrRefused) {
		t.Errorf("a document of another license region: %v, expected ErrRefused", err)
	}
}

func TestMetadataAddressesAreRefused(t *testing.T) {
	for _, host := range []string{"169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "100.100.100.200", "0.0.0.0"} {
		s := open(t, store.Config{URL: "http://" + host + template})
		if _, err := s.Stat(t.Context(), todo); !errors.Is(err, storage.ErrRefused) {
			t.Errorf("%s: %v, expected ErrRefused", host, err)
		}
	}
}

func TestSecretsAreChecked(t *testing.T) {
	for _, lines := range [][]string{{""}, {"whsec_"}, {"whsec_c2hvcnQ="}, {strings.TrimPrefix(secret, "whsec_")}, {secret, "whsec_!"}} {
		path := secretFile(t, lines...)
		s, err := store.Open(t.Context(), store.Config{URL: "https://h" + template, SecretFile: path})
		if err == nil {
			s.Close()
			t.Errorf("%q was read", lines)
		} else if len(lines[0]) > 8 && strings.Contains(err.Error(), lines[0]) {
			t.Errorf("%v shows a secret", err)
		}
	}
}

func TestAWrongSecretIsARefusal(t *testing.T) {
	s := open(t, store.Config{URL: serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if err := verify(secret, r.Header, body); err != nil {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})) + template, SecretFile: secretFile(t, otherSecret)})
	if _, err := s.Save(t.Context(), todo, storage.Absent, storage.Meta{}, []byte("x")); !errors.Is(err, storage.ErrRefused) {
		t.Errorf("save: %v, expected ErrRefused", err)
	}
}

func TestSecretsAreReadAgain(t *testing.T) {
	path := secretFile(t, otherSecret)
	s := open(t, store.Config{URL: serve(t, newBackend(t, secret)) + template, SecretFile: path})
	write := func(text string) error {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return s.Reload()
	}
	if err := write(secret); err != nil {
		t.Fatal(err)
	}
	if err := write("nonsense"); err == nil {
		t.Error("nonsense was read")
	}
	if _, err := s.Stat(t.Context(), todo); !errors.Is(err, storage.ErrAbsent) {
		t.Errorf("with the secret of the backend, which nonsense does not take away: %v", err)
	}
}

// Package http keeps documents in the application's own backend, which answers GET,
// HEAD, PUT and DELETE with an ETag. docs/storage.md describes what it has to do.
//
// Absence is a claim that is believed only with the header "wsnode-absent: 1": a 404
// may come from anything on the way. Requests are signed after Standard Webhooks, with
// the body's digest in place of the body.
package http

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// Config says where the backend is. The URL is the operator's: no token has a part
// in it but a document's parts in their places.
type Config struct {
	// URL has {tenantId}, {appId} and {document}, each a segment or a part of one, and
	// may have {dbCode}. Without that, the store is for License only.
	URL string

	// License refuses documents of others. Empty is any, if the URL tells them apart.
	License docid.LicenseRegion

	// SecretFile holds the secrets that requests are signed with, one per line, as
	// whsec_ and base64. Empty signs nothing.
	SecretFile string

	// FirstByte is how long the beginning of an answer may take; 0 is 10 s.
	FirstByte time.Duration
}

// Store is a backend. It implements storage.Store.
type Store struct {
	c       Config
	client  *http.Client
	signer  signer
	pause   retryAfter
	marker  string
	license docid.LicenseRegion
}

const firstByte = 10 * time.Second

// Open reads the configuration. It asks nothing of the backend: storage.Check does.
func Open(ctx context.Context, c Config) (*Store, error) {
	s := &Store{c: c, license: c.License}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var err error
	if s.marker, err = checkURL(c); err != nil {
		return nil, fmt.Errorf("open HTTP store %s: %w", storage.Redact(c.URL), err)
	}
	if err := s.Reload(); err != nil {
		return nil, fmt.Errorf("open HTTP store: %w", err)
	}
	wait := c.FirstByte
	if wait == 0 {
		wait = firstByte
	}
	s.client = newClient(wait, templateInHost(c.URL))
	return s, nil
}

// Reload reads the secrets again. When they cannot be read, the former ones stay.
func (s *Store) Reload() error {
	if s.c.SecretFile == "" {
		return nil
	}
	text, err := os.ReadFile(s.c.SecretFile)
	if err != nil {
		return err
	}
	secrets, err := parseSecrets(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", s.c.SecretFile, err)
	}
	s.signer.secrets.Store(&secrets)
	return nil
}

// Close closes idle connections.
func (s *Store) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

// The places in a URL.
const (
	placeLicense  = "{dbCode}"
	placeTenant   = "{tenantId}"
	placeApp      = "{appId}"
	placeDocument = "{document}"
)

// checkURL returns the address of the marker: what is before the first place, and
// ".wsnode-store", which has fewer segments than any document's.
func checkURL(c Config) (marker string, err error) {
	for _, place := range []string{placeTenant, placeApp, placeDocument} {
		if strings.Count(c.URL, place) != 1 {
			return "", fmt.Errorf("expected %s once", place)
		}
	}
	if !strings.Contains(c.URL, placeLicense) && c.License == "" {
		return "", fmt.Errorf("expected %s, or a license region that it is for", placeLicense)
	}
	filled := strings.NewReplacer(placeLicense, "d", placeTenant, "t", placeApp, "a", placeDocument, "n").Replace(c.URL)
	u, err := url.Parse(filled)
	switch {
	case err != nil:
		return "", errors.New("it is no URL")
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return "", errors.New("expected https:// or http:// and a host")
	case strings.ContainsAny(filled, "{}"):
		return "", errors.New("expected no other place")
	case u.Fragment != "" || u.RawQuery != "":
		return "", errors.New("expected no query and no fragment")
	case templateInHost(c.URL) && u.Scheme != "https":
		return "", errors.New("expected https:// for a place in the host name")
	}
	path := c.URL[len(u.Scheme)+len("://"):]
	_, path, _ = strings.Cut(path, "/")
	if strings.Contains(path, "}{") {
		return "", errors.New("expected something between two places")
	}
	if templateInHost(c.URL) {
		return "", errors.New("expected all places in the path: the marker has one host")
	}
	before := c.URL[:strings.IndexByte(c.URL, '{')]
	return before[:strings.LastIndexByte(before, '/')+1] + ".wsnode-store", nil
}

// templateInHost reports whether the host depends on the document.
func templateInHost(raw string) bool {
	_, rest, _ := strings.Cut(raw, "://")
	host, _, _ := strings.Cut(rest, "/")
	return strings.Contains(host, "{")
}

func (s *Store) url(d docid.Document) (string, error) {
	if d == storage.MarkerDocument {
		return s.marker, nil
	}
	if s.license != "" && d.License != s.license {
		return "", fmt.Errorf("%w: the store is for license region %s", storage.ErrRefused, s.license)
	}
	return strings.NewReplacer(
		placeLicense, segment(string(d.License)), placeTenant, segment(string(d.Tenant)), placeApp, segment(string(d.App)),
		placeDocument, segment(d.Name),
	).Replace(s.c.URL), nil
}

// segment spells a part of a document within one segment of a path, injectively.
// Dots are encoded, too: nobody on the way must take a name for "..".
func segment(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(url.PathEscape(text), ".", "%2E"), "+", "%2B")
}

// request asks once: a repetition could meet its own success. The caller closes the
// answer's body.
func (s *Store) request(ctx context.Context, method string, d docid.Document, info storage.Info, body []byte, condition ...string) (*http.Response, error) {
	address, err := s.url(d)
	if err != nil {
		return nil, err
	}
	if err := s.pause.wait(ctx); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		r.Body = http.NoBody
	}
	r.GetBody = nil // the transport, too, repeats nothing
	h := r.Header
	h.Set("User-Agent", "wsnode")
	h.Set("Accept-Encoding", "identity") // what is compressed on the way has another ETag
	h.Set(prefix+"document", url.PathEscape(d.Name))
	h.Set(prefix+"tenant", string(d.Tenant))
	h.Set(prefix+"app", string(d.App))
	h.Set(prefix+"license", string(d.License))
	for i := 0; i+1 < len(condition); i += 2 {
		h.Set(condition[i], condition[i+1])
	}
	if method == http.MethodPut || method == http.MethodDelete {
		for name, value := range storage.Fields(info) {
			if name != storage.FieldSHA256 {
				h.Set(prefix+name, value)
			}
		}
	}
	if method == http.MethodPut {
		h.Set("Content-Type", "application/octet-stream")
	}
	digest := contentDigest(storage.Sum(body))
	h.Set(digestHeader, digest)
	if err := s.signer.sign(h, digest, time.Now()); err != nil {
		return nil, err
	}
	answer, err := s.client.Do(r)
	if err != nil {
		return nil, redact(err)
	}
	s.pause.heed(answer, time.Now())
	return answer, nil
}

// redact takes the address out of an error of the client: it may hold a secret.
func redact(err error) error {
	if of := (*url.Error)(nil); errors.As(err, &of) {
		return fmt.Errorf("%s: %w", of.Op, of.Err)
	}
	return err
}

const (
	prefix       = "wsnode-"
	digestHeader = "Content-Digest"
	absentHeader = prefix + "absent"
)

// contentDigest spells a hash as RFC 9530 does.
func contentDigest(sum storage.Hash) string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// parseDigest finds the SHA-256 among the digests of an answer. known is false if
// there is none.
func parseDigest(text string) (sum storage.Hash, known bool, err error) {
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if !strings.EqualFold(name, "sha-256") {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(strings.Trim(value, ":"))
		if err != nil || len(raw) != len(sum) {
			return storage.Hash{}, false, fmt.Errorf("digest %q: expected a SHA-256", text)
		}
		return storage.Hash(raw), true, nil
	}
	return storage.Hash{}, false, nil
}

// drain reads the rest of a small answer, so that the connection can be used again.
func drain(answer *http.Response) {
	_, _ = io.CopyN(io.Discard, answer.Body, 64<<10)
	answer.Body.Close()
}

package authn_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsnode/wsnode/authn"
)

// web is the transport of a verifier under test: the issuers' servers. In a
// synctest bubble it takes virtual time only.
type web struct {
	mu      sync.Mutex
	serve   func(r *http.Request) *http.Response // nil: the network is down
	takes   time.Duration
	fetches []string
}

func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.fetches = append(w.fetches, r.URL.String())
	serve, takes := w.serve, w.takes
	w.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if serve == nil {
		return nil, errors.New("connection refused")
	}
	answer := serve(r)
	answer.Request = r
	return answer, nil
}

func (w *web) set(serve func(*http.Request) *http.Response) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serve = serve
}

// delay sets how long a fetch takes.
func (w *web) delay(takes time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.takes = takes
}

// count returns how many fetches there were since the last count.
func (w *web) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.fetches)
	w.fetches = nil
	return n
}

func respond(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

// publish serves one document everywhere.
func publish(document []byte) func(*http.Request) *http.Response {
	return func(*http.Request) *http.Response { return respond(200, string(document)) }
}

const oneURL = "https://issuer.example/jwks"

func fetching(t *testing.T, w *web, change func(*authn.Config)) *authn.Verifier {
	c := authn.Config{JWKSURL: oneURL, Transport: w}
	if change != nil {
		change(&c)
	}
	v, err := authn.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// outcome is "" for a grant, a reason, or "unavailable".
func outcome(t *testing.T, v *authn.Verifier, token string) string {
	t.Helper()
	_, err := v.Verify(context.Background(), token)
	if errors.Is(err, authn.ErrUnavailable) {
		return "unavailable"
	}
	return reason(t, err)
}

// longLived mints a token that outlives the test.
func longLived(t *testing.T, i *authn.Issuer) string {
	t.Helper()
	s := subject
	s.TTL = 1000 * time.Hour
	return mint(t, i, s)
}

func TestKeysAreFetchedOnceForManyTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t)
		w := &web{serve: publish(issuer.JWKS()), takes: 100 * time.Millisecond}
		v := fetching(t, w, nil)
		defer v.Close()
		var wait sync.WaitGroup
		for range 50 {
			token := mint(t, issuer, subject)
			wait.Go(func() {
				if got := outcome(t, v, token); got != "" {
					t.Errorf("refused: %s", got)
				}
			})
		}
		wait.Wait()
		if n := w.count(); n != 1 {
			t.Errorf("%d fetches", n)
		}
		if s := v.Stats(); s.Fetches != 1 || s.FetchFailures != 0 || s.Issuers != 1 || s.Remembered != 50 {
			t.Errorf("stats: %+v", s)
		}
	})
}

func TestKeysInUseAreRefreshedInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t)
		w := &web{serve: publish(issuer.JWKS()), takes: time.Second}
		v := fetching(t, w, nil)
		defer v.Close()
		token := longLived(t, issuer)
		outcome(t, v, token)
		w.count()
		for range 3600 {
			time.Sleep(time.Second)
			began := time.Now()
			if got := outcome(t, v, token); got != "" {
				t.Fatalf("refused: %s", got)
			}
			if time.Since(began) > 0 {
				t.Fatal("a handshake waited for a refresh")
			}
		}
		if n := w.count(); n < 12 || n > 24 {
			t.Errorf("%d fetches in an hour at an interval of 5 minutes", n)
		}
	})
}

func TestNewKeyIsAcceptedAtOnceAndOldKeyWithinTheRefreshInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, after := newIssuer(t), newIssuer(t)
		w := &web{serve: publish(keySet(t, jwk(t, before)))}
		v := fetching(t, w, nil)
		defer v.Close()
		old, new := longLived(t, before), longLived(t, after)
		if got := outcome(t, v, old); got != "" {
			t.Fatalf("old key: %s", got)
		}
		w.set(publish(keySet(t, jwk(t, before), jwk(t, after))))
		if got := outcome(t, v, new); got != "" {
			t.Fatalf("new key: %s", got)
		}
		w.set(publish(keySet(t, jwk(t, after))))
		began := time.Now()
		for outcome(t, v, old) == "" {
			time.Sleep(time.Second)
		}
		if since := time.Since(began); since > 5*time.Minute {
			t.Errorf("the old key was accepted for %v", since)
		}
		if got := outcome(t, v, new); got != "" {
			t.Errorf("new key: %s", got)
		}
	})
}

func TestIdleIssuersRemovedKeyIsRefusedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, after := newIssuer(t), newIssuer(t)
		w := &web{serve: publish(before.JWKS())}
		v := fetching(t, w, nil)
		defer v.Close()
		token := longLived(t, before)
		outcome(t, v, token)
		w.set(publish(after.JWKS()))
		time.Sleep(5 * time.Minute)
		if got := outcome(t, v, token); got != "signature" {
			t.Errorf("got %q", got)
		}
		w.set(publish([]byte(`{"keys":[]}`)))
		time.Sleep(5 * time.Minute)
		if got := outcome(t, v, longLived(t, after)); got != "signature" {
			t.Errorf("empty set: %q", got)
		}
	})
}

func TestUnreachableIssuerDoesNotBreakWhatIsCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t)
		w := &web{serve: publish(issuer.JWKS())}
		v := fetching(t, w, func(c *authn.Config) { c.MaxStale = 2 * time.Hour })
		defer v.Close()
		token := longLived(t, issuer)
		outcome(t, v, token)
		w.set(nil)
		w.delay(time.Hour) // and it hangs
		waits := 0
		for range 110 {
			time.Sleep(time.Minute)
			began := time.Now()
			if got := outcome(t, v, longLived(t, issuer)); got != "" {
				t.Fatalf("refused: %s", got)
			}
			if time.Since(began) > 0 {
				waits++
			}
		}
		if waits > 1 {
			t.Errorf("%d handshakes waited for an issuer that was known to hang", waits)
		}
		time.Sleep(10 * time.Minute)
		if got := outcome(t, v, token); got != "unavailable" {
			t.Errorf("stale beyond the bound: %q", got)
		}
		w.delay(0)
		w.set(publish(issuer.JWKS()))
		time.Sleep(10 * time.Minute) // longer than any pause between tries
		if got := outcome(t, v, token); got != "" {
			t.Errorf("after the outage: %q", got)
		}
	})
}

func TestUncachedAndUnreachableIsUnavailable(t *testing.T) {
	issuer := newIssuer(t)
	huge := `{"keys":[` + strings.Repeat(" ", 50<<20) + `]}`
	manyKeys := `{"keys":[` + strings.Repeat(`{"kty":"RSA"},`, 500) + `{}]}`
	redirect := func(to string) func(*http.Request) *http.Response {
		return func(r *http.Request) *http.Response {
			if r.URL.Path != "/jwks" {
				return respond(200, string(issuer.JWKS()))
			}
			answer := respond(302, "")
			answer.Header.Set("Location", to)
			return answer
		}
	}
	for name, c := range map[string]struct {
		serve func(*http.Request) *http.Response
		want  string
	}{
		"it answers":                {publish(issuer.JWKS()), ""},
		"down":                      {nil, "unavailable"},
		"error 500":                 {func(*http.Request) *http.Response { return respond(500, string(issuer.JWKS())) }, "unavailable"},
		"there is none":             {func(*http.Request) *http.Response { return respond(404, "") }, "signature"},
		"HTML":                      {publish([]byte("<html>hello</html>")), "unavailable"},
		"JSON of another kind":      {publish([]byte(`{"hello":1}`)), "unavailable"},
		"a list":                    {publish([]byte(`[]`)), "unavailable"},
		"nothing":                   {publish(nil), "unavailable"},
		"50 MB":                     {publish([]byte(huge)), "unavailable"},
		"500 keys":                  {publish([]byte(manyKeys)), "unavailable"},
		"redirect on the server":    {redirect("/other"), ""},
		"redirect to another":       {redirect("https://evil.example/keys"), "unavailable"},
		"redirect to another port":  {redirect("https://issuer.example:8443/keys"), "unavailable"},
		"redirect to plain http":    {redirect("http://issuer.example/keys"), "unavailable"},
		"redirect to itself":        {redirect("/jwks"), "unavailable"},
		"redirect to the metadata":  {redirect("http://169.254.169.254/keys"), "unavailable"},
		"only keys that are no use": {publish([]byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`)), "signature"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := fetching(t, &web{serve: c.serve}, nil)
				defer v.Close()
				if got := outcome(t, v, mint(t, issuer, subject)); got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
			})
		})
	}
}

func TestErrorsHoldNoSecretOfTheIssuersURL(t *testing.T) {
	issuer := newIssuer(t)
	var log bytes.Buffer
	v, err := authn.New(authn.Config{
		JWKSURL: "https://user:s3cr3t@issuer.example/jwks?key=s3cr3t", Log: slog.New(slog.NewTextHandler(&log, nil)), Transport: &web{},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Verify(t.Context(), mint(t, issuer, subject))
	v.Close()
	if !errors.Is(err, authn.ErrUnavailable) || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(log.String(), "cannot fetch") || strings.Contains(log.String(), "s3cr3t") {
		t.Errorf("the log says %s", log.String())
	}
}

func TestSlowIssuerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t)
		w := &web{serve: publish(issuer.JWKS()), takes: time.Minute}
		v := fetching(t, w, nil)
		defer v.Close()
		began := time.Now()
		if got := outcome(t, v, mint(t, issuer, subject)); got != "unavailable" || time.Since(began) > 3*time.Second {
			t.Errorf("%q after %v", got, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		time.Sleep(2 * time.Second)
		began = time.Now()
		if _, err := v.Verify(ctx, mint(t, issuer, subject)); !errors.Is(err, authn.ErrUnavailable) || time.Since(began) > time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestDownIssuerIsNotAskedForEveryToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t)
		w := &web{}
		v := fetching(t, w, nil)
		defer v.Close()
		token := longLived(t, issuer)
		for range 6000 {
			outcome(t, v, token)
			time.Sleep(100 * time.Millisecond)
		}
		if n := w.count(); n > 25 {
			t.Errorf("%d fetches in 10 minutes", n)
		}
	})
}

func TestUnknownKeysCauseFewFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t)
		w := &web{serve: publish(issuer.JWKS())}
		v := fetching(t, w, nil)
		defer v.Close()
		outcome(t, v, mint(t, issuer, subject))
		w.count()
		for range 600 {
			token := jws(t, map[string]any{"alg": "ES256", "kid": fmt.Sprint(time.Now().UnixNano())}, goodClaims(), func([]byte) []byte { return make([]byte, 64) })
			if got := outcome(t, v, token); got != "signature" {
				t.Fatalf("got %q", got)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := w.count(); n > 12 {
			t.Errorf("%d fetches in a minute", n)
		}
		// A known key with a wrong signature causes none.
		for range 100 {
			bad := mint(t, issuer, subject)
			if got := outcome(t, v, bad[:len(bad)-8]+"AAAAAAAA"); got != "signature" {
				t.Fatalf("got %q", got)
			}
		}
		if n := w.count(); n > 0 {
			t.Errorf("%d fetches for a known key", n)
		}
	})
}

func TestVerifyingGoesOnAfterCloseWithTheKeysThere(t *testing.T) {
	issuer := newIssuer(t)
	var hits atomic.Int32
	w := &web{serve: func(*http.Request) *http.Response { hits.Add(1); return respond(200, string(issuer.JWKS())) }}
	v := fetching(t, w, nil)
	outcome(t, v, mint(t, issuer, subject))
	v.Close()
	if got := outcome(t, v, mint(t, issuer, subject)); got != "" {
		t.Errorf("got %q", got)
	}
	v2 := fetching(t, w, nil)
	v2.Close()
	if got := outcome(t, v2, mint(t, issuer, subject)); got != "unavailable" {
		t.Errorf("got %q", got)
	}
}

func TestSettingsThatLeadTokensAstrayAreRefused(t *testing.T) {
	for address, ok := range map[string]bool{
		"https://issuer.example/jwks":                         true,
		"https://issuer.example/{tenantId}/jwks":              true,
		"https://issuer.example/jwks?tenant={tenantId}":       true,
		"https://{tenantId}.issuer.example/jwks":              true,
		"http://127.0.0.1:8080/dev/jwks":                      true,
		"http://localhost:8080/{tenantId}":                    true,
		"http://[::1]:8080/jwks":                              true,
		"http://issuer.example/jwks":                          false,
		"ftp://issuer.example/jwks":                           false,
		"issuer.example/jwks":                                 false,
		"https://":                                            false,
		"https://issuer.example/jwks#{tenantId}":              false,
		"https://{tenantId}/jwks":                             false,
		"https://{tenantId}.example/jwks":                     false,
		"https://issuer-{tenantId}.example/jwks":              false,
		"https://issuer.{tenantId}/jwks":                      false,
		"https://{tenantId}@issuer.example/jwks":              false,
		"https://issuer.example:{tenantId}/jwks":              false,
		"{tenantId}://issuer.example/jwks":                    false,
		"https://{tenantId}.{tenantId}.issuer.example/jwks":   false,
		"https://issuer.example/jwks\nX: y":                   false,
		"https://{tenantId}.issuer.example/{tenantId}/jwks":   true,
		"https://{tenantId}.issuer.example:8443?a={tenantId}": true,
	} {
		_, err := authn.New(authn.Config{JWKSURL: address})
		if (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := authn.New(authn.Config{}); err == nil {
		t.Error("neither URL nor keys")
	}
	if _, err := authn.New(authn.Config{JWKSURL: "http://issuer.internal/jwks", PlainHTTP: true}); err != nil {
		t.Error(err)
	}
	if _, err := authn.New(authn.Config{KeySet: []byte("garbage")}); err == nil {
		t.Error("garbage keys")
	}
}

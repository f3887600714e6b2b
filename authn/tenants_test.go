package authn_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
)

func TestEachTenantHasItsOwnKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acme, evil := newIssuer(t), newIssuer(t)
		w := &web{serve: func(r *http.Request) *http.Response {
			switch r.URL.String() {
			case "https://issuer.example/acme/.well-known/jwks":
				return respond(200, string(acme.JWKS()))
			case "https://issuer.example/evil/.well-known/jwks":
				return respond(200, string(evil.JWKS()))
			}
			return respond(404, "")
		}}
		v := fetching(t, w, func(c *authn.Config) { c.JWKSURL = "https://issuer.example/{tenantId}/.well-known/jwks" })
		defer v.Close()
		for _, c := range []struct {
			issuer *authn.Issuer
			tenant string
			want   string
		}{
			{acme, "acme", ""}, {evil, "evil", ""},
			{evil, "acme", "signature"}, {acme, "evil", "signature"},
			{evil, "nobody", "signature"},
			{evil, "..", "claims: tenantId"}, {evil, ".", "claims: tenantId"}, {evil, "....", "claims: tenantId"},
			{evil, "evil/../acme", "claims: tenantId"}, {evil, "evil?x=", "claims: tenantId"},
		} {
			if got := verdict(t, v, c.issuer, with(map[string]any{"tenantId": c.tenant})); got != c.want {
				t.Errorf("tenant %q: got %q, want %q", c.tenant, got, c.want)
			}
		}
		for _, address := range w.fetches {
			if strings.Contains(address, "..") || strings.Contains(address, "?") {
				t.Errorf("fetched %s", address)
			}
		}
	})
}

func TestMadeUpTenantsDoNotLockOutRealOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t)
		w := &web{serve: func(r *http.Request) *http.Response {
			if strings.HasPrefix(r.URL.Path, "/real") {
				return respond(200, string(issuer.JWKS()))
			}
			return respond(404, "")
		}}
		v := fetching(t, w, func(c *authn.Config) { c.JWKSURL = "https://issuer.example/{tenantId}/jwks" })
		defer v.Close()
		real := with(map[string]any{"tenantId": "real", "exp": time.Now().Add(1000 * time.Hour).Unix()})
		if got := verdict(t, v, issuer, real); got != "" {
			t.Fatalf("got %q", got)
		}
		w.count()
		for i := range 3000 {
			token := jws(t, map[string]any{"alg": "ES256"}, with(map[string]any{"tenantId": fmt.Sprint("made-up-", i)}), func([]byte) []byte { return nil })
			outcome(t, v, token)
			time.Sleep(10 * time.Millisecond)
		}
		if n := w.count(); n > 800 {
			t.Errorf("%d fetches in half a minute", n)
		}
		if got := verdict(t, v, issuer, with(map[string]any{"tenantId": "real"})); got != "" {
			t.Errorf("known tenant during the flood: %q", got)
		}
		time.Sleep(time.Second)
		if got := verdict(t, v, issuer, with(map[string]any{"tenantId": "real2"})); got != "" {
			t.Errorf("new tenant after the flood: %q", got)
		}
	})
}

func TestAClientThatMayCauseNoFetchReachesOnlyKnownIssuers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t)
		w := &web{serve: publish(issuer.JWKS())}
		v := fetching(t, w, func(c *authn.Config) { c.JWKSURL = "https://issuer.example/{tenantId}/jwks" })
		defer v.Close()
		tenant := func(name string) string {
			s := subject
			s.Tenant = docid.Tenant(name)
			return mint(t, issuer, s)
		}
		if got := outcome(t, v, tenant("known")); got != "" {
			t.Fatalf("got %q", got)
		}
		w.count()
		asked := 0
		by := authn.Caller{MayFetch: func() bool { asked++; return false }}
		if _, err := v.VerifyFor(t.Context(), tenant("known"), by); err != nil || asked != 0 {
			t.Errorf("known keys: %v, asked %d times", err, asked)
		}
		for i := range 200 { // more than all may cause at once
			_, err := v.VerifyFor(t.Context(), tenant(fmt.Sprint("made-up-", i)), by)
			if !errors.Is(err, authn.ErrUnavailable) || !errors.Is(err, authn.ErrTooManyIssuers) {
				t.Fatalf("unknown keys: %v", err)
			}
		}
		if n := w.count(); n != 0 || asked != 200 {
			t.Errorf("%d fetches, asked %d times", n, asked)
		}
		if got := outcome(t, v, tenant("other")); got != "" {
			t.Errorf("somebody else: %q", got)
		}
	})
}

func TestTenantInTheHostMustBeALabel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t)
		w := &web{serve: publish(issuer.JWKS())}
		v := fetching(t, w, func(c *authn.Config) { c.JWKSURL = "https://{tenantId}.issuer.example/jwks" })
		defer v.Close()
		for tenant, want := range map[string]string{
			"acme": "", "a-1": "", "ACME": "claims: tenantId", "a.b": "claims: tenantId", "-a": "claims: tenantId", "a_b": "claims: tenantId",
		} {
			if got := verdict(t, v, issuer, with(map[string]any{"tenantId": tenant})); got != want {
				t.Errorf("%q: got %q, want %q", tenant, got, want)
			}
		}
	})
}

func TestVerifiedTokensAreRememberedNoLongerThanTheyHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t)
		w := &web{serve: publish(issuer.JWKS())}
		v := fetching(t, w, nil)
		defer v.Close()
		s := subject
		s.TTL = time.Minute
		token := mint(t, issuer, s)
		first, err := v.Verify(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(89 * time.Second) // a minute and the skew
		if again, err := v.Verify(t.Context(), token); err != nil || again != first {
			t.Errorf("not from memory: %v", err)
		}
		time.Sleep(time.Second)
		if got := outcome(t, v, token); got != "expired" {
			t.Errorf("got %q", got)
		}
	})
}

func TestOnlySoManyTokensAreRemembered(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, authn.Config{KeySet: issuer.JWKS(), CachedTokens: 10})
	first := mint(t, issuer, subject)
	grant, err := v.Verify(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if got := outcome(t, v, mint(t, issuer, subject)); got != "" {
			t.Fatal(got)
		}
	}
	if again, err := v.Verify(t.Context(), first); err != nil || again == grant {
		t.Errorf("remembered, or %v", err)
	}
}

func TestWhoWaitsForKeysIsBoundedByIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t)
		w := &web{serve: publish(issuer.JWKS()), takes: 2 * time.Second}
		v := fetching(t, w, func(c *authn.Config) { c.JWKSURL = "https://issuer.example/{tenantId}" })
		defer v.Close()
		var wait sync.WaitGroup
		var in, refused atomic.Int64
		ask := func(tenant docid.Tenant) {
			s := subject
			s.Tenant = tenant
			token := mint(t, issuer, s)
			wait.Go(func() {
				switch got := outcome(t, v, token); got {
				case "":
					in.Add(1)
				case "unavailable":
					refused.Add(1)
				default:
					t.Error(got)
				}
			})
		}
		for range 300 {
			ask("slow")
		}
		synctest.Wait()
		if in.Load() != 0 || refused.Load() != 44 {
			t.Errorf("%d were refused at once, 256 may wait for one issuer of 300", refused.Load())
		}
		ask("other")
		wait.Wait()
		if in.Load() != 257 || refused.Load() != 44 {
			t.Errorf("%d got in, %d were refused", in.Load(), refused.Load())
		}
	})
}

func TestAllUnknownIssuersTogetherKeepABoundedNumberWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t)
		w := &web{serve: publish(issuer.JWKS())}
		v := fetching(t, w, func(c *authn.Config) {
			c.JWKSURL, c.Refresh = "https://issuer.example/{tenantId}", time.Second
		})
		defer v.Close()
		of := func(tenant docid.Tenant) string {
			s := subject
			s.Tenant = tenant
			return mint(t, issuer, s)
		}
		real := of("real")
		if got := outcome(t, v, real); got != "" {
			t.Fatal(got)
		}
		time.Sleep(2 * time.Second) // its keys are old, and it is asked again
		w.delay(2 * time.Second)
		var wait sync.WaitGroup
		var refused atomic.Int64
		for i := range 10 {
			token := of(docid.Tenant(fmt.Sprint("made-up-", i)))
			for range 256 {
				wait.Go(func() {
					if outcome(t, v, token) == "unavailable" {
						refused.Add(1)
					}
				})
			}
		}
		synctest.Wait()
		if got := refused.Load(); got != 10*256-2048 {
			t.Errorf("%d were refused at once", got)
		}
		if got := outcome(t, v, real); got != "" {
			t.Errorf("a real tenant: %q", got)
		}
		wait.Wait()
	})
}

func TestWaitingForKeysGoesThroughTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t)
		v := fetching(t, &web{serve: publish(issuer.JWKS()), takes: time.Second}, nil)
		defer v.Close()
		token := mint(t, issuer, subject)
		full := errors.New("no room")
		_, err := v.VerifyFor(t.Context(), token, authn.Caller{Waiting: func(func()) error { return full }})
		if !errors.Is(err, full) {
			t.Errorf("got %v", err)
		}
		var waited time.Duration
		_, err = v.VerifyFor(t.Context(), token, authn.Caller{Waiting: func(wait func()) error {
			began := time.Now()
			wait()
			waited = time.Since(began)
			return nil
		}})
		if err != nil || waited != time.Second {
			t.Errorf("waited %v: %v", waited, err)
		}
	})
}

package authn_test

import (
	"testing"

	"github.com/wsnode/wsnode/authn"
)

var subject = authn.Subject{Tenant: "acme", App: "notes", License: "aws-eu-west-1"}

// newIssuer makes an issuer with a fresh P-256 key.
func newIssuer(t testing.TB) *authn.Issuer {
	t.Helper()
	issuer, err := authn.NewIssuer(nil, "")
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

// newVerifier makes a verifier that is closed with the test.
func newVerifier(t testing.TB, c authn.Config) *authn.Verifier {
	t.Helper()
	v, err := authn.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func mint(t testing.TB, i *authn.Issuer, s authn.Subject) string {
	t.Helper()
	token, err := i.Mint(s)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// FuzzVerify looks for panics, and for tokens that pass though nobody signed them.
func FuzzVerify(f *testing.F) {
	issuer := newIssuer(f)
	good := mint(f, issuer, subject)
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("..")
	v, err := authn.New(authn.Config{KeySet: issuer.JWKS()})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(v.Close)
	f.Fuzz(func(t *testing.T, token string) {
		if g, err := v.Verify(t.Context(), token); err == nil && token != good {
			t.Errorf("granted %+v for %q", g, token)
		}
	})
}

// FuzzKeySet looks for documents of an issuer that break the verifier.
func FuzzKeySet(f *testing.F) {
	issuer := newIssuer(f)
	token := mint(f, issuer, subject)
	f.Add(issuer.JWKS())
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"OKP","crv":"Ed25519","x":""}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},null,{"kty":7}]}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		v, err := authn.New(authn.Config{KeySet: document})
		if err != nil {
			return
		}
		defer v.Close()
		_, _ = v.Verify(t.Context(), token)
	})
}

func BenchmarkVerify(b *testing.B) {
	for _, c := range []struct {
		name  string
		cache int
		rsa   bool
		bad   bool
	}{{"remembered", 0, false, false}, {"ES256", -1, false, false}, {"RS256", -1, true, false}, {"expired", 0, false, true}} {
		b.Run(c.name, func(b *testing.B) {
			issuer := newIssuer(b)
			if c.rsa {
				var err error
				if issuer, err = authn.NewIssuer(rsaKeys()[0], ""); err != nil {
					b.Fatal(err)
				}
			}
			v := newVerifier(b, authn.Config{KeySet: issuer.JWKS(), CachedTokens: c.cache})
			s := subject
			if c.bad {
				s.TTL = -1e12
			}
			token := mint(b, issuer, s)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), token); (err != nil) != c.bad {
					b.Fatal(err)
				}
			}
		})
	}
}

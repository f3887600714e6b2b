package authn_test

import (
	"testing"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/relay/docname"
)

var subject = authn.Subject{Tenant: "acme", App: "notes", License: "aws-eu-west-1"}

// newIssuer makes an issuer with a fresh P-256 key.
func newIssuer(t *testing.T) *authn.Issuer {
	t.Helper()
	issuer, err := authn.NewIssuer(nil, "")
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

// newVerifier makes a verifier that is closed with the test.
func newVerifier(t *testing.T, c authn.Config) *authn.Verifier {
	t.Helper()
	v, err := authn.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func mint(t *testing.T, i *authn.Issuer, s authn.Subject) string {
	t.Helper()
	token, err := i.Mint(s)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestMintedTokenIsGranted(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, authn.Config{KeySet: issuer.JWKS()})
	s := subject
	s.RegionCode = "eu-central-1"
	s.Limits = authn.Limits{MaxConnections: 3, OpsPerMinute: 100}
	for range 2 { // the second time from memory
		g, err := v.Verify(t.Context(), mint(t, issuer, s))
		if err != nil {
			t.Fatal(err)
		}
		if g.AppID() != (docname.AppID{Tenant: "acme", App: "notes", License: "aws-eu-west-1"}) ||
			g.RegionCode != s.RegionCode || g.Limits != s.Limits || g.ReadOnly || time.Until(g.Expires) < 59*time.Minute {
			t.Errorf("got %+v", g)
		}
	}
}

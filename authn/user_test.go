package authn_test

import (
	"testing"

	"github.com/wsnode/wsnode/authn"
)

func TestUsersAreToldApart(t *testing.T) {
	issuer := newIssuer(t)
	user := func(jti string, sub any) uint64 {
		v := newVerifier(t, authn.Config{KeySet: issuer.JWKS()})
		token, err := issuer.Sign(with(map[string]any{"jti": jti, "sub": sub}))
		if err != nil {
			t.Fatal(err)
		}
		g, err := v.Verify(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := v.Verify(t.Context(), token); err != nil || again.User != g.User || g.User == 0 {
			t.Errorf("%v, %v: user %d", jti, sub, g.User)
		}
		return g.User
	}
	ann := user("1", "ann")
	if user("2", "ann") != ann {
		t.Error("a user with a renewed token is another")
	}
	if user("1", "bob") == ann {
		t.Error("two users are one")
	}
	if user("1", nil) == user("2", nil) || user("1", "") == user("2", 7) {
		t.Error("tokens that name no user are one user's")
	}
}

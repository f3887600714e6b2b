package authn_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsnode/wsnode/authn"
)

// goodClaims are those of a token that nothing is wrong with.
func goodClaims() map[string]any {
	return map[string]any{
		"aud": "WireSocket.API", "scope": "WireSocket.API",
		"exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"tenantId": "acme", "appId": "notes", "dbCode": "aws-eu-west-1",
	}
}

// with returns good claims with changes; nil removes.
func with(changes map[string]any) map[string]any {
	c := goodClaims()
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// verdict is the reason for refusing the claims, or empty.
func verdict(t *testing.T, v *authn.Verifier, i *authn.Issuer, claims map[string]any) string {
	t.Helper()
	token, err := i.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Verify(t.Context(), token)
	if err != nil && strings.Contains(err.Error(), token[:20]) {
		t.Error("the error holds the token")
	}
	return reason(t, err)
}

func reason(t *testing.T, err error) string {
	t.Helper()
	var invalid *authn.InvalidError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &invalid):
		if len(invalid.Message()) > 60 || !strings.HasPrefix(invalid.Message(), "Invalid token: ") {
			t.Errorf("message %q", invalid.Message())
		}
		return string(invalid.Reason)
	}
	t.Errorf("unexpected error: %v", err)
	return "?"
}

func TestClaimsAreJudgedByTheContractsTable(t *testing.T) {
	synctest.Test(t, judgeClaims) // where time stands still
}

func judgeClaims(t *testing.T) {
	now := time.Now().Unix()
	issuer := newIssuer(t)
	v := newVerifier(t, authn.Config{KeySet: issuer.JWKS()})
	for name, c := range map[string]struct {
		change map[string]any
		want   string
	}{
		"nothing wrong":               {nil, ""},
		"aud is an array with it":     {map[string]any{"aud": []string{"x", "WireSocket.API"}}, ""},
		"aud is missing":              {map[string]any{"aud": nil}, "audience"},
		"aud is another":              {map[string]any{"aud": "Other.API"}, "audience"},
		"aud begins like it":          {map[string]any{"aud": "WireSocket.API2"}, "audience"},
		"aud in other case":           {map[string]any{"aud": "wiresocket.api"}, "audience"},
		"aud is a number":             {map[string]any{"aud": 1}, "audience"},
		"aud holds a number":          {map[string]any{"aud": []any{"WireSocket.API", 1}}, "audience"},
		"scope among others":          {map[string]any{"scope": "read  WireSocket.API write"}, ""},
		"scope is missing":            {map[string]any{"scope": nil}, "scope"},
		"scope is another":            {map[string]any{"scope": "read"}, "scope"},
		"scope is an array":           {map[string]any{"scope": []string{"read", "WireSocket.API"}}, ""},
		"scp instead":                 {map[string]any{"scope": nil, "scp": "a WireSocket.API"}, ""},
		"scp is an array":             {map[string]any{"scope": nil, "scp": []string{"WireSocket.API"}}, ""},
		"scope is an object":          {map[string]any{"scope": map[string]any{}}, "scope"},
		"exp is missing":              {map[string]any{"exp": nil}, "claims: exp"},
		"exp is a string":             {map[string]any{"exp": "9999999999"}, "claims: exp"},
		"exp in milliseconds":         {map[string]any{"exp": now * 1000}, "claims: exp"},
		"exp 29 s ago":                {map[string]any{"exp": now - 29}, ""},
		"exp 31 s ago":                {map[string]any{"exp": now - 31}, "expired"},
		"exp with a fraction":         {map[string]any{"exp": float64(now) + 10.5}, ""},
		"nbf in 29 s":                 {map[string]any{"nbf": now + 29}, ""},
		"nbf in 32 s":                 {map[string]any{"nbf": now + 32}, "not yet valid"},
		"iat in 29 s":                 {map[string]any{"iat": now + 29}, ""},
		"iat in 32 s":                 {map[string]any{"iat": now + 32}, "not yet valid"},
		"iat is missing":              {map[string]any{"iat": nil}, ""},
		"nbf is a string":             {map[string]any{"nbf": "now"}, "claims: nbf"},
		"tenantid instead":            {map[string]any{"tenantId": nil, "tenantid": "acme"}, ""},
		"both tenants, the same":      {map[string]any{"tenantid": "acme"}, ""},
		"both tenants, different":     {map[string]any{"tenantid": "evil"}, "claims: tenantId"},
		"tenant in another case":      {map[string]any{"tenantId": nil, "TENANTID": "acme"}, "claims: tenantId"},
		"no tenant":                   {map[string]any{"tenantId": nil}, "claims: tenantId"},
		"tenant is empty":             {map[string]any{"tenantId": ""}, "claims: tenantId"},
		"tenant with a slash":         {map[string]any{"tenantId": "a/b"}, "claims: tenantId"},
		"tenant with all allowed":     {map[string]any{"tenantId": "aZ0._-"}, ""},
		"tenant of 64":                {map[string]any{"tenantId": strings.Repeat("a", 64)}, ""},
		"tenant of 65":                {map[string]any{"tenantId": strings.Repeat("a", 65)}, "claims: tenantId"},
		"tenant is a number":          {map[string]any{"tenantId": 1}, "claims: tenantId"},
		"no app":                      {map[string]any{"appId": nil}, "claims: appId"},
		"app with a colon":            {map[string]any{"appId": "a::b"}, "claims: appId"},
		"app is a list":               {map[string]any{"appId": []string{"notes"}}, "claims: appId"},
		"no license region":           {map[string]any{"dbCode": nil}, "claims: dbCode"},
		"licenseRegionCode instead":   {map[string]any{"dbCode": nil, "licenseRegionCode": "aws-eu-west-1"}, ""},
		"both, different":             {map[string]any{"licenseRegionCode": "aws-us-east-1"}, "claims: dbCode"},
		"license region in capitals":  {map[string]any{"dbCode": "AWS-EU"}, "claims: dbCode"},
		"license region with a dot":   {map[string]any{"dbCode": "aws-eu.>"}, "claims: dbCode"},
		"regionCode is a number":      {map[string]any{"regionCode": 3}, "claims: regionCode"},
		"limits is a list":            {map[string]any{"limits": []int{1}}, "claims: limits"},
		"limits holds a string":       {map[string]any{"limits": map[string]any{"maxConnections": "3"}}, "claims: limits"},
		"limits below zero":           {map[string]any{"limits": map[string]any{"maxConnections": -1}}, "claims: limits"},
		"limits with a fraction":      {map[string]any{"limits": map[string]any{"maxDocuments": 1.5}}, "claims: limits"},
		"limits beyond reason":        {map[string]any{"limits": map[string]any{"maxDocuments": 1e15}}, "claims: limits"},
		"limits as broken JSON":       {map[string]any{"limits": "{"}, "claims: limits"},
		"limits twice in a string":    {map[string]any{"limits": `{"maxDocuments":1,"maxDocuments":9}`}, "claims: limits"},
		"limits is null":              {map[string]any{"limits": rawNull}, ""},
		"access is unknown":           {map[string]any{"access": "admin"}, "claims: access"},
		"access is a bool":            {map[string]any{"access": true}, "claims: access"},
		"documents is null":           {map[string]any{"documents": rawNull}, "claims: documents"},
		"documents is a string":       {map[string]any{"documents": "a"}, "claims: documents"},
		"documents holds a number":    {map[string]any{"documents": []any{1}}, "claims: documents"},
		"documents: bad name":         {map[string]any{"documents": []any{"a/../b"}}, "claims: documents"},
		"documents: bad access":       {map[string]any{"documents": []any{map[string]any{"name": "a", "access": "root"}}}, "claims: documents"},
		"documents: Access":           {map[string]any{"documents": []any{map[string]any{"name": "a", "Access": "readonly"}}}, "claims: documents"},
		"documents: unknown member":   {map[string]any{"documents": []any{map[string]any{"name": "a", "access": "readonly", "x": 1}}}, "claims: documents"},
		"documents: no name":          {map[string]any{"documents": []any{map[string]any{"access": "readonly"}}}, "claims: documents"},
		"allowed domain is a number":  {map[string]any{"allowed_domain_2": 5}, "claims: allowed_domain_2"},
		"allowedDomains is an object": {map[string]any{"allowedDomains": map[string]any{}}, "claims: allowedDomains"},
		"unknown claims":              {map[string]any{"foo": map[string]any{"bar": []any{1, "x"}}}, ""},
	} {
		if got := verdict(t, v, issuer, with(c.change)); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestARefusedClaimSaysWhetherItIsMissingOrWhatWasExpected(t *testing.T) {
	issuer := newIssuer(t)
	v := newVerifier(t, authn.Config{KeySet: issuer.JWKS()})
	for _, c := range []struct {
		change map[string]any
		want   string
	}{
		{map[string]any{"exp": nil}, "exp: missing, expected seconds since 1970"},
		{map[string]any{"exp": "soon"}, "exp: expected seconds since 1970"},
		{map[string]any{"tenantId": nil}, "tenantId: missing, expected 1 to 64 of"},
		{map[string]any{"tenantId": "a/b"}, "tenantId: expected 1 to 64 of"},
		{map[string]any{"tenantId": nil, "tenantid": 1}, "tenantId: expected 1 to 64 of"},
		{map[string]any{"tenantid": "evil"}, "tenantId: expected the same as in tenantid"},
		{map[string]any{"appId": nil}, "appId: missing, expected 1 to 64 of"},
		{map[string]any{"dbCode": "AWS"}, "dbCode: expected a license region"},
		{map[string]any{"limits": map[string]any{"maxDocuments": -1}}, "limits: expected a whole number from 0 on in maxDocuments"},
		{map[string]any{"documents": []any{"a", 1}}, "documents: entry 2: expected a name"},
		{map[string]any{"scope": 1}, "scope: expected a string"},
	} {
		token, err := issuer.Sign(with(c.change))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = v.Verify(t.Context(), token); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, expected %q", c.change, err, c.want)
		}
	}
}

// rawNull is marshalled as null, where nil would remove the claim.
var rawNull = (*int)(nil)

func TestIssuerIsCheckedWhenConfigured(t *testing.T) {
	issuer := newIssuer(t)
	for _, c := range []struct{ config, iss, want string }{
		{"", "anybody", ""},
		{"https://issuer.example", "https://issuer.example", ""},
		{"https://issuer.example", "https://issuer.example/", "issuer"},
		{"https://issuer.example/{tenantId}", "https://issuer.example/acme", ""},
		{"https://issuer.example/{tenantId}", "https://issuer.example/evil", "issuer"},
		{"https://issuer.example/{tenantId}", "https://issuer.example/{tenantId}", "issuer"},
	} {
		v := newVerifier(t, authn.Config{KeySet: issuer.JWKS(), Issuer: c.config})
		if got := verdict(t, v, issuer, with(map[string]any{"iss": c.iss})); got != c.want {
			t.Errorf("issuer %q, iss %q: got %q, want %q", c.config, c.iss, got, c.want)
		}
		if c.config != "" {
			if got := verdict(t, v, issuer, goodClaims()); got != "issuer" {
				t.Errorf("issuer %q, no iss: got %q", c.config, got)
			}
		}
	}
}

// granted verifies a token with the claims.
func granted(t *testing.T, change map[string]any) *authn.Grant {
	t.Helper()
	issuer := newIssuer(t)
	v := newVerifier(t, authn.Config{KeySet: issuer.JWKS()})
	token, err := issuer.Sign(with(change))
	if err != nil {
		t.Fatal(err)
	}
	g, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestLimitsAreAnObjectOrAStringOfOne(t *testing.T) {
	want := authn.Limits{MaxConnections: 1, MaxDocuments: 2, MaxUsersPerDoc: 3, OpsPerMinute: 4}
	object := map[string]any{"maxConnections": 1, "maxDocuments": 2, "maxUsersPerDoc": 3, "opsPerMinute": 4, "other": "x"}
	text := `{"maxConnections":1,"maxDocuments":2,"maxUsersPerDoc":3,"opsPerMinute":4.0}`
	for _, limits := range []any{object, text} {
		if got := granted(t, map[string]any{"limits": limits}).Limits; got != want {
			t.Errorf("%v: got %+v", limits, got)
		}
	}
	for _, none := range []any{nil, "", map[string]any{}, map[string]any{"maxConnections": 0, "maxDocuments": rawNull}} {
		if got := granted(t, map[string]any{"limits": none}).Limits; got != (authn.Limits{}) {
			t.Errorf("%v: got %+v", none, got)
		}
	}
}

func TestRegionCodeThatNamesALicenseRegionIsIgnored(t *testing.T) {
	for code, want := range map[string]string{
		"eu-central-1": "eu-central-1", "aws-eu-west-1": "", "": "", "Not A Region": "",
	} {
		if got := granted(t, map[string]any{"regionCode": code}).RegionCode; got != want {
			t.Errorf("%q: got %q, want %q", code, got, want)
		}
	}
}

func TestDocumentsClaimGrantsNamesAndPrefixes(t *testing.T) {
	entry := func(name, access string) any { return map[string]any{"name": name, "access": access} }
	for _, c := range []struct {
		documents []any
		access    any // of the token
		name      string
		want      string // "", "readwrite" or "readonly"
	}{
		{nil, nil, "anything", "readwrite"},
		{nil, "readonly", "anything", "readonly"},
		{nil, "readwrite", "anything", "readwrite"},
		{[]any{}, nil, "a", ""},
		{[]any{"a"}, nil, "a", "readwrite"},
		{[]any{"a"}, nil, "ab", ""},
		{[]any{"a/a"}, nil, "a", "readwrite"}, // x/x is x
		{[]any{"notes/*"}, nil, "notes/x", "readwrite"},
		{[]any{"notes/*"}, nil, "notes/x/y", "readwrite"},
		{[]any{"notes/*"}, nil, "notes", ""},
		{[]any{"notes/*"}, nil, "notesx", ""},
		{[]any{"*"}, nil, "any/thing", "readwrite"},
		{[]any{"n*"}, nil, "nx", ""}, // a star is a character of names
		{[]any{"n*"}, nil, "n*", "readwrite"},
		{[]any{entry("a", "readonly")}, nil, "a", "readonly"},
		{[]any{entry("a", "readwrite")}, nil, "a", "readwrite"},
		{[]any{map[string]any{"name": "a"}}, nil, "a", "readwrite"},
		{[]any{"a"}, "readonly", "a", "readonly"},
		{[]any{entry("a", "readwrite")}, "readonly", "a", "readonly"},
		{[]any{entry("notes/*", "readonly"), "notes/mine"}, nil, "notes/mine", "readwrite"},
		{[]any{"notes/mine", entry("notes/*", "readonly")}, nil, "notes/mine", "readwrite"},
		{[]any{"notes/mine", entry("notes/*", "readonly")}, nil, "notes/other", "readonly"},
		{[]any{"*", entry("notes/*", "readonly"), "notes/old/*"}, nil, "notes/old/x", "readwrite"},
		{[]any{"*", entry("notes/*", "readonly"), "notes/old/*"}, nil, "notes/x", "readonly"},
		{[]any{"a", entry("a", "readonly")}, nil, "a", "readonly"},
		{[]any{entry("a", "readonly"), "a"}, nil, "a", "readonly"},
	} {
		change := map[string]any{"access": c.access}
		if c.documents != nil {
			change["documents"] = c.documents
		}
		got := ""
		if access, ok := granted(t, change).Access(c.name); ok {
			got = fmt.Sprint(access)
		}
		if got != c.want {
			t.Errorf("documents %v, access %v, %q: got %q, want %q", c.documents, c.access, c.name, got, c.want)
		}
	}
}

func TestOriginMustMatchAnAllowedDomain(t *testing.T) {
	for _, c := range []struct {
		domain, origin string
		want           bool
	}{
		{"app.example", "https://app.example", true},
		{"app.example", "http://app.example:5173", true},
		{"APP.example", "https://app.EXAMPLE", true},
		{"app.example.", "https://app.example", true},
		{"app.example", "https://evil.example", false},
		{"app.example", "https://app.example.evil.example", false},
		{"app.example", "https://evil-app.example", false},
		{"app.example", "https://sub.app.example", false},
		{"app.example:8443", "https://app.example:8443", true},
		{"app.example:8443", "https://app.example", false},
		{"app.example:443", "https://app.example", true},
		{"app.example:443", "http://app.example", false},
		{"app.example:80", "http://app.example", true},
		{"localhost:3000", "http://localhost:3000", true},
		{"localhost:3000", "http://localhost:3001", false},
		{"bücher.example", "https://xn--bcher-kva.example", true},
		{"xn--bcher-kva.example", "https://bücher.example", true},
		{"BÜCHER.example:8080", "https://xn--bcher-kva.example:8080", true},
		{"127.0.0.1", "http://127.0.0.1:8080", true},
		{"[::1]:8080", "http://[::1]:8080", true},
		{"::1", "http://[0:0:0:0:0:0:0:1]:8080", true},
		{"app.example", "", false},
		{"app.example", "null", false},
		{"null", "null", false},
		{"app.example", "app.example", false},
		{"app.example", "://app.example", false},
		{"app.example", "https://app.example/path", false},
		{"app.example", "https://user@app.example", false},
		{"app.example", "https://app.example https://evil.example", false},
		{"app.example", "https://evil.example#app.example", false},
		{"https://app.example", "https://app.example", false}, // a host, not a URL
		{"*", "https://app.example", false},
		{"app.example", "https://app.example:99999999", false},
		{"app.example", "capacitor://app.example", true},
	} {
		for _, claim := range []map[string]any{
			{"allowed_domain_1": c.domain},
			{"allowed_domain_3": c.domain, "allowed_domain_1": ""},
			{"allowedDomains": []string{"other.example", c.domain}},
		} {
			if got := granted(t, claim).AllowsOrigin(c.origin); got != c.want {
				t.Errorf("%v, origin %q: got %v", claim, c.origin, got)
			}
		}
	}
}

func TestWithoutAllowedDomainsAnyOriginGoes(t *testing.T) {
	g := granted(t, map[string]any{"allowed_domain_1": "", "allowed_domain_2": rawNull})
	for _, origin := range []string{"", "null", "https://any.example"} {
		if !g.AllowsOrigin(origin) {
			t.Errorf("%q is refused", origin)
		}
	}
}

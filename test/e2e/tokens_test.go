package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

func TestTokensOfTheIssuerAreTaken(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	server := cluster.Serve{Region: "eu-central-1", JWKS: keys.JWKS}.StartHealthy(t)
	node := yjs.Start(t)
	for what, token := range map[string]string{
		"RS256":             keys.Sign("RS256", issuer.Valid(nil)),
		"ES256":             keys.Sign("ES256", issuer.Valid(nil)),
		"EdDSA":             keys.Sign("EdDSA", issuer.Valid(nil)),
		"audiences":         keys.Token(issuer.Claims{"aud": []string{"other", "WireSocket.API"}}),
		"scopes":            keys.Token(issuer.Claims{"scope": "openid WireSocket.API"}),
		"scp":               keys.Token(issuer.Claims{"scope": nil, "scp": "WireSocket.API"}),
		"scp array":         keys.Token(issuer.Claims{"scope": nil, "scp": []string{"openid", "WireSocket.API"}}),
		"tenantid":          keys.Token(issuer.Claims{"tenantId": nil, "tenantid": "acme"}),
		"licenseRegionCode": keys.Token(issuer.Claims{"dbCode": nil, "licenseRegionCode": "aws-eu-west-1"}),
		"just expired":      keys.Token(issuer.Claims{"exp": time.Now().Add(-10 * time.Second).Unix()}),
	} {
		t.Run(what, func(t *testing.T) {
			c := node.Join(yjs.Options{URL: server.WS(), Document: "doc", Token: token})
			if closes := c.State().Closes; len(closes) != 0 {
				t.Errorf("closed: %v", closes)
			}
			c.Destroy()
		})
	}
}

func TestRefusedTokens(t *testing.T) {
	t.Parallel()
	keys, stranger := issuer.New(t), issuer.New(t)
	server := cluster.Serve{Region: "eu-central-1", JWKS: keys.JWKS}.StartHealthy(t)
	good := keys.Token(nil)
	parts := strings.Split(good, ".")
	other := strings.Split(keys.Token(issuer.Claims{"tenantId": "evil"}), ".")
	const invalid = "Invalid token: " // a reason of which only the beginning is the contract's

	for what, test := range map[string]struct {
		token  string
		code   int
		reason string
		status int // of /discovery
	}{
		"none":                {"", 4001, "Missing token", 401},
		"expired":             {keys.Token(issuer.Claims{"exp": time.Now().Add(-time.Minute).Unix()}), 4002, invalid + "expired", 401},
		"without expiry":      {keys.Token(issuer.Claims{"exp": nil}), 4002, invalid, 401},
		"not yet":             {keys.Token(issuer.Claims{"nbf": time.Now().Add(time.Hour).Unix()}), 4002, invalid, 401},
		"a stranger's key":    {stranger.Token(nil), 4002, invalid + "signature", 401},
		"changed claims":      {parts[0] + "." + other[1] + "." + parts[2], 4002, invalid + "signature", 401},
		"no signature":        {parts[0] + "." + parts[1] + ".", 4002, invalid, 401},
		"HMAC":                {keys.Sign("HS256", issuer.Valid(nil)), 4002, invalid, 401},
		"alg none":            {keys.Sign("none", issuer.Valid(nil)), 4002, invalid, 401},
		"not a token":         {"abc", 4002, invalid + "malformed", 401},
		"no JSON":             {"abc.def.ghi", 4002, invalid + "malformed", 401},
		"other audience":      {keys.Token(issuer.Claims{"aud": "other"}), 4002, invalid + "audience", 401},
		"no audience":         {keys.Token(issuer.Claims{"aud": nil}), 4002, invalid + "audience", 401},
		"other scope":         {keys.Token(issuer.Claims{"scope": "WireSocket.APIs"}), 4002, invalid + "scope", 401},
		"no scope":            {keys.Token(issuer.Claims{"scope": nil}), 4002, invalid + "scope", 401},
		"no tenant":           {keys.Token(issuer.Claims{"tenantId": nil}), 4002, invalid, 401},
		"two tenants":         {keys.Token(issuer.Claims{"tenantid": "other"}), 4002, invalid, 401},
		"bad tenant":          {keys.Token(issuer.Claims{"tenantId": "a/b"}), 4002, invalid, 401},
		"no app":              {keys.Token(issuer.Claims{"appId": nil}), 4002, invalid, 401},
		"no license region":   {keys.Token(issuer.Claims{"dbCode": nil}), 4002, invalid, 401},
		"license region away": {keys.Token(issuer.Claims{"dbCode": "aws-mars-1"}), 4003, "Forbidden: license region", 403},
	} {
		t.Run(what, func(t *testing.T) {
			header := http.Header{}
			if test.token != "" {
				header.Set("Sec-WebSocket-Protocol", "access_token, "+test.token)
			}
			h := cluster.Shake(t, server.Addr, "/doc", header)
			if h.Status != 101 || h.Code != test.code || h.Reason != test.reason && (test.reason != invalid || !strings.HasPrefix(h.Reason, invalid)) {
				t.Errorf("handshake: %+v, expected %d %q", h, test.code, test.reason)
			}
			if test.token != "" && h.Header.Get("Sec-WebSocket-Protocol") != "access_token" {
				t.Errorf("a browser gives up before it sees the code: subprotocol %q", h.Header.Get("Sec-WebSocket-Protocol"))
			}
			a := cluster.Get(t, server.HTTP()+"/discovery?documentName=doc", test.token)
			if a.Status != test.status {
				t.Errorf("discovery: %d %s, expected %d", a.Status, a.Body, test.status)
			}
			if test.token != "" && strings.Contains(h.Reason+string(a.Body), test.token) {
				t.Error("the token is in an answer")
			}
		})
	}
	if found := cluster.Discover(t, server.HTTP(), good, "doc"); !found.IsNew {
		t.Errorf("a refused client left a pin: %+v", found)
	}
	if strings.Contains(server.Output(), parts[1]) {
		t.Error("a token is in the log")
	}
}

func TestProviderSeesWhyItIsRefused(t *testing.T) {
	t.Parallel()
	keys, stranger := issuer.New(t), issuer.New(t)
	server := cluster.Serve{Region: "eu-central-1", JWKS: keys.JWKS}.StartHealthy(t)
	eachLibrary(t, func(t *testing.T, library int, document string) {
		node := yjs.Start(t)
		for _, test := range []struct {
			token string
			via   yjs.Via
			code  int
		}{
			{"", yjs.Subprotocol, 4001},
			{stranger.Token(nil), yjs.Subprotocol, 4002},
			{stranger.Token(nil), yjs.Query, 4002},
			{keys.Token(issuer.Claims{"dbCode": "aws-mars-1"}), yjs.Header, 4003},
		} {
			c := node.Open(yjs.Options{URL: server.WS(), Document: document, Token: test.token, Via: test.via, Library: library})
			c.WaitClosed(test.code)
			c.Destroy()
		}
	})
}

// Expiry is judged at the handshake only.
func TestExpiryDoesNotEndALiveSession(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	server := cluster.Serve{Region: "eu-central-1", JWKS: keys.JWKS}.StartHealthy(t)
	node := yjs.Start(t)
	const skew = 30 * time.Second
	expires := time.Now().Add(15*time.Second - skew).Truncate(time.Second)
	o := yjs.Options{URL: server.WS(), Document: "doc", Token: keys.Token(issuer.Claims{"exp": expires.Unix()})}
	c := node.Join(o)
	c.MustStay(time.Until(expires.Add(skew + 2*time.Second)))
	node.Open(o).WaitClosed(4002)
	o.Token = keys.Token(nil)
	c.Insert(0, "still here")
	node.Join(o).WaitText("still here")
}

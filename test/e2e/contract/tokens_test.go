package contract

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
)

// row is a token, and what becomes of a client that has it.
type row struct {
	what   string
	token  string
	code   int // 0: admitted
	reason string
}

// check makes the handshake in all three ways, and asks /discovery.
func (r row) check(t *testing.T, n *cluster.Node) {
	t.Helper()
	for _, w := range ways {
		spell := w.spellings[0]
		if w.name == "query" { // as a browser writes it, whatever is in it
			spell = func(_, document string) (string, http.Header) {
				return "/" + document + "?token=" + url.QueryEscape(r.token), nil
			}
		}
		target, header := spell(r.token, "doc")
		h := cluster.Shake(t, n.Addr, target, header)
		if h.Status != http.StatusSwitchingProtocols || h.Code != r.code || h.Reason != r.reason {
			t.Errorf("%s, by %s: HTTP %d, %d %q, expected %d %q", r.what, w.name, h.Status, h.Code, h.Reason, r.code, r.reason)
		}
	}
	status := map[int]int{0: 200, 4001: 401, 4002: 401, 4003: 403}[r.code]
	kind := map[int]string{4001: "missing_token", 4002: "invalid_token", 4003: "forbidden"}[r.code]
	a := cluster.Get(t, n.HTTP()+"/discovery?documentName=doc", r.token)
	var refusal struct{ Error, Message string }
	a.JSON(&refusal)
	if a.Status != status || refusal.Error != kind || refusal.Message != r.reason {
		t.Errorf("%s: /discovery answers %d %s, expected %d %s %q", r.what, a.Status, a.Body, status, kind, r.reason)
	}
}

func TestEveryClaimOfTheTable(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n := startNode(t, keys, "--issuer", "https://issuer.example/{tenantId}", "--audience", "WireSocket.API")
	const invalid = "Invalid token: "
	list := func(values ...any) []any { return values }
	for _, c := range []struct {
		what    string
		changes issuer.Claims
		reason  string // after "Invalid token: "; empty: admitted
	}{
		{"aud", nil, ""},
		{"aud contains it", issuer.Claims{"aud": list("other", "WireSocket.API")}, ""},
		{"aud is another", issuer.Claims{"aud": "other"}, "audience"},
		{"aud is not exactly it", issuer.Claims{"aud": "WireSocket.API/"}, "audience"},
		{"aud in another case", issuer.Claims{"aud": "wiresocket.api"}, "audience"},
		{"aud contains another only", issuer.Claims{"aud": list("other")}, "audience"},
		{"aud is no string", issuer.Claims{"aud": 7}, "audience"},
		{"no aud", issuer.Claims{"aud": nil}, "audience"},

		{"scope among words", issuer.Claims{"scope": "openid WireSocket.API email"}, ""},
		{"scope as an array", issuer.Claims{"scope": list("openid", "WireSocket.API")}, ""},
		{"scp", issuer.Claims{"scope": nil, "scp": "openid WireSocket.API"}, ""},
		{"scp as an array", issuer.Claims{"scope": nil, "scp": list("WireSocket.API")}, ""},
		{"scp beside another scope", issuer.Claims{"scope": "openid", "scp": "WireSocket.API"}, ""},
		{"scope is another", issuer.Claims{"scope": "WireSocket.APIs"}, "scope"},
		{"scope is no string", issuer.Claims{"scope": 7}, "scope"},
		{"no scope", issuer.Claims{"scope": nil}, "scope"},

		{"exp within the skew", issuer.Claims{"exp": -15 * time.Second}, ""},
		{"exp before the skew", issuer.Claims{"exp": -31 * time.Second}, "expired"},
		{"no exp", issuer.Claims{"exp": nil}, "claims: exp"},
		{"exp is no number", issuer.Claims{"exp": "tomorrow"}, "claims: exp"},
		{"exp in milliseconds", issuer.Claims{"exp": time.Now().Add(time.Hour).UnixMilli()}, "claims: exp"},
		{"nbf within the skew", issuer.Claims{"nbf": 25 * time.Second}, ""},
		{"nbf after the skew", issuer.Claims{"nbf": 2 * time.Minute}, "not yet valid"},
		{"nbf is no number", issuer.Claims{"nbf": "now"}, "claims: nbf"},
		{"iat within the skew", issuer.Claims{"iat": 25 * time.Second}, ""},
		{"iat after the skew", issuer.Claims{"iat": 2 * time.Minute}, "not yet valid"},
		{"iat is no number", issuer.Claims{"iat": true}, "claims: iat"},

		{"iss is another", issuer.Claims{"iss": "https://issuer.example/other"}, "issuer"},
		{"no iss", issuer.Claims{"iss": nil}, "issuer"},

		{"tenantid", issuer.Claims{"tenantId": nil, "tenantid": "acme"}, ""},
		{"both tenants and equal", issuer.Claims{"tenantid": "acme"}, ""},
		{"both tenants and different", issuer.Claims{"tenantid": "other"}, "claims: tenantId"},
		{"no tenant", issuer.Claims{"tenantId": nil}, "claims: tenantId"},
		{"tenant of 65 characters", issuer.Claims{"tenantId": strings.Repeat("t", 65)}, "claims: tenantId"},
		{"tenant with a slash", issuer.Claims{"tenantId": "a/b"}, "claims: tenantId"},
		{"tenant is no string", issuer.Claims{"tenantId": 7}, "claims: tenantId"},
		{"app of 64 characters", issuer.Claims{"appId": strings.Repeat("a", 60) + "._-9"}, ""},
		{"app of 65 characters", issuer.Claims{"appId": strings.Repeat("a", 65)}, "claims: appId"},
		{"app with a space", issuer.Claims{"appId": "a b"}, "claims: appId"},
		{"no app", issuer.Claims{"appId": nil}, "claims: appId"},

		{"licenseRegionCode", issuer.Claims{"dbCode": nil, "licenseRegionCode": "aws-eu-west-1"}, ""},
		{"both license regions and different", issuer.Claims{"licenseRegionCode": "aws-us-east-1"}, "claims: dbCode"},
		{"no license region", issuer.Claims{"dbCode": nil}, "claims: dbCode"},
		{"license region with a dot", issuer.Claims{"dbCode": "aws.eu"}, "claims: dbCode"},

		{"regionCode", issuer.Claims{"regionCode": "eu-central-1"}, ""},
		{"regionCode of a license region is ignored", issuer.Claims{"regionCode": "aws-us-east-1"}, ""},
		{"regionCode is no string", issuer.Claims{"regionCode": 7}, "claims: regionCode"},

		{"limits", issuer.Claims{"limits": issuer.Claims{"maxConnections": 1000, "maxDocuments": 1000, "maxUsersPerDoc": 1000, "opsPerMinute": 1000}}, ""},
		{"limits of 0", issuer.Claims{"limits": issuer.Claims{"maxConnections": 0, "maxDocuments": 0, "maxUsersPerDoc": 0, "opsPerMinute": 0}}, ""},
		{"limits as a string", issuer.Claims{"limits": `{"maxConnections":1000}`}, ""},
		{"limits are no JSON", issuer.Claims{"limits": "many"}, "claims: limits"},
		{"limits are an array", issuer.Claims{"limits": list(1)}, "claims: limits"},
		{"a limit below 0", issuer.Claims{"limits": issuer.Claims{"maxConnections": -1}}, "claims: limits"},
		{"a limit with a fraction", issuer.Claims{"limits": issuer.Claims{"opsPerMinute": 1.5}}, "claims: limits"},
		{"a limit in words", issuer.Claims{"limits": issuer.Claims{"maxDocuments": "ten"}}, "claims: limits"},

		{"allowed_domain_3 is no string", issuer.Claims{"allowed_domain_3": 7}, "claims: allowed_domain_3"},
		{"allowedDomains are no strings", issuer.Claims{"allowedDomains": list(7)}, "claims: allowedDomains"},
		{"access is another word", issuer.Claims{"access": "admin"}, "claims: access"},
		{"documents is no list", issuer.Claims{"documents": "doc"}, "claims: documents"},
		{"a document that cannot be one", issuer.Claims{"documents": list("doc", "a//b")}, "claims: documents"},
		{"a document with another access", issuer.Claims{"documents": list(issuer.Claims{"name": "doc", "access": "admin"})}, "claims: documents"},
		{"a document whose access is misspelt", issuer.Claims{"documents": list(issuer.Claims{"name": "doc", "Access": "readonly"})}, "claims: documents"},
	} {
		all := claims(c.changes)
		if _, changed := c.changes["iss"]; !changed {
			all["iss"] = "https://issuer.example/acme"
		}
		r := row{what: c.what, token: keys.Sign("ES256", all)}
		if c.reason != "" {
			r.code, r.reason = 4002, invalid+c.reason
		}
		r.check(t, n)
	}
}

func TestTokensThatAreNoneOrNotSigned(t *testing.T) {
	t.Parallel()
	keys, stranger := issuer.New(t), issuer.New(t)
	n := startNode(t, keys)
	good := keys.Token(nil)
	parts, other := strings.Split(good, "."), strings.Split(keys.Token(issuer.Claims{"tenantId": "evil"}), ".")
	twice := func(more string) string {
		spelled, err := json.Marshal(claims(nil))
		if err != nil {
			t.Fatal(err)
		}
		return keys.SignPayload("ES256", []byte(strings.TrimSuffix(string(spelled), "}")+more+"}"))
	}
	const malformed, signature = "Invalid token: malformed", "Invalid token: signature"
	for _, r := range []row{
		{"RS256", keys.Sign("RS256", claims(nil)), 0, ""},
		{"ES256", good, 0, ""},
		{"EdDSA", keys.Sign("EdDSA", claims(nil)), 0, ""},
		{"no token", "", 4001, "Missing token"},
		{"HMAC with the public key", keys.Sign("HS256", claims(nil)), 4002, "Invalid token: algorithm HS256"},
		{"alg none", keys.Sign("none", claims(nil)), 4002, "Invalid token: algorithm none"},
		{"a stranger's key", stranger.Token(nil), 4002, signature},
		{"changed claims", parts[0] + "." + other[1] + "." + parts[2], 4002, signature},
		{"no signature", parts[0] + "." + parts[1] + ".", 4002, signature},
		{"a word", "abc", 4002, malformed},
		{"two parts", parts[0] + "." + parts[1], 4002, malformed},
		{"four parts", good + ".x", 4002, malformed},
		{"no JSON", "abc.def.ghi", 4002, malformed},
		{"padded", good + "==", 4002, malformed},
		{"claims that are an array", keys.SignPayload("ES256", []byte("[]")), 4002, malformed},
		{"a claim twice", twice(`,"tenantId":"evil"`), 4002, malformed},
		{"a claim twice, spelled differently", twice(`,"tenant\u0049d":"evil"`), 4002, malformed},
		{"a claim twice within another", twice(`,"limits":{"maxConnections":1,"maxConnections":2}`), 4002, malformed},
		{"8 KiB and more", keys.Token(issuer.Claims{"pad": strings.Repeat("x", 8<<10)}), 4002, "Invalid token: too long"},
		{"a license region that is not served", keys.Token(issuer.Claims{"dbCode": "aws-mars-1"}), 4003, "Forbidden: license region"},
		{"a document that is not granted", keys.Token(issuer.Claims{"documents": []string{"other"}}), 4003, "Forbidden: document"},
	} {
		r.check(t, n)
	}
}

func TestTokensOfASecretAreTakenWhereThatIsConfigured(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	secret := []byte("a secret of the application's backend")
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, secret, 0o600); err != nil {
		t.Fatal(err)
	}
	n := cluster.Serve{Region: "eu-central-1", Flags: append([]string{
		"--admin-listen", "off", "--hs256-secret-file", file, "--audience", "any", "--scope", "any",
		"--default-tenant", "acme", "--default-app", "notes", "--default-dbcode", "aws-eu-west-1"}, anyRate...)}.StartHealthy(t)
	ends := time.Now().Add(time.Hour).Unix()
	for _, r := range []row{
		{"all claims", issuer.HS256(secret, claims(nil)), 0, ""},
		{"only the end", issuer.HS256(secret, issuer.Claims{"exp": ends}), 0, ""},
		{"TipTap's", issuer.HS256(secret, issuer.Claims{"exp": ends, "sub": "ada", "allowedDocumentNames": []string{"do*"}}), 0, ""},
		{"TipTap's for others", issuer.HS256(secret, issuer.Claims{"exp": ends, "sub": "ada", "allowedDocumentNames": []string{"other"}}), 4003, "Forbidden: document"},
		{"no end", issuer.HS256(secret, issuer.Claims{"sub": "ada"}), 4002, "Invalid token: claims: exp"},
		{"another tenant", issuer.HS256(secret, claims(issuer.Claims{"tenantId": "evil"})), 4002, "Invalid token: claims: tenantId"},
		{"another secret", issuer.HS256(append(secret, '!'), claims(nil)), 4002, "Invalid token: signature"},
		{"a public key", keys.Sign("ES256", claims(nil)), 4002, "Invalid token: algorithm ES256"},
		{"none", keys.Sign("none", claims(nil)), 4002, "Invalid token: algorithm none"},
	} {
		r.check(t, n)
	}
}

func TestTheFirstTokenPresentIsUsedAndTheAnswerNamesTheWordBeforeIt(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n, strict := startNode(t, keys), startNode(t, keys, "--query-token=false")
	good, bad := keys.Token(nil), keys.Token(issuer.Claims{"aud": "other"})
	const audience = "Invalid token: audience"
	header := func(subprotocol, authorization string) http.Header {
		h := http.Header{}
		if subprotocol != "" {
			h.Set("Sec-WebSocket-Protocol", subprotocol)
		}
		if authorization != "" {
			h.Set("Authorization", authorization)
		}
		return h
	}
	for _, c := range []struct {
		what     string
		node     *cluster.Node
		target   string
		header   http.Header
		code     int
		reason   string
		selected string
	}{
		{"subprotocol before header and query", n, "/doc?token=" + bad, header("access_token, "+good, "Bearer "+bad), 0, "", "access_token"},
		{"a bad subprotocol is used", n, "/doc?token=" + good, header("access_token, "+bad, "Bearer "+good), 4002, audience, "access_token"},
		{"header before query", n, "/doc?token=" + bad, header("", "Bearer "+good), 0, "", ""},
		{"a bad header is used", n, "/doc?token=" + good, header("", "Bearer "+bad), 4002, audience, ""},
		{"token before access_token", n, "/doc?access_token=" + bad + "&token=" + good, nil, 0, "", ""},
		{"the other word", n, "/doc", header("Bearer, "+good, ""), 0, "", "Bearer"},
		{"a word without a token", n, "/doc", header("access_token", ""), 4001, "Missing token", "access_token"},
		{"a token without a word", n, "/doc", header(good, ""), 4001, "Missing token", ""},
		{"another scheme", n, "/doc", header("", "Basic "+good), 4001, "Missing token", ""},
		{"the server URL with a query", n, "/?token=" + good + "/doc", nil, 0, "", ""},
		{"the query is switched off", strict, "/doc?token=" + good, nil, 4001, "Missing token", ""},
		{"the server URL with a query that is switched off", strict, "/?token=" + good + "/doc", nil, 4001, "Missing token", ""},
		{"the header is not switched off", strict, "/doc?token=" + bad, header("", "Bearer "+good), 0, "", ""},
	} {
		h := cluster.Shake(t, c.node.Addr, c.target, c.header)
		if h.Code != c.code || h.Reason != c.reason || h.Header.Get("Sec-WebSocket-Protocol") != c.selected {
			t.Errorf("%s: %d %q, selected %q; expected %d %q, %q", c.what, h.Code, h.Reason, h.Header.Get("Sec-WebSocket-Protocol"), c.code, c.reason, c.selected)
		}
	}
	if a := cluster.Get(t, strict.HTTP()+"/discovery?documentName=doc&token="+good, ""); a.Status != http.StatusUnauthorized {
		t.Errorf("/discovery takes a token from the query that is switched off: %d", a.Status)
	}
}

func TestOriginMustMatchOneOfTheAllowedDomains(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n := startNode(t, keys)
	one := func(domain string) issuer.Claims { return issuer.Claims{"allowed_domain_1": domain} }
	for _, c := range []struct {
		what    string
		domains issuer.Claims
		origin  string
		allowed bool
	}{
		{"no domains, any origin", nil, "https://evil.example", true},
		{"no domains, null", nil, "null", true},
		{"empty domains are none", issuer.Claims{"allowed_domain_1": "", "allowed_domain_2": " "}, "https://evil.example", true},
		{"host", one("good.example"), "https://good.example", true},
		{"host at any port", one("good.example"), "http://good.example:8443", true},
		{"host:port", one("good.example:8443"), "https://good.example:8443", true},
		{"host:port at another port", one("good.example:8443"), "https://good.example", false},
		{"host:443 is https", one("good.example:443"), "https://good.example", true},
		{"host:443 is not http", one("good.example:443"), "http://good.example", false},
		{"case", one("Good.Example"), "HTTPS://gOOD.eXAMPLE", true},
		{"IDN", one("bücher.example"), "https://xn--bcher-kva.example", true},
		{"IDN in its ASCII form", one("xn--bcher-kva.example:8443"), "https://xn--bcher-kva.example:8443", true},
		{"IPv6", one("[::1]:3000"), "http://[0:0::1]:3000", true},
		{"the third of three", issuer.Claims{"allowed_domain_1": "a.example", "allowed_domain_2": "b.example", "allowed_domain_3": "good.example"}, "https://good.example", true},
		{"array", issuer.Claims{"allowedDomains": []string{"a.example", "good.example"}}, "https://good.example", true},
		{"array beside one", issuer.Claims{"allowedDomains": []string{"a.example"}, "allowed_domain_2": "good.example"}, "https://good.example", true},
		{"null", one("good.example"), "null", false},
		{"the domain null", one("null"), "null", false},
		{"no origin", one("good.example"), "", false},
		{"another", one("good.example"), "https://evil.example", false},
		{"below it", one("good.example"), "https://evil.good.example", false},
		{"behind it", one("good.example"), "https://good.example.evil.example", false},
		{"beside it", one("good.example"), "https://evil.example/good.example", false},
		{"user and host", one("good.example"), "https://good.example@evil.example", false},
		{"a star is no wildcard", one("*"), "https://good.example", false},
		{"what cannot be a domain matches nothing", one("https://good.example"), "https://good.example", false},
	} {
		target, header := subprotocol("access_token")(keys.Token(c.domains), "doc")
		if c.origin != "" {
			header.Set("Origin", c.origin)
		}
		h := cluster.Shake(t, n.Addr, target, header)
		if c.allowed && h.Code != 0 || !c.allowed && (h.Code != 4003 || h.Reason != "Forbidden: origin") {
			t.Errorf("%s: domains %v, origin %q: %d %q, expected to be allowed: %v", c.what, c.domains, c.origin, h.Code, h.Reason, c.allowed)
		}
	}
}

func TestTheDocumentsClaimGrantsNamesAndPrefixes(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n := startNode(t, keys)
	entry := func(name, access string) issuer.Claims { return issuer.Claims{"name": name, "access": access} }
	const denies, reads, writes = 0, 1, 2
	for i, c := range []struct {
		what   string
		claims issuer.Claims
		name   string
		may    int
	}{
		{"no claim", nil, "todo", writes},
		{"access readonly", issuer.Claims{"access": "readonly"}, "todo", reads},
		{"access readwrite", issuer.Claims{"access": "readwrite"}, "todo", writes},
		{"a name", issuer.Claims{"documents": []any{"other", "todo"}}, "todo", writes},
		{"another name", issuer.Claims{"documents": []any{"other"}}, "todo", denies},
		{"an empty list", issuer.Claims{"documents": []any{}}, "todo", denies},
		{"a prefix", issuer.Claims{"documents": []any{"notes/*"}}, "notes/a/b", writes},
		{"beside a prefix", issuer.Claims{"documents": []any{"notes/*"}}, "notesx", denies},
		{"the prefix itself", issuer.Claims{"documents": []any{"notes/*"}}, "notes", denies},
		{"all", issuer.Claims{"documents": []any{"*"}}, "todo", writes},
		{"a star within", issuer.Claims{"documents": []any{"to*"}}, "todo", denies},
		{"a readonly entry", issuer.Claims{"documents": []any{entry("todo", "readonly")}}, "todo", reads},
		{"a readwrite entry", issuer.Claims{"documents": []any{entry("todo", "readwrite")}}, "todo", writes},
		{"a readonly prefix and a name", issuer.Claims{"documents": []any{entry("notes/*", "readonly"), "notes/mine"}}, "notes/mine", writes},
		{"a readonly name and a prefix", issuer.Claims{"documents": []any{"notes/*", entry("notes/fixed", "readonly")}}, "notes/fixed", reads},
		{"access readonly and a name", issuer.Claims{"access": "readonly", "documents": []any{entry("todo", "readwrite")}}, "todo", reads},
		{"a name twice", issuer.Claims{"documents": []any{"x"}}, "x/x", writes},
	} {
		all := issuer.Claims{"appId": fmt.Sprint("app", i)}
		for name, value := range c.claims {
			all[name] = value
		}
		token := keys.Token(all)
		status := cluster.Get(t, n.HTTP()+"/discovery?documentName="+url.QueryEscape(c.name), token).Status
		if c.may == denies {
			mustRefuse(t, n, c.what, token, c.name, 4003, "Forbidden: document")
			if status != http.StatusForbidden {
				t.Errorf("%s: /discovery answers %d, expected 403", c.what, status)
			}
			continue
		}
		if status != http.StatusOK {
			t.Errorf("%s: /discovery answers %d", c.what, status)
		}
		client := join(t, n, token, c.name)
		client.say(syncUpdate, insert(1, 0, "written"))
		if c.may == reads {
			client.await(denied)
		}
		client.mustHold(c.what, "written", c.may == writes)
		client.leave()
	}
}

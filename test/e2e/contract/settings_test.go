package contract

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
)

func TestKeysComeByPlainHTTPOnlyWhenAskedFor(t *testing.T) {
	t.Parallel()
	const url = "http://issuer.invalid/keys"
	refused := cluster.Serve{Region: "eu-central-1", JWKS: url, Flags: []string{"--admin-listen", "off"}}.Start(t)
	if code := refused.Wait(); code != 2 || !strings.Contains(refused.Output(), "--jwks-url") || !strings.Contains(refused.Output(), "https") {
		t.Errorf("exit code %d: %s", code, refused.Output())
	}
	taken := cluster.Serve{Region: "eu-central-1", JWKS: url, Flags: []string{"--admin-listen", "off", "--jwks-plain-http"}}.StartHealthy(t)
	mustRefuse(t, taken, "an issuer with a name that leads nowhere", issuer.New(t).Token(nil), "doc", 1013, "Try again later")
}

func TestMetricsTellOfTokensAndLimits(t *testing.T) {
	t.Parallel()
	keys, admin := issuer.New(t), cluster.FreeAddress(t)
	n := cluster.Serve{Region: "eu-central-1", JWKS: keys.JWKS, Flags: append([]string{"--node", "n1", "--admin-listen", admin}, anyRate...)}.StartHealthy(t)
	token := keys.Token(issuer.Claims{"limits": issuer.Claims{"maxConnections": 2}})
	join(t, n, token, "a")
	join(t, n, token, "b")
	join(t, n, keys.Token(issuer.Claims{"appId": "other"}), "a")
	mustRefuse(t, n, "app-wide connections", token, "c", 4004, "Connection limit exceeded: 2")
	said := string(cluster.Get(t, "http://"+admin+"/metrics", "").Body)
	for name, value := range map[string]int{
		"tokens_remembered": 2, "tokens_cached_total": 2, "issuers": 1, "issuer_fetches_total": 1, "issuer_fetch_failures_total": 0,
		"apps": 2, "limited_apps": 1, "admissions_waiting": 0, "limit_refusals_unavailable_total": 0,
	} {
		if line := fmt.Sprintf("\nwsnode_%s{node=\"n1\",region=\"eu-central-1\"} %d\n", name, value); !strings.Contains(said, line) {
			t.Errorf("/metrics has no line %q", strings.TrimSpace(line))
		}
	}
	if strings.Contains(said, "\nwsnode_limit_writes_total{node=\"n1\",region=\"eu-central-1\"} 0\n") {
		t.Error("limits were held without a write")
	}
}

func TestAudienceAndScopeAreWhatTheOperatorSays(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n := startNode(t, keys, "--audience", "our.api", "--scope", "docs:edit")
	for _, r := range []row{
		{"both", keys.Token(issuer.Claims{"aud": "our.api", "scope": "openid docs:edit"}), 0, ""},
		{"another audience", keys.Token(issuer.Claims{"scope": "docs:edit"}), 4002, "Invalid token: audience"},
		{"another scope", keys.Token(issuer.Claims{"aud": "our.api"}), 4002, "Invalid token: scope"},
	} {
		r.check(t, n)
	}
}

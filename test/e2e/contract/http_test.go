package contract

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
)

// mustBeError checks an error answer, which browsers can read.
func mustBeError(t *testing.T, what string, a cluster.Answer, status int, kind string) {
	t.Helper()
	var body struct{ Error, Message string }
	a.JSON(&body)
	if a.Status != status || body.Error != kind || body.Message == "" {
		t.Errorf("%s: %d %s, expected %d %s", what, a.Status, a.Body, status, kind)
	}
	mustBeReadable(t, what, a)
}

func mustBeReadable(t *testing.T, what string, a cluster.Answer) {
	t.Helper()
	if a.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(a.Header.Get("Access-Control-Expose-Headers"), "Retry-After") ||
		!strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") {
		t.Errorf("%s: a browser cannot read it: %v", what, a.Header)
	}
}

func TestUsageTellsCurrentLimitPercentAndStatus(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n := startNode(t, keys)
	for i := range 9 {
		join(t, n, keys.Token(nil), fmt.Sprint("doc", i%3))
	}
	type share struct {
		Current, Percent float64
		Limit            *float64
		Status           string
	}
	type usage struct {
		TenantID, AppID string
		Usage           struct{ Connections, Documents share }
		Timestamp       time.Time
	}
	// One look is up to 5 s old, so the plans differ and not what is used.
	for _, c := range []struct {
		connections, documents int // limits; 0: none
		percent                [2]float64
		status                 [2]string
	}{
		{0, 0, [2]float64{0, 0}, [2]string{"healthy", "healthy"}},
		{13, 5, [2]float64{69.2, 60}, [2]string{"healthy", "healthy"}},
		{12, 4, [2]float64{75, 75}, [2]string{"warning", "warning"}},
		{11, 4, [2]float64{81.8, 75}, [2]string{"warning", "warning"}},
		{10, 3, [2]float64{90, 100}, [2]string{"critical", "critical"}},
		{9, 2, [2]float64{100, 150}, [2]string{"critical", "critical"}},
		{0, 3, [2]float64{0, 100}, [2]string{"healthy", "critical"}},
	} {
		token := keys.Token(issuer.Claims{"limits": issuer.Claims{"maxConnections": c.connections, "maxDocuments": c.documents}})
		a := cluster.Get(t, n.HTTP()+"/usage", token)
		var u usage
		a.JSON(&u)
		if a.Status != http.StatusOK || u.TenantID != "acme" || u.AppID != "notes" || time.Since(u.Timestamp).Abs() > time.Minute {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		mustBeReadable(t, "/usage", a)
		for i, s := range []share{u.Usage.Connections, u.Usage.Documents} {
			current, limit := []int{9, 3}[i], []int{c.connections, c.documents}[i]
			if int(s.Current) != current || (s.Limit == nil) != (limit == 0) || s.Limit != nil && int(*s.Limit) != limit || s.Percent != c.percent[i] || s.Status != c.status[i] {
				t.Errorf("limits %d and %d: %s, expected %d, %v, %s", c.connections, c.documents, a.Body, current, c.percent[i], c.status[i])
			}
		}
	}
}

func TestErrorsOfTheHTTPEndpoints(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n := startNode(t, keys)
	good, away := keys.Token(nil), keys.Token(issuer.Claims{"dbCode": "aws-mars-1"})
	expired := keys.Token(issuer.Claims{"exp": 1})
	for _, c := range []struct {
		method, path, token string
		status              int
		kind                string
	}{
		{"GET", "/discovery?documentName=doc", "", 401, "missing_token"},
		{"GET", "/discovery?documentName=doc", expired, 401, "invalid_token"},
		{"GET", "/discovery?documentName=doc", away, 403, "forbidden"},
		{"GET", "/discovery?documentName=doc", keys.Token(issuer.Claims{"documents": []string{"x"}}), 403, "forbidden"},
		{"GET", "/discovery", good, 400, "invalid_document_name"},
		{"GET", "/discovery?documentName=", good, 400, "invalid_document_name"},
		{"GET", "/discovery?documentName=a%2F%2Fb", good, 400, "invalid_document_name"},
		{"GET", "/discovery?documentName=" + strings.Repeat("n", 256), good, 400, "invalid_document_name"},
		{"GET", "/usage", "", 401, "missing_token"},
		{"GET", "/usage", expired, 401, "invalid_token"},
		{"GET", "/usage", away, 403, "forbidden"},
		{"GET", "/nothing", good, 404, "not_found"},
		{"POST", "/discovery?documentName=doc", good, 405, "method_not_allowed"},
		{"DELETE", "/usage", good, 405, "method_not_allowed"},
	} {
		a := cluster.Do(t, c.method, n.HTTP()+c.path, c.token, http.Header{"Origin": {"https://editor.example"}})
		mustBeError(t, c.method+" "+c.path, a, c.status, c.kind)
	}
	for _, path := range []string{"/", "/health", "/discovery", "/usage", "/regions"} {
		a := cluster.Do(t, http.MethodOptions, n.HTTP()+path, "", http.Header{
			"Origin": {"https://editor.example"}, "Access-Control-Request-Method": {"GET"}, "Access-Control-Request-Headers": {"authorization"},
		})
		if a.Status != http.StatusNoContent || a.Header.Get("Access-Control-Allow-Origin") != "*" || a.Header.Get("Access-Control-Allow-Headers") != "Authorization" {
			t.Errorf("preflight of %s: %d %v", path, a.Status, a.Header)
		}
	}
	if found := cluster.Discover(t, n.HTTP(), good, "doc"); !found.IsNew {
		t.Errorf("asking made a pin: %+v", found)
	}
}

func TestIsNewSaysWhetherTheDocumentIsOpenOrInItsGracePeriod(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n := startNode(t, keys, "--grace", "5s")
	prefers := keys.Token(issuer.Claims{"regionCode": "us-east-1"}) // which is not live
	expect := func(what string, isNew bool) {
		t.Helper()
		if found := cluster.Discover(t, n.HTTP(), prefers, "a b"); found.IsNew != isNew || found.Region != "eu-central-1" || found.URL != n.WS()+"/a%20b" {
			t.Errorf("%s: %+v", what, found)
		}
	}
	expect("nobody has it open", true)
	expect("asking creates no pin", true)
	c := join(t, n, prefers, "a%20b")
	expect("it is open", false)
	left := time.Now()
	c.leave()
	expect("the grace period runs", false)
	cluster.WaitUnpinned(t, n.HTTP(), prefers, "a b", patience)
	if took := time.Since(left); took < 5*time.Second {
		t.Errorf("the grace period took %v", took)
	}
}

// A region is live, then it drains, then it is down.
func TestRegionsAreLiveDrainingOrDown(t *testing.T) {
	t.Parallel()
	keys, natsURL := issuer.New(t), cluster.StartNATS(t)
	start := func(region string, flags ...string) *cluster.Node {
		return cluster.Serve{Name: region, Region: region, URL: "wss://" + region + ".example", NATS: natsURL, JWKS: keys.JWKS,
			Flags: append(append([]string{"--admin-listen", "off"}, anyRate...), flags...)}.Start(t)
	}
	eu, us := start("eu-central-1"), start("us-east-1", "--drain-delay", "4s")
	cluster.Started(t, eu.Process, eu.Addr)
	cluster.Started(t, us.Process, us.Addr)
	expect := func(status string) {
		t.Helper()
		var said string
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			a := cluster.Get(t, eu.HTTP()+"/regions", "")
			var list struct {
				Regions []struct{ Region, URL, Status string }
			}
			a.JSON(&list)
			mustBeReadable(t, "/regions", a)
			for _, r := range list.Regions {
				if r.Region == "us-east-1" && r.Status == status && r.URL == "wss://us-east-1.example" {
					return
				}
			}
			said = string(a.Body)
		}
		t.Fatalf("/regions says %s, expected us-east-1 to be %s", said, status)
	}
	token := keys.Token(issuer.Claims{"regionCode": "us-east-1"})
	expect("live")
	if found := cluster.Discover(t, eu.HTTP(), token, "doc"); found.Region != "us-east-1" || found.URL != "wss://us-east-1.example/doc" {
		t.Errorf("the token's region is live: %+v", found)
	}
	us.Interrupt()
	expect("draining")
	if found := cluster.Discover(t, eu.HTTP(), token, "doc"); found.Region != "eu-central-1" {
		t.Errorf("nobody is sent to a region that drains: %+v", found)
	}
	us.Wait()
	expect("down")
}

// section 8: per client IP, each bucket its own.
func TestRatesPerClientAddress(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	n := cluster.Serve{Region: "eu-central-1", JWKS: keys.JWKS, Flags: []string{
		"--admin-listen", "off", "--trusted-proxy", "127.0.0.1/32", "--trusted-proxy", "10.0.0.0/8", "--trusted-proxy", "fd00::/8",
		"--refused-per-minute", "3", "--admitted-per-minute", "4", "--usage-per-minute", "2", "--health-per-minute", "500",
	}}.StartHealthy(t)
	good := keys.Token(nil)
	from := func(forwarded string) http.Header { return http.Header{"X-Forwarded-For": {forwarded}} }

	type request func(forwarded string) (status int, header http.Header)
	get := func(path, token string) request {
		return func(forwarded string) (int, http.Header) {
			a := cluster.Do(t, http.MethodGet, n.HTTP()+path, token, from(forwarded))
			if a.Status == http.StatusTooManyRequests {
				mustBeError(t, path, a, a.Status, "rate_limited")
			}
			return a.Status, a.Header
		}
	}
	shake := func(token string) request {
		return func(forwarded string) (int, http.Header) {
			target, header := subprotocol("access_token")(token, "doc")
			header.Set("X-Forwarded-For", forwarded)
			h := cluster.Shake(t, n.Addr, target, header)
			return h.Status, h.Header
		}
	}
	refused := func(forwarded string) (int, http.Header) { // each time another token
		return shake(keys.Token(issuer.Claims{"aud": "other", "jti": time.Now().String()}))(forwarded)
	}
	must := func(what string, r request, forwarded string, status int) {
		t.Helper()
		got, header := r(forwarded)
		if got != status || status == http.StatusTooManyRequests && header.Get("Retry-After") != "60" {
			t.Errorf("%s, from %s: %d, Retry-After %q, expected %d", what, forwarded, got, header.Get("Retry-After"), status)
		}
	}
	times := func(count int, what string, r request, forwarded string, status int) {
		t.Helper()
		for range count {
			must(what, r, forwarded, status)
		}
	}
	discovery, usage := get("/discovery?documentName=doc", good), get("/usage", good)
	failed := get("/discovery?documentName="+url.QueryEscape("a//b"), good)

	const a, b = "192.0.2.1", "192.0.2.2"
	times(3, "refused handshakes", refused, a, 101)
	must("a refused handshake too many", refused, a, 429)
	must("a good one meanwhile", shake(good), a, 101)
	must("a good discovery meanwhile", discovery, a, 200)
	must("failed discovery shares the bucket of refused handshakes", failed, a, 429)
	times(2, "usage has its own", usage, a, 200)
	must("usage too often", usage, a, 429)
	must("health has its own", get("/health", ""), a, 200)
	must("regions has none", get("/regions", ""), a, 200)
	must("another address", shake(good), b, 101)

	times(2, "successful handshakes", shake(good), "192.0.2.3", 101)
	times(2, "successful discoveries", discovery, "192.0.2.3", 200)
	must("a successful handshake too many", shake(good), "192.0.2.3", 429)
	must("a successful discovery too many", discovery, "192.0.2.3", 429)

	times(3, "failed discoveries", failed, "192.0.2.4", 400)
	must("a failed discovery too many", failed, "192.0.2.4", 429)
	must("a refused handshake after failed discoveries", refused, "192.0.2.4", 429)

	// The rightmost address that is no trusted proxy's counts.
	times(2, "forwarded twice", usage, "192.0.2.5, 10.1.2.3", 200)
	must("by another of the proxies", usage, "192.0.2.5, 10.9.9.9", 429)
	must("whatever the client writes before it", usage, "203.0.113.9, 192.0.2.5, 10.1.2.3", 429)
	must("the address before it", usage, "192.0.2.6, 10.1.2.3", 200)

	times(2, "IPv6", usage, "2001:db8:0:1::1", 200)
	must("IPv6 of the same /64", usage, "2001:db8:0:1:ffff::2", 429)
	must("IPv6 of another /64", usage, "2001:db8:0:2::1", 200)

	// Without a trusted proxy nobody's word is taken.
	direct := cluster.Serve{Region: "eu-central-1", JWKS: keys.JWKS, Flags: []string{"--admin-listen", "off", "--usage-per-minute", "2"}}.StartHealthy(t)
	for i, status := range []int{200, 200, 429} {
		answer := cluster.Do(t, http.MethodGet, direct.HTTP()+"/usage", good, from(fmt.Sprint("192.0.2.", i)))
		if answer.Status != status {
			t.Errorf("request %d: %d, expected %d", i+1, answer.Status, status)
		}
	}
	// A token that is refused again and again is stopped before its address is.
	target, header := subprotocol("access_token")("garbage", "doc")
	for range 20 {
		cluster.Shake(t, direct.Addr, target, header)
	}
	if h := cluster.Shake(t, direct.Addr, target, header); h.Status != http.StatusTooManyRequests {
		t.Errorf("the 21st refusal of one token: %+v", h)
	}
	target, header = subprotocol("access_token")(good, "doc")
	if h := cluster.Shake(t, direct.Addr, target, header); h.Code != 0 || h.Status != http.StatusSwitchingProtocols {
		t.Errorf("another token from the same address: %+v", h)
	}
}

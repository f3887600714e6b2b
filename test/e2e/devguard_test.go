package e2e

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
)

func TestPagesOfTheInternetCannotUseTheDevEndpoints(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	at := dev.Addr(cluster.EU, 0)
	_, port, _ := net.SplitHostPort(at)
	_, other, _ := net.SplitHostPort(dev.Addr(cluster.US, 1))
	free := strings.TrimPrefix(cluster.FreeAddress(t), "127.0.0.1:")
	ask := func(method, path, host, origin, site string) *http.Response {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+at+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = host
		for name, value := range map[string]string{"Origin": origin, "Sec-Fetch-Site": site} {
			if value != "" {
				request.Header.Set(name, value)
			}
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer
	}
	const steer = "/dev/regions/eu-central-1/heal"
	for _, c := range []struct {
		what, host, origin, site string
		read, changed            int
		readable                 bool // by the page
	}{
		{"a command line", at, "", "", 200, 204, false},
		{"the playground", at, "http://" + at, "same-origin", 200, 204, true},
		{"the playground, by the other name of this machine", at, "http://localhost:" + port, "cross-site", 200, 204, true},
		{"the playground of another node", at, "http://127.0.0.1:" + other, "same-site", 200, 204, true},
		{"a page of another device, which it was sent by this one", "192.0.2.1:" + port, "http://192.0.2.1:" + other, "same-site", 200, 204, true},
		{"a name that somebody points here", "evil.example:" + port, "http://evil.example:" + port, "same-origin", 403, 403, false},
		{"a page of the internet", at, "https://evil.example", "cross-site", 200, 403, false},
		{"one on the same port", at, "http://evil.example:" + port, "cross-site", 200, 403, false},
		{"one on the same port of an address", at, "http://192.0.2.1:" + port, "cross-site", 200, 403, false},
		{"another service of this machine", at, "http://localhost:" + free, "same-site", 200, 403, false},
		{"a sandboxed page", at, "null", "cross-site", 200, 403, false},
		{"a page that hides its origin", at, "", "cross-site", 200, 403, false},
	} {
		for _, path := range []string{"/dev/token", "/dev/topology", "/playground/"} {
			answer := ask(http.MethodGet, path, c.host, c.origin, c.site)
			allowed := answer.Header.Get("Access-Control-Allow-Origin")
			if answer.StatusCode != c.read || c.readable != (allowed == c.origin && allowed != "") || !c.readable && allowed != "" {
				t.Errorf("%s: %s answers %d, readable by %q", c.what, path, answer.StatusCode, allowed)
			}
		}
		if answer := ask(http.MethodPost, steer, c.host, c.origin, c.site); answer.StatusCode != c.changed {
			t.Errorf("%s: POST answers %d, expected %d", c.what, answer.StatusCode, c.changed)
		}
	}
}

func TestServeHasNoDevEndpoints(t *testing.T) {
	t.Parallel()
	n := cluster.Serve{Name: "plain", Region: "eu-central-1", JWKS: issuer.New(t).JWKS}.StartHealthy(t)
	for _, path := range []string{"/dev/token", "/dev/jwks", "/dev/topology", "/dev/events", "/playground/", "/playground"} {
		if a := cluster.Get(t, n.HTTP()+path, ""); a.Status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	if a := cluster.Do(t, http.MethodPost, n.HTTP()+"/dev/regions/eu-central-1/cut", "", nil); a.Status < 400 {
		t.Errorf("a region was cut: %d", a.Status)
	}
}

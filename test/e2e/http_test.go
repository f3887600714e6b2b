package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
)

func TestHTTPAnswersCanBeReadByBrowsers(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	base := dev.HTTP(cluster.EU, 0)
	origin := http.Header{"Origin": {"https://editor.example"}}
	for path, status := range map[string]int{
		"/health":                       200,
		"/":                             200,
		"/regions":                      200,
		"/discovery":                    401,
		"/discovery?documentName=doc":   401,
		"/discovery?documentName=a%3Fb": 401,
	} {
		a := cluster.Do(t, http.MethodGet, base+path, "", origin)
		if a.Status != status || a.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("GET %s: %d, allowed origin %q, expected %d and *", path, a.Status, a.Header.Get("Access-Control-Allow-Origin"), status)
		}
		if exposed := a.Header.Get("Access-Control-Expose-Headers"); !strings.Contains(exposed, "Retry-After") {
			t.Errorf("GET %s exposes %q, expected Retry-After", path, exposed)
		}
		if kind := a.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
			t.Errorf("GET %s: content type %q", path, kind)
		}

		preflight := http.Header{
			"Origin":                         origin["Origin"],
			"Access-Control-Request-Method":  {"GET"},
			"Access-Control-Request-Headers": {"authorization"},
		}
		a = cluster.Do(t, http.MethodOptions, base+path, "", preflight)
		allowed := strings.ToLower(a.Header.Get("Access-Control-Allow-Headers"))
		if a.Status/100 != 2 || a.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(allowed, "authorization") {
			t.Errorf("OPTIONS %s: %d %v", path, a.Status, a.Header)
		}
	}
}

func TestDiscoveryAnswersErrorsAsJSON(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	good, away := dev.Token(), dev.Token("dbCode", "aws-mars-1")
	for _, test := range []struct {
		what, query, token string
		status             int
	}{
		{"no token", "?documentName=doc", "", 401},
		{"bad token", "?documentName=doc", "abc", 401},
		{"no name", "", good, 400},
		{"empty name", "?documentName=", good, 400},
		{"bad name", "?documentName=a%2F..%2Fb", good, 400},
		{"bad escape", "?documentName=50%", good, 400},
		{"license region", "?documentName=doc", away, 403},
		{"no token and no name", "", "", 401},
	} {
		a := cluster.Get(t, dev.HTTP(cluster.EU, 0)+"/discovery"+test.query, test.token)
		if a.Status != test.status {
			t.Errorf("%s: %d %s, expected %d", test.what, a.Status, a.Body, test.status)
		}
		var refusal struct{ Error, Message string }
		a.JSON(&refusal)
		if refusal.Error == "" || refusal.Message == "" || strings.Contains(refusal.Error, " ") {
			t.Errorf("%s: %s, expected a code and a message", test.what, a.Body)
		}
		if a.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: a browser cannot read it", test.what)
		}
	}
}

func TestDiscoveryTakesTheTokenByHeaderOrQuery(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	token := dev.Token()
	for _, query := range []string{"&token=", "&access_token="} {
		if a := cluster.Get(t, dev.HTTP(cluster.US, 0)+"/discovery?documentName=doc"+query+token, ""); a.Status != 200 {
			t.Errorf("%s: %d %s", query, a.Status, a.Body)
		}
	}
	if found := cluster.Discover(t, dev.HTTP(cluster.US, 1), token, "a b/ü"); found.URL != dev.WS(cluster.US, 0)+"/a%20b/%C3%BC" || !found.IsNew {
		t.Errorf("%+v", found)
	}
}

func TestHealthTellsStatusAndTime(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	for _, path := range []string{"/", "/health"} {
		for region := range dev.Regions {
			for n := range dev.Nodes {
				a := cluster.Get(t, dev.HTTP(region, n)+path, "")
				var health struct {
					Status    string
					Timestamp time.Time
				}
				a.JSON(&health)
				if a.Status != 200 || health.Status != "healthy" || time.Since(health.Timestamp).Abs() > time.Minute {
					t.Errorf("node %d of region %d, %s: %d %s", n, region, path, a.Status, a.Body)
				}
			}
		}
	}
}

func TestRegionsLists(t *testing.T) {
	t.Parallel()
	dev := cluster.DevConfig{Regions: []string{"eu-central-1", "eu-central-2", "us-east-1"}, Nodes: 1}.Start(t)
	type region struct{ Region, URL, Status string }
	for i := range dev.Regions {
		a := cluster.Get(t, dev.HTTP(i, 0)+"/regions", "")
		var list struct {
			Regions        []region
			LicenseRegions []string
		}
		a.JSON(&list)
		slices.SortFunc(list.Regions, func(a, b region) int { return strings.Compare(a.Region, b.Region) })
		var expected []region
		for j, name := range dev.Regions {
			expected = append(expected, region{name, dev.WS(j, 0), "live"})
		}
		if !slices.Equal(list.Regions, expected) {
			t.Errorf("node of %s answers %s, expected %v", dev.Regions[i], a.Body, expected)
		}
		slices.Sort(list.LicenseRegions)
		if !slices.Equal(list.LicenseRegions, []string{
			"aws-ap-northeast-1", "aws-ap-south-1", "aws-eu-west-1", "aws-us-east-1", "aws-us-east-2", "aws-us-west-2",
		}) {
			t.Errorf("license regions are %v", list.LicenseRegions)
		}
	}
}

func TestUnknownPathsAreNotFoundAndNothingIsRedirected(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, path := range []string{"/doc", "/health/", "//health", "/a/../health", "/discovery/"} {
		response, err := client.Get(dev.HTTP(cluster.EU, 0) + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode/100 != 4 {
			t.Errorf("GET %s: %d, expected a refusal", path, response.StatusCode)
		}
	}
}

package contract

import (
	"net/http"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/wait"
)

// row 1013, /discovery and /health without the registry; /health without NATS.
func TestWithoutTheRegistryOnlyWhatIsLiveTakesConnections(t *testing.T) {
	t.Parallel()
	keys := issuer.New(t)
	region, registry := cluster.StartNATSServers(t, 1)[0], cluster.StartNATSServers(t, 1)[0]
	start := func() *cluster.Node {
		listen := cluster.FreeAddress(t)
		return cluster.Started(t, cluster.RunWsnode(t, append([]string{
			"serve", "--region", "eu-central-1", "--listen", listen, "--public-url", "ws://eu-central-1.example", "--jwks-url", keys.JWKS,
			"--nats-url", region.URL, "--registry", "aws-eu-west-1=" + registry.URL, "--admin-listen", "off", "--drain-spread", "0s",
		}, anyRate...)...), listen)
	}
	n, neighbour := start(), start()
	token := keys.Token(nil)
	limited := keys.Token(issuer.Claims{"appId": "limited", "limits": issuer.Claims{"maxConnections": 10}})
	health := func(status int, word string) {
		t.Helper()
		deadline := time.Now().Add(2 * patience) // a lease may have to run out
		for {
			a := cluster.Get(t, n.HTTP()+"/health", "")
			var body struct{ Status string }
			if a.JSON(&body); a.Status == status && body.Status == word {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("/health says %d %s, expected %d %s", a.Status, a.Body, status, word)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	unavailable := func(path, token string) {
		t.Helper()
		a := cluster.Get(t, n.HTTP()+path, token)
		mustBeError(t, path, a, http.StatusServiceUnavailable, "unavailable")
		if a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", path)
		}
	}

	live := join(t, n, token, "live")
	registry.Kill()
	health(http.StatusOK, "degraded")
	clock := wait.Start()
	mustRefuse(t, n, "a document that is not live", token, "new", 1013, "Try again later")
	if clock.Exceeds(10 * time.Second) { // 2 s, on a machine with nothing else to do
		t.Errorf("the refusal took %v", clock.Took())
	}
	mustRefuse(t, n, "a new place in an app with limits", limited, "live", 1013, "Try again later")
	join(t, n, token, "live").mustHold("a new connection to what is live", "nothing", false)
	live.mustHold("a live session", "nothing", false)
	join(t, neighbour, token, "live").mustHold("a new connection to another node of the region", "nothing", false)
	if found := cluster.Discover(t, n.HTTP(), token, "live"); found.IsNew || found.Region != "eu-central-1" {
		t.Errorf("/discovery of what is live: %+v", found)
	}
	unavailable("/discovery?documentName=new", token)

	registry.Start()
	health(http.StatusOK, "healthy")
	rejoin(t, n, token, "new")
	rejoin(t, n, limited, "live")

	region.Kill()
	health(http.StatusServiceUnavailable, "degraded")
	region.Start()
	health(http.StatusOK, "healthy")
	neighbour.Stop() // while both servers run
	n.Stop()
}

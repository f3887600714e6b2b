package frontdoor

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsnode/wsnode/clients/load"
	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/crowd"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/wait"
)

// tokenServer hands out a token of its own to everybody who asks.
func tokenServer(t *testing.T, keys *issuer.Issuer, algorithm string) string {
	t.Helper()
	var serial atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, keys.Sign(algorithm, issuer.Valid(issuer.Claims{"jti": serial.Add(1)})))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestAReconnectStormIsOverSoon measures. As a soak it is 5,000 clients against a node on
// one core.
func TestAReconnectStormIsOverSoon(t *testing.T) {
	o := load.StormOptions{Docs: 20, Clients: 10, Typed: 50, Rounds: 1}
	serve := cluster.Serve{Region: "eu-central-1", Flags: []string{
		"--admin-listen", "off", "--refused-per-minute", "0", "--admitted-per-minute", "0", "--log-level", "warn",
	}}
	if soak() {
		cluster.WithoutRace(t)
		o.Docs, o.Rounds = 500, 3
		serve.Under = oneCore(t)
	} else {
		t.Parallel()
	}
	keys := issuer.New(t)
	serve.JWKS, serve.NATS = keys.JWKS, cluster.StartNATS(t)
	kinds := []struct {
		name, algorithm string
		same            bool
	}{
		{"with the tokens that they had", "RS256", true},
		{"with new tokens by ES256", "ES256", false},
		{"with new tokens by RS256", "RS256", false},
	}
	if !soak() {
		kinds = kinds[:1]
	}
	for _, c := range kinds {
		t.Run(c.name, func(t *testing.T) {
			node := serve.StartHealthy(t)
			r := &load.Runner{Target: load.Target{
				Name: "node", URLs: []string{node.WS()}, TokenURL: tokenServer(t, keys, c.algorithm), PIDs: []int{node.PID()},
			}}
			must(t, r.Open())
			defer r.Close()
			storm := o
			storm.SameTokens = c.same
			result, err := r.Storm(t.Context(), c.name, storm)
			must(t, err)
			if result.Faults.Any() {
				t.Errorf("%v", result.Faults)
			}
			for _, v := range result.Values {
				t.Logf("%d clients: %s %.4g %s", o.Docs*o.Clients, v.Name, v.Value, v.Unit)
			}
			if all := crowd.Value(result, "all synced"); all > patience/4 {
				t.Errorf("all were synced after %v", all)
			}
		})
	}
}

// oneCore is the command that has a process run on one core; where there is none, the Go
// runtime sees to it alone.
func oneCore(t *testing.T) []string {
	one := []string{"env", "GOMAXPROCS=1"}
	if _, err := exec.LookPath("taskset"); err != nil {
		t.Log("there is no taskset: the kernel may move the node between cores")
		return one
	}
	return append(one, "taskset", "-c", "0")
}

// quickly is when a good client should be synced, on a machine that clients with
// bad tokens and other tests keep busy.
const quickly = 2 * time.Second

// knock tries a bad token, and fails if it is good enough.
func knock(node *cluster.Node, token, address string) error {
	s, err := open(node.Addr, handshake(node.Addr, "knocked", token, address), nil)
	if err != nil {
		var answered *answeredError
		if errors.As(err, &answered) && answered.status == http.StatusTooManyRequests {
			return nil
		}
		return err
	}
	defer s.Close()
	message, err := s.read()
	if how := (closed{}); errors.As(err, &how) && (how.code == 4001 || how.code == 4002) {
		return nil
	}
	return fmt.Errorf("a bad token was answered with %v and %d bytes", err, len(message))
}

func TestGoodClientsGetInWhileOthersKnockWithBadTokens(t *testing.T) {
	t.Parallel()
	keys, strangers := issuer.New(t), issuer.New(t)
	expired := keys.Token(issuer.Claims{"exp": time.Now().Add(-time.Hour).Unix()})
	bad := []string{
		"", "not.a.token", expired,
		strangers.Sign("RS256", issuer.Valid(nil)), // another key, of the same name
		strangers.Token(nil),
		keys.Sign("none", issuer.Valid(nil)), keys.Sign("HS256", issuer.Valid(nil)),
	}
	token := keys.Token(nil)
	nats := cluster.StartNATS(t)
	for _, c := range []struct {
		name  string
		flags []string
		from  func(i int64) string // the address of the bad ones
	}{
		{"from a few addresses", nil, func(i int64) string { return fmt.Sprintf("10.0.0.%d", i%4) }},
		{"from everywhere", nil, func(i int64) string { return fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255) }},
		{"from the same address without rate limits", []string{"--refused-per-minute", "0", "--admitted-per-minute", "0"},
			func(int64) string { return goodAddress }},
	} {
		t.Run(c.name, func(t *testing.T) {
			node := cluster.Serve{Region: "eu-central-1", JWKS: keys.JWKS, NATS: nats, Flags: append(c.flags,
				"--admin-listen", "off", "--trusted-proxy", "127.0.0.0/8", "--log-level", "error")}.StartHealthy(t)
			good := crowd.Start(t, "two clients", load.Target{Name: "node", URLs: []string{node.WS()}, Token: token}, load.EndureOptions{Docs: 1, Clients: 2, Rate: 20})
			s := newSiege(t, node, token)
			var knocks atomic.Int64
			const knockers = 4
			for range knockers {
				s.wg.Go(func() {
					for s.ctx.Err() == nil {
						i := knocks.Add(1)
						if err := knock(node, bad[i%int64(len(bad))], c.from(i)); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			wait.Within(t, patience, "they knock", func() bool { return knocks.Load() > 200 })
			start, before := time.Now(), knocks.Load()
			var slowest, sum time.Duration
			const newcomers = 20
			for range newcomers {
				took := enter(t, node, token)
				slowest, sum = max(slowest, took), sum+took
				good.Wait(50 * time.Millisecond)
			}
			t.Logf("%.0f bad handshakes a second; a good client got in within %v, on average %v",
				float64(knocks.Load()-before)/time.Since(start).Seconds(), slowest, sum/newcomers)
			s.end()
			result := good.Finish()
			if returns, _ := result.Value("returns"); returns > 0 {
				t.Errorf("good clients were disconnected %v times", returns)
			}
			if slowest > quickly {
				t.Errorf("a good client waited %v for its turn", slowest)
			}
		})
	}
}

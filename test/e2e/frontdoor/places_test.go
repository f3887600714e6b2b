package frontdoor

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/wait"
)

// limit is a limit of a plan that clients race for, and how a refusal by it reads.
type limit struct {
	claim  string
	places int
	code   int
	reason string
	shared bool // all want the same document
}

var planLimits = []limit{
	{claim: "maxConnections", places: 5, code: 4004, reason: "Connection limit exceeded: 5"},
	{claim: "maxDocuments", places: 3, code: 4005, reason: "Document limit exceeded: 3 (active: 3)"},
	{claim: "maxUsersPerDoc", places: 3, code: 4008, reason: "Document user limit exceeded: 3", shared: true},
}

// token is one of an app that has only this limit.
func (l limit) token(keys *issuer.Issuer, app string) string {
	return keys.Token(issuer.Claims{"appId": app, "limits": map[string]int{l.claim: l.places}})
}

// document is what client i of a round opens: their own, so that no region's pin is in
// anybody's way, unless the limit is about one document.
func (l limit) document(round, i int) string {
	if l.shared {
		return fmt.Sprintf("round-%d", round)
	}
	return fmt.Sprintf("round-%d-%d", round, i)
}

func TestExactlyOneOfTenGetsTheLastPlace(t *testing.T) {
	t.Parallel()
	rounds := 10
	if soak() {
		rounds = 200
	}
	w := startRegions(t)
	for _, l := range planLimits {
		t.Run(l.claim, func(t *testing.T) {
			r := race{w: w, limit: l, token: l.token(w.keys, l.claim)}
			for round := range rounds {
				if r.run(t, round); t.Failed() {
					t.Fatalf("in round %d", round)
				}
			}
			t.Logf("%d rounds: %d without a winner at first; %d attempts until a free place was there; %d losers were asked to come again, %d sent to the other region",
				rounds, r.none, r.waited, r.again, r.redirected)
		})
	}
}

// race is clients that want the last place of an app, again and again.
type race struct {
	w     *regions
	limit limit
	token string

	none, waited, again, redirected int
}

const racers = 10

// run fills all places but one, races for it, and gives all back.
func (r *race) run(t *testing.T, round int) {
	t.Helper()
	var inside []visit
	defer func() {
		for _, v := range inside {
			v.Close()
		}
	}()
	home := round % 2 * nodesPerRegion // where a shared document is
	for i := range r.limit.places - 1 {
		node := home + i%nodesPerRegion
		if !r.limit.shared {
			node = rand.IntN(len(r.w.nodes))
		}
		v, refused := r.w.enter(t, node, r.limit.document(round, i), r.token)
		inside = append(inside, v)
		r.waited += refused
	}
	won := r.rush(t, round)
	inside = append(inside, won...)
	if len(won) > 1 {
		t.Errorf("%d of %d were let in to the last place", len(won), racers)
	}
	if len(won) == 0 {
		r.none++
		v, refused := r.w.enter(t, home, r.limit.document(round, 100), r.token)
		inside = append(inside, v)
		r.waited += refused
	}
	late, err := r.w.try(home+rand.IntN(nodesPerRegion), r.limit.document(round, 101), r.token)
	must(t, err)
	if late.socket != nil {
		inside = append(inside, late)
	}
	if !late.full(r.limit.code, r.limit.reason) {
		t.Errorf("who came after the last place was taken: let in: %v, else %v; want %d %s", late.socket != nil, late.refused, r.limit.code, r.limit.reason)
	}
}

// rush lets all racers try at once, and returns those who were let in.
func (r *race) rush(t *testing.T, round int) (won []visit) {
	t.Helper()
	visits, errs := make([]visit, racers), make([]error, racers)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			<-start
			visits[i], errs[i] = r.w.try(i%len(r.w.nodes), r.limit.document(round, 10+i), r.token)
		})
	}
	close(start)
	wg.Wait()
	for i, v := range visits {
		must(t, errs[i])
		switch {
		case v.socket != nil:
			won = append(won, v)
		case v.refused.code == 1013:
			r.again++
		case v.refused.code == 4009 && r.limit.shared:
			r.redirected++
		case !v.full(r.limit.code, r.limit.reason):
			t.Errorf("a loser was refused with %v, want %d %s", v.refused, r.limit.code, r.limit.reason)
		}
	}
	return won
}

// leaseTime is the contract's: how long a dead node's places stay taken at most.
const leaseTime = 10500 * time.Millisecond

func TestAKilledNodesPlacesAreFreeWithinTheLeaseTime(t *testing.T) {
	t.Parallel()
	w := startRegions(t)
	const victim, neighbour = 2, 3 // both of the second region, where the shared document is
	tokens := make([]string, len(planLimits))
	for i, l := range planLimits {
		tokens[i] = l.token(w.keys, "killed-"+l.claim)
		for j := range l.places {
			w.enter(t, victim, l.document(0, j), tokens[i])
		}
		v, err := w.try(neighbour, l.document(0, 100), tokens[i])
		must(t, err)
		if !v.full(l.code, l.reason) {
			t.Fatalf("with all places taken: %v, want %d %s", v.refused, l.code, l.reason)
		}
	}
	clock := wait.Start()
	w.nodes[victim].Kill()
	refused := make([]int, len(planLimits))
	for free := 0; free < len(planLimits); {
		for i, l := range planLimits {
			if refused[i] < 0 {
				continue
			}
			v, err := w.try(neighbour, l.document(0, 100), tokens[i])
			must(t, err)
			took := clock.Took()
			if v.socket == nil && took < settling {
				refused[i]++
				continue
			}
			t.Logf("%s: free %v after the kill, after %d refusals", l.claim, took.Round(time.Millisecond), refused[i])
			if v.socket == nil {
				t.Fatalf("%s: still %v", l.claim, v.refused)
			}
			defer v.Close()
			if refused[i] == 0 {
				t.Errorf("%s: a place was free although the node's lease was not over", l.claim)
			}
			// An attempt that asks a node which is gone takes 1.5 s.
			if clock.Exceeds(leaseTime + 2*time.Second) {
				t.Errorf("%s: a place was free %v after the kill, want %v", l.claim, took, leaseTime)
			}
			refused[i] = -1
			free++
		}
		time.Sleep(10 * time.Millisecond) // as a client that was told to come again
	}
	for i, l := range planLimits {
		for j := 1; j < l.places; j++ {
			if _, refused := w.enter(t, neighbour, l.document(0, 100+j), tokens[i]); refused > 0 {
				t.Errorf("%s: not all places of the node were freed at once", l.claim)
			}
		}
		v, err := w.try(neighbour, l.document(0, 200), tokens[i])
		must(t, err)
		if !v.full(l.code, l.reason) {
			t.Errorf("%s: one too many: %v", l.claim, v.refused)
		}
	}
}

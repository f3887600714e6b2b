package quota

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var seeds = flag.Int("seeds", 40, "how many random runs of the places")

// oracle counts what is really admitted. A session counts as long as the lease
// under which it was admitted is current.
type oracle struct {
	t    *testing.T
	plan Plan

	mu       sync.Mutex
	sessions map[*admitted]bool
}

type admitted struct {
	node  *fleetNode
	lease string
	doc   string
	via   *Connection // nil: of its own
	place *Place
}

// connection is what the session's connection is told by.
func (s *admitted) connection() any {
	if s.via == nil {
		return s
	}
	return s.via
}

// count sums the sessions that are there: all, documents, and the fullest
// document of a region.
func (o *oracle) countLocked() (connections, documents, users int) {
	docs, conns := map[string]bool{}, map[any]bool{}
	inDoc := map[string]int{}
	for s := range o.sessions {
		lease, _ := s.node.registry.Lease(testApp.License)
		if lease != s.lease {
			continue
		}
		conns[s.connection()] = true
		docs[s.doc] = true
		inDoc[s.node.region+s.doc]++
		users = max(users, inDoc[s.node.region+s.doc])
	}
	return len(conns), len(docs), users
}

// enter notes an admission and checks that it was not one too many.
func (o *oracle) enter(s *admitted) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sessions[s] = true
	c, d, u := o.countLocked()
	over := func(n, limit int) bool { return limit > 0 && n > limit }
	if over(c, o.plan.MaxConnections) || over(d, o.plan.MaxDocuments) || over(u, o.plan.MaxUsersPerDoc) {
		o.t.Errorf("one too many: %d connections, %d documents, %d users of %+v", c, d, u, o.plan)
	}
}

// refuse checks a refusal at a time when nothing else happens: there was really
// no room.
func (o *oracle) refuse(n *fleetNode, doc string, via *Connection, why *ExceededError) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c, d, _ := o.countLocked()
	users, open, connected := 0, false, false
	for s := range o.sessions {
		connected = connected || via != nil && s.via == via
		if s.doc == doc {
			open = true
			if s.node.region == n.region {
				users++
			}
		}
	}
	full := map[Kind]bool{
		Connections: c >= o.plan.MaxConnections && !connected,
		Documents:   d >= o.plan.MaxDocuments && !open,
		Users:       users >= o.plan.MaxUsersPerDoc,
	}
	active := map[Kind]int{Connections: c, Documents: d, Users: users}
	if !full[why.Kind] || active[why.Kind] != why.Active {
		o.t.Errorf("one too few: %v with %d connections, %d documents, %d users (it says %d) of %+v", why, c, d, users, why.Active, o.plan)
	}
}

// leave takes a random session out.
func (o *oracle) leave(r *rand.Rand) {
	o.mu.Lock()
	var chosen *admitted
	n := 0
	for s := range o.sessions {
		if n++; r.IntN(n) == 0 {
			chosen = s
		}
	}
	delete(o.sessions, chosen)
	o.mu.Unlock()
	if chosen != nil {
		chosen.place.Leave()
	}
}

// drop forgets the sessions of a node that died.
func (o *oracle) drop(n *fleetNode) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for s := range o.sessions {
		if s.node == n {
			delete(o.sessions, s)
		}
	}
}

// leaveNode ends the sessions of a node in order.
func (o *oracle) leaveNode(n *fleetNode) {
	o.mu.Lock()
	var leaving []*admitted
	for s := range o.sessions {
		if s.node == n {
			leaving = append(leaving, s)
			delete(o.sessions, s)
		}
	}
	o.mu.Unlock()
	for _, s := range leaving {
		s.place.Leave()
	}
}

func TestNeverOneTooManyWhateverFails(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { torture(t, uint64(seed)) })
		})
	}
}

// torture has clients come and go on nodes that die, are cut off and lose
// leases, over a registry that loses and delays requests. Then everything heals,
// and exactly as many get in as there is room for.
func torture(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	bucket := newFakeBucket(seed)
	bucket.latency = time.Duration(1+r.IntN(20)) * time.Millisecond
	bucket.lostAsk, bucket.lostReply, bucket.late = 0.02*r.Float64(), 0.05*r.Float64(), 0.05*r.Float64()
	f := newFleet(t, bucket, 2+r.IntN(4))
	defer f.close()
	some := func(n int) int { return n * r.IntN(4) / max(1, r.IntN(4)) } // often none
	plan := Plan{MaxConnections: some(5 + r.IntN(10)), MaxDocuments: some(2 + r.IntN(4)), MaxUsersPerDoc: some(1 + r.IntN(4))}
	if plan == (Plan{}) {
		plan.MaxConnections = 7
	}
	if r.IntN(2) == 0 { // all in one region
		for i, n := range f.nodes {
			n.region, n.config.Region = "eu", "eu"
			f.nodes[i] = n
		}
	}
	o := &oracle{t: t, plan: plan, sessions: map[*admitted]bool{}}
	docs := 2 + r.IntN(12)

	refused, admissions := 0, 0
	var clients sync.WaitGroup
	var mu sync.Mutex
	for range 400 {
		time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
		node := f.nodes[r.IntN(len(f.nodes))]
		doc := "d" + strconv.Itoa(r.IntN(docs))
		via := node.via(r)
		switch dice := r.IntN(100); {
		case dice < 60:
			clients.Go(func() {
				lease, _ := node.registry.Lease(testApp.License)
				place, err := node.Admit(context.Background(), testDoc(doc), plan, via)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					refused++
					return
				}
				if now, _ := node.registry.Lease(testApp.License); now != lease {
					place.Leave() // belongs to neither lease
					return
				}
				admissions++
				o.enter(&admitted{node: node, lease: lease, doc: doc, via: via, place: place})
			})
		case dice < 95:
			o.leave(r)
		case dice < 97:
			f.kill(o, r.IntN(len(f.nodes)))
		default:
			f.cutOff(o, node, r)
		}
	}
	clients.Wait()
	bucket.mu.Lock()
	bucket.lostAsk, bucket.lostReply, bucket.late = 0, 0, 0
	bucket.mu.Unlock()
	time.Sleep(30 * time.Second)
	f.fill(o, r, plan, docs)
	writes, reads := bucket.requests()
	t.Logf("%d admitted, %d refused, %d writes, %d reads; %+v, %d nodes", admissions, refused, writes, reads, plan, len(f.nodes))
}

// kill ends a node without a word; its lease ends later, and another node comes.
func (f *fleet) kill(o *oracle, i int) {
	dead := f.nodes[i]
	dead.registry.die()
	f.nodes[i] = f.start(dead.registry.node+"'", dead.region)
	done, cancel := context.WithCancel(context.Background())
	cancel()
	_ = dead.Close(done)
	time.AfterFunc(10*time.Second, func() {
		dead.registry.endLease()
		o.drop(dead)
	})
}

// cutOff cuts a node from the registry, for long enough to lose its lease or not.
func (f *fleet) cutOff(o *oracle, n *fleetNode, r *rand.Rand) {
	n.registry.setCut(true)
	long := r.IntN(2) == 0
	mend := time.Duration(r.IntN(8000)) * time.Millisecond
	if long {
		number := r.IntN(1 << 30)
		time.AfterFunc(10*time.Second, func() {
			n.registry.endLease()
			time.AfterFunc(mend, func() {
				n.registry.setCut(false)
				n.registry.renewLease(number)
				// Sessions of the lost lease may stay, but are not the oracle's any more:
				// nobody is evicted, and the count may be over the limit by them.
				o.leaveNode(n)
			})
		})
		return
	}
	time.AfterFunc(mend, func() { n.registry.setCut(false) })
}

// fill admits sessions, more than fit, and checks each verdict.
func (f *fleet) fill(o *oracle, r *rand.Rand, plan Plan, docs int) {
	for range 150 {
		n := f.nodes[r.IntN(len(f.nodes))]
		doc := "d" + strconv.Itoa(r.IntN(docs))
		lease, current := n.registry.Lease(testApp.License)
		if !current {
			f.t.Fatal("not healed")
		}
		via := n.via(r)
		place, err := n.Admit(context.Background(), testDoc(doc), plan, via)
		var exceeded *ExceededError
		switch {
		case err == nil:
			o.enter(&admitted{node: n, lease: lease, doc: doc, via: via, place: place})
		case errors.As(err, &exceeded):
			o.refuse(n, doc, via, exceeded)
		default:
			f.t.Fatalf("healed, and yet: %v\n%s", err, f.dump())
		}
	}
}

package ports

import (
	"net"
	"sync"
	"testing"
)

func TestNobodyGetsAPortThatSomebodyHas(t *testing.T) {
	if _, err := Take(1); err != nil {
		t.Fatal(err)
	}
	var l net.Listener
	for next := at + 5; l == nil; next++ { // others may listen there already
		l, _ = net.Listen("tcp", At(base+next%share))
	}
	defer l.Close()
	busy := l.Addr().(*net.TCPAddr).Port
	var mu sync.Mutex
	taken := map[int]bool{busy: true}
	var takers sync.WaitGroup
	for range 4 {
		takers.Go(func() {
			for n := range 20 {
				first, err := Take(n)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for port := first; port < first+n; port++ {
					if taken[port] {
						t.Errorf("port %d was handed out twice, or is listened on", port)
					}
					taken[port] = true
				}
				mu.Unlock()
			}
		})
	}
	takers.Wait()
}

func TestWhatDoesNotFitIsAnError(t *testing.T) {
	if first, err := Take(share + 1); err == nil {
		t.Errorf("%d ports from %d on", share+1, first)
	}
}

func TestAShareIsNobodyElses(t *testing.T) {
	if _, err := Take(1); err != nil {
		t.Fatal(err)
	}
	mine, kept := base, claim
	defer func() { base, claim = mine, kept }()
	if err := claimShare(); err != nil { // as another process would
		t.Fatal(err)
	}
	defer claim.Close()
	if base < mine+share && mine < base+share {
		t.Errorf("two shares of %d ports begin at %d and at %d", share, mine, base)
	}
}

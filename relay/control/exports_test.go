package control

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAnExportThatIsBrokenOffIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e exports
		id := e.keep([]byte("state"))
		for range 3 { // while it is fetched it stays
			time.Sleep(exportLife - time.Second)
			if state, ok := e.take(id); !ok || string(state) != "state" {
				t.Fatalf("%q %v", state, ok)
			}
		}
		time.Sleep(exportLife)
		synctest.Wait()
		e.mu.Lock()
		defer e.mu.Unlock()
		if len(e.kept) != 0 {
			t.Error("its state is still in memory, though nobody asks for it")
		}
	})
}

func TestTooManyExportsPushOutTheOneNotAskedForLongest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e exports
		first := e.keep([]byte("first"))
		second := e.keep([]byte("second"))
		time.Sleep(time.Second)
		e.take(first)
		for range maxExports - 1 {
			e.keep(nil)
		}
		if _, ok := e.take(first); !ok {
			t.Error("the first was asked for a moment ago")
		}
		if _, ok := e.take(second); ok || len(e.kept) != maxExports {
			t.Errorf("second kept: %v, %d in all", ok, len(e.kept))
		}
	})
}

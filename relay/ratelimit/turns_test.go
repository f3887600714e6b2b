package ratelimit

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestTurnsAreTakenInTheOrderOfComingAndFirstByWhatOthersWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(2)
		turns.Take()
		var order []string
		note := func(who string) { order = append(order, who) } // one at a time: that is what turns are for
		for _, who := range []string{"first", "second", "third"} {
			go func() {
				turns.Take()
				note(who)
				turns.Give()
			}()
			synctest.Wait()
		}
		go turns.Do(func() { note("awaited") })
		synctest.Wait()
		if len(order) > 0 {
			t.Fatalf("%v have a turn that another one has", order)
		}
		turns.Give()
		synctest.Wait()
		if !slices.Equal(order, []string{"awaited", "first", "second", "third"}) {
			t.Errorf("turns were taken as %v", order)
		}
		turns.Take() // is free again
		turns.Give()
	})
}

func TestTurnsLeaveAProcessorToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(4)
		var in atomic.Int64
		for range 5 {
			go func() {
				turns.Take()
				in.Add(1)
			}()
			synctest.Wait()
		}
		if in.Load() != 3 {
			t.Errorf("%d have one of 3 turns", in.Load())
		}
		turns.Give()
		turns.Give()
		synctest.Wait()
	})
}

func TestWithoutTurnsNobodyWaits(t *testing.T) {
	var none *Turns
	none.Take()
	none.Give()
	done := false
	none.Do(func() { done = true })
	if !done {
		t.Error("nothing was done")
	}
}

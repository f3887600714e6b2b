package ratelimit

import (
	"testing"
	"testing/synctest"
)

func TestTurnsAreTakenInTheOrderOfComing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := make(Turns, 1)
		turns.Take()
		var order []int
		for i := range 3 {
			go func() {
				turns.Take()
				order = append(order, i) // one at a time: that is what turns are for
				turns.Give()
			}()
			synctest.Wait()
		}
		if len(order) > 0 {
			t.Fatalf("%v have a turn that another one has", order)
		}
		turns.Give()
		synctest.Wait()
		if len(order) != 3 || order[0] != 0 || order[1] != 1 || order[2] != 2 {
			t.Errorf("turns were taken as %v", order)
		}
	})
}

func TestWithoutTurnsNobodyWaits(t *testing.T) {
	var none Turns
	none.Take()
	none.Give()
}

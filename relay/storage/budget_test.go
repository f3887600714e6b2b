package storage

import (
	"testing"
	"testing/synctest"
)

func TestABudgetCountsWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(10)
		first, err := b.Take(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			go func() {
				if release, err := b.Take(t.Context(), 3); err == nil {
					release()
				}
			}()
		}
		synctest.Wait()
		if n := b.Waiting(); n != 2 {
			t.Errorf("%d wait", n)
		}
		first()
		synctest.Wait()
		if n := b.Waiting(); n != 0 {
			t.Errorf("%d wait once there is room", n)
		}
	})
}

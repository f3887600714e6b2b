package wait

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTimeInWhichTheMachineHadTooMuchToDoDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := time.Hour // before
		c := startOn(func() time.Duration { return busy })
		time.Sleep(2 * time.Second)
		if c.Exceeds(2 * time.Second) {
			t.Error("2 s exceed 2 s")
		}
		time.Sleep(3 * time.Second)
		busy += time.Second
		if !c.Exceeds(2 * time.Second) {
			t.Error("5 s, a second of them hindered, do not exceed 2 s")
		}
		c = startOn(func() time.Duration { return busy })
		time.Sleep(5 * time.Second)
		busy += 4 * time.Second
		if c.Exceeds(2 * time.Second) {
			t.Error("5 s, 4 of them hindered, exceed 2 s")
		}
	})
}

func TestTheKernelsAccountIsRead(t *testing.T) {
	if before := stalled(); before < 0 || stalled() < before {
		t.Errorf("%v, then %v", before, stalled())
	}
}

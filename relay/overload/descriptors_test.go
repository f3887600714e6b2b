package overload

import (
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func TestClientsLeaveAReserveOfDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := 20
		d := newDescriptors(1000, func() (int, bool) { return open, true })
		for open++; d.Take(); open++ {
		}
		open-- // it is closed at once
		if open != 1000-64 {
			t.Errorf("%d are open, 64 of 1000 are to be left", open)
		}
		if s := d.Share(); s < 0.93 || s > 0.94 {
			t.Errorf("share %v", s)
		}
		if open -= 10; d.Take() {
			t.Error("counted more often than every 10 ms")
		}
		time.Sleep(10 * time.Millisecond)
		if !d.Take() {
			t.Error("what was closed is not found out")
		}
	})
}

func TestCountingDescriptorsCostsAPercent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counts := 0
		d := newDescriptors(1000, func() (int, bool) {
			counts++
			time.Sleep(50 * time.Millisecond)
			return 999, true
		})
		for end := time.Now().Add(100 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			d.Take()
			d.Share()
		}
		if counts > 20 {
			t.Errorf("counted %d times, 50 ms each, in 100 s", counts)
		}
	})
}

func TestDescriptorsAreCounted(t *testing.T) {
	d := NewDescriptors()
	if d == nil && runtime.GOOS != "linux" {
		t.Skip("this system does not tell")
	}
	if d == nil {
		t.Fatal("they cannot be counted")
	}
	before, _ := countDescriptors()
	for range 10 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	if after, _ := countDescriptors(); after < before+10 {
		t.Errorf("%d, then %d after opening 10", before, after)
	}
	if s := d.Share(); s <= 0 || s >= 1 {
		t.Errorf("share %v", s)
	}
	var none *Descriptors
	if !none.Take() || none.Share() != 0 || none.Most() != 0 {
		t.Error("nil sets a limit")
	}
}

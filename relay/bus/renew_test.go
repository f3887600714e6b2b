package bus_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/test/natstest"
)

func TestRenewMakesTheConnectionAnewOnceInAWhile(t *testing.T) {
	url := natstest.Server(t).URL
	var disturbed, came atomic.Int64
	one := open(t, url, bus.Config{Disturbed: func() { disturbed.Add(1) }})
	other := open(t, url, bus.Config{})
	if _, err := one.Subscribe("wsn.renewed", bus.HandlerFunc(func(string, string, []byte) { came.Add(1) })); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		one.Renew()
	}
	for deadline := time.Now().Add(20 * time.Second); disturbed.Load() == 0 || came.Load() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("disturbed %d times, %d messages came", disturbed.Load(), came.Load())
		}
		_ = other.Publish("wsn.renewed", nil)
	}
	one.Renew()
	time.Sleep(200 * time.Millisecond)
	if n := one.Stats().Reconnects; n != 1 {
		t.Errorf("%d new connections", n)
	}
}

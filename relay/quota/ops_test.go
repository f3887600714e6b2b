package quota

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// pods makes n counters that hear each other.
func pods(t *testing.T, n int) []*Ops {
	all := make([]*Ops, n)
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	for i := range all {
		all[i] = NewOps(func(message []byte) error {
			for j, other := range all {
				if j != i {
					if err := other.Receive(message); err != nil {
						t.Error(err)
					}
				}
			}
			return nil
		})
	}
	for _, o := range all {
		running.Go(func() { o.Run(ctx) })
	}
	t.Cleanup(func() { cancel(); running.Wait() })
	return all
}

func TestOperationThatCrossesTheLimitIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewOps(nil).Open(testApp)
		for i := range 11 {
			if got := m.Count(10); got != (i == 10) {
				t.Errorf("operation %d: exceeded %v", i+1, got)
			}
		}
		if m.Count(0) {
			t.Error("no limit is exceeded")
		}
		time.Sleep(59 * time.Second)
		if !m.Count(10) {
			t.Error("forgotten within the minute")
		}
		time.Sleep(2 * time.Second)
		if m.Count(10) {
			t.Error("not forgotten after the minute")
		}
	})
}

func TestMinuteSlides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewOps(nil).Open(testApp)
		for i := range 300 {
			if m.Count(60) {
				t.Fatalf("60 a minute exceeded at second %d", i)
			}
			time.Sleep(time.Second)
		}
		if total := m.Total(); total < 59 || total > 60 {
			t.Errorf("%d operations in the last minute at one a second", total)
		}
		time.Sleep(time.Hour)
		if total := m.Total(); total != 0 {
			t.Errorf("%d operations after an hour", total)
		}
	})
}

func TestOperationsAreSummedOverTheRegion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pods(t, 4)
		var meters []*Meter
		for _, o := range all {
			meters = append(meters, o.Open(testApp))
		}
		crossed := 0
		for i := range 600 { // 20 a second over all pods
			if meters[i%4].Count(300) && crossed == 0 {
				crossed = i
			}
			time.Sleep(50 * time.Millisecond)
		}
		if crossed < 300 || crossed > 300+10 {
			t.Errorf("crossed at operation %d, want 300 and what fits into the gossip's time", crossed)
		}
		time.Sleep(time.Second)
		for i, m := range meters {
			if total := m.Total(); total != 600 {
				t.Errorf("pod %d counts %d", i, total)
			}
			m.Close()
		}
		other := all[0].Open(docid.AppID{License: testApp.License, Tenant: "other", App: "notes"})
		defer other.Close()
		if other.Total() != 0 {
			t.Error("another app's operations are counted")
		}
	})
}

// known is how many apps are kept.
func (o *Ops) known() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.apps)
}

func TestWhatOtherPodsCountedIsNotForgottenAsItComes(t *testing.T) {
	o := NewOps(nil)
	ctx, cancel := context.WithCancel(t.Context())
	var collecting sync.WaitGroup
	collecting.Go(func() {
		for ctx.Err() == nil {
			o.collect()
		}
	})
	for i := range 20_000 {
		app := docid.AppID{License: testApp.License, Tenant: docid.Tenant(strconv.Itoa(i)), App: "a"}
		o.add(app, 1)
		m := o.Open(app)
		if total := m.Total(); total != 1 {
			t.Errorf("app %d has %d operations", i, total)
			break
		}
		m.Close()
		if i%100 == 0 { // so that collecting them takes not ever longer
			o.mu.Lock()
			clear(o.apps)
			o.mu.Unlock()
		}
	}
	cancel()
	collecting.Wait()
}

func TestIdleAppsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := pods(t, 2)
		for i := range 100 {
			m := all[0].Open(docid.AppID{License: testApp.License, Tenant: docid.Tenant(strconv.Itoa(i)), App: "a"})
			m.Count(10)
			m.Close()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := all[1].known(); n != 100 {
			t.Errorf("the other pod knows %d apps", n)
		}
		time.Sleep(62 * time.Second)
		synctest.Wait()
		if a, b := all[0].known(), all[1].known(); a+b != 0 {
			t.Errorf("%d and %d apps are left", a, b)
		}
	})
}

func TestQuietPodsSayNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		messages := 0
		o := NewOps(func([]byte) error { messages++; return nil })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go o.Run(ctx)
		m := o.Open(testApp)
		defer m.Close()
		m.Count(0)
		time.Sleep(time.Minute)
		synctest.Wait()
		if messages > 0 {
			t.Errorf("%d messages without a limit", messages)
		}
		for range 1000 {
			m.Count(10)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if messages > 5 {
			t.Errorf("%d messages for a second of edits", messages)
		}
	})
}

func FuzzOpsReceive(f *testing.F) {
	f.Add(appendOps([]byte{opsVersion}, testApp, 7))
	f.Add([]byte{opsVersion, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, message []byte) { _ = NewOps(nil).Receive(message) })
}

func BenchmarkCount(b *testing.B) {
	m := NewOps(nil).Open(testApp)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Count(1 << 30)
		}
	})
}

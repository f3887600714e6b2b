package ratelimit

import (
	"testing"
	"time"
)

func TestBudgetRefillsUpToItsBurst(t *testing.T) {
	now := time.Unix(1000, 0)
	b := NewBudget(10, 30, now)
	for i := range 31 {
		if got := b.Take(1, now); got != (i < 30) {
			t.Fatalf("take %d: %v", i, got)
		}
	}
	now = now.Add(time.Second)
	if !b.Take(10, now) || b.Take(1, now) {
		t.Error("a second is not worth 10")
	}
	now = now.Add(time.Hour)
	if !b.Take(30, now) || b.Take(1, now) {
		t.Error("an hour is not worth the burst")
	}
}

func TestAnOverdrawnBudgetIsMadeGoodByPausing(t *testing.T) {
	now := time.Unix(1000, 0)
	b := NewBudget(100, 100, now)
	if pause := b.Spend(100, now); pause != 0 {
		t.Errorf("pause %v within the budget", pause)
	}
	if pause := b.Spend(50, now); pause != 500*time.Millisecond {
		t.Errorf("pause %v for 50 at 100 a second", pause)
	}
	now = now.Add(500 * time.Millisecond)
	if pause := b.Spend(0, now); pause != 0 {
		t.Errorf("pause %v after it was made good", pause)
	}
	if pause := b.Spend(1, now.Add(-time.Hour)); pause > 10*time.Millisecond {
		t.Errorf("pause %v when the clock goes back", pause)
	}
}

func TestBudgetOfZeroSetsNoLimit(t *testing.T) {
	var b Budget
	s := NewSessionBudget(SessionRates{}, time.Now())
	if !b.Take(1e18, time.Now()) || b.Spend(1e18, time.Now()) != 0 || s.Received(1<<40, time.Now()) != 0 || s.Answered(1<<40, time.Now()) != 0 {
		t.Error("limited")
	}
}

func TestSmallQuestionsCannotBuyLargeAnswers(t *testing.T) {
	now := time.Unix(1000, 0)
	s := NewSessionBudget(DefaultSessionRates(), now)
	sent := 0
	for end := now.Add(time.Minute); now.Before(end); {
		pause := s.Received(6, now) // a SyncStep1
		const answer = 50 << 20
		pause = max(pause, s.Answered(answer, now))
		sent += answer
		now = now.Add(max(pause, time.Millisecond))
	}
	if most := 512<<20 + 60*8<<20 + 100<<20; sent > most {
		t.Errorf("%d MiB in a minute", sent>>20)
	}
	// Questions without news cost as well.
	s = NewSessionBudget(DefaultSessionRates(), now)
	for range 200_000 {
		_ = s.Answered(0, now)
	}
	if s.Answered(0, now) == 0 {
		t.Error("empty answers are free")
	}
}

func BenchmarkSessionBudget(b *testing.B) {
	s := NewSessionBudget(DefaultSessionRates(), time.Now())
	b.ReportAllocs()
	for b.Loop() {
		_ = s.Received(100, time.Now())
	}
}

func TestFramesThatAreNoMessagesCostWork(t *testing.T) {
	now := time.Now()
	s := NewSessionBudget(SessionRates{Messages: 100, MessageBurst: 100}, now)
	for range 100 {
		if wait := s.Framed(true, now); wait > 0 {
			t.Fatalf("paused for %v", wait)
		}
	}
	if wait := s.Framed(true, now); wait != 10*time.Millisecond {
		t.Errorf("a ping too many: %v", wait)
	}
	s = NewSessionBudget(SessionRates{Messages: 100, MessageBurst: 100}, now)
	for range 1600 {
		if wait := s.Framed(false, now); wait > 0 {
			t.Fatalf("paused for %v", wait)
		}
	}
	if wait := s.Framed(false, now); wait <= 0 || wait > 10*time.Millisecond {
		t.Errorf("a fragment too many: %v", wait)
	}
}

func TestWhoSpendsMoreThanTheRatesIsFastUntilThatIsMadeUpFor(t *testing.T) {
	rates := DefaultSessionRates()
	for name, spend := range map[string]func(s *SessionBudget, now time.Time){
		"messages": func(s *SessionBudget, now time.Time) {
			for range 1100 {
				s.Received(1, now)
			}
		},
		"bytes":   func(s *SessionBudget, now time.Time) { s.Received(33<<20, now) },
		"answers": func(s *SessionBudget, now time.Time) { s.Answered(17<<20, now) },
		"pings": func(s *SessionBudget, now time.Time) {
			for range 1100 {
				s.Framed(true, now)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			s := NewSessionBudget(rates, now)
			if s.Received(1, now); s.Fast() {
				t.Error("a session is fast from the beginning")
			}
			if spend(&s, now); !s.Fast() {
				t.Error("two seconds' worth at once are not fast")
			}
			now = now.Add(time.Second)
			s.Received(1, now)
			s.Answered(0, now)
			if s.Fast() {
				t.Error("it is fast for ever")
			}
			for range 60 { // at the rates, for a minute
				now = now.Add(time.Second)
				for range int(rates.Messages) {
					s.Received(int(rates.Bytes/rates.Messages), now)
				}
			}
			if s.Fast() {
				t.Error("the rates themselves are fast")
			}
		})
	}
}

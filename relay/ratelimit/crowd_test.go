package ratelimit

import "testing"

func TestACrowdIsBoundedByKey(t *testing.T) {
	c := NewCrowd[string](2)
	for i, want := range []bool{true, true, false} {
		if got := c.Enter("a"); got != want {
			t.Errorf("number %d of a: %v", i+1, got)
		}
	}
	if !c.Enter("b") {
		t.Error("b is kept out by a")
	}
	for range 5 {
		if !c.Enter("") {
			t.Error("who has no key is kept out")
		}
	}
	c.Leave("a")
	if !c.Enter("a") || c.Enter("a") {
		t.Error("one left, one may come")
	}
	for range 2 {
		c.Leave("a")
	}
	if len(c.count) != 2 {
		t.Errorf("%d keys are kept, two have somebody", len(c.count))
	}
}

package ratelimit

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

var client = netip.MustParseAddr("198.51.100.7")

func TestRateHoldsInAnyStretchOfItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWindow[netip.Addr](Rate{60, time.Minute}, 0)
		var admitted []time.Time
		for range 5 * 600 { // ten a second for five minutes
			if w.Take(client) {
				admitted = append(admitted, time.Now())
			}
			time.Sleep(100 * time.Millisecond)
		}
		for i := range admitted {
			n := 0
			for _, at := range admitted[i:] {
				if at.Sub(admitted[i]) < time.Minute {
					n++
				}
			}
			// Two fixed windows stand for a sliding one: what was bunched in the older
			// one counts as spread.
			if n > 72 {
				t.Fatalf("%d within a minute", n)
			}
		}
		if len(admitted) < 290 {
			t.Errorf("only %d in five minutes", len(admitted))
		}
	})
}

func TestRateIsPerClientAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWindow[netip.Addr](Rate{3, time.Minute}, 0)
		other := netip.MustParseAddr("192.0.2.1")
		for i := range 5 {
			if got := w.Take(client); got != (i < 3) {
				t.Errorf("request %d: %v", i, got)
			}
		}
		if !w.Full(client) || w.Full(other) || !w.Take(other) {
			t.Error("clients are not told apart")
		}
		time.Sleep(2 * time.Minute)
		if w.Full(client) || !w.Take(client) {
			t.Error("still refused after the window")
		}
	})
}

func TestFullTableFailsOpenAndStaysSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWindow[netip.Addr](Rate{1, time.Minute}, 1000)
		for i := range uint32(5000) {
			var raw [4]byte
			binary.BigEndian.PutUint32(raw[:], 1<<24+i)
			if !w.Take(netip.AddrFrom4(raw)) {
				t.Fatal("a first request was refused")
			}
		}
		if len(w.now)+len(w.old) > 2000 {
			t.Errorf("%d entries", len(w.now)+len(w.old))
		}
		for range 2 {
			if !w.Take(client) {
				t.Error("a client without room in the table was refused")
			}
		}
		time.Sleep(time.Minute)
		if !w.Take(client) || w.Take(client) {
			t.Error("the table did not make room")
		}
	})
}

func TestRateThatIsOffAllowsEverything(t *testing.T) {
	var none *Rates
	if none.Stuck("token") || none.Suspect(client) || !none.Judge(client) {
		t.Error("blocked without rates")
	}
	none.Refuse(client, "token")
	off := NewRates(RateConfig{})
	for range 10000 {
		off.Refuse(client, "token")
		if off.Stuck("token") || off.Suspect(client) || !off.Judge(client) || !off.Usage.Take(client) {
			t.Fatal("a rate of zero limits")
		}
	}
}

func TestClientWithoutAddressIsNotLimited(t *testing.T) {
	w := NewWindow[netip.Addr](Rate{1, time.Minute}, 0)
	for range 10 {
		if !w.Take(netip.Addr{}) || w.Full(netip.Addr{}) {
			t.Fatal("limited")
		}
	}
}

func TestBadTokenIsBlockedBeforeTheOfficeItSitsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRates(DefaultRates())
		tries := 0
		for !r.Stuck("bad") {
			r.Refuse(client, "bad")
			tries++
		}
		if tries != 20 {
			t.Errorf("blocked after %d refusals", tries)
		}
		if r.Suspect(client) || r.Stuck("good") || r.Stuck("") {
			t.Error("others behind the same address are blocked")
		}
		for i := range 40 {
			r.Refuse(client, string(rune('a'+i)))
		}
		if !r.Suspect(client) {
			t.Error("the address is not suspect after 60 refusals")
		}
		time.Sleep(2 * time.Minute)
		if r.Stuck("bad") || r.Suspect(client) {
			t.Error("still blocked")
		}
	})
}

func TestDefaultRatesAreTheContracts(t *testing.T) {
	d := DefaultRates()
	for name, c := range map[string]struct{ got, want Rate }{
		"refused":  {d.Refused, Rate{60, time.Minute}},
		"admitted": {d.Admitted, Rate{1200, time.Minute}},
		"usage":    {d.Usage, Rate{12, time.Minute}},
		"health":   {d.Health, Rate{600, time.Minute}},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v", name, c.got)
		}
	}
}

func TestTokensOfASuspectAddressAreJudgedWithinABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRates(RateConfig{Refused: Rate{3, time.Minute}})
		address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }
		judged := func(addr netip.Addr) (n int) {
			for r.Judge(addr) {
				n++
			}
			return n
		}
		if n := judged(address(0)); n != 3*judgedShare {
			t.Errorf("one address had %d tokens judged", n)
		}
		all := 3 * judgedShare
		for i := range 2 * judgedAllShare {
			all += judged(address(i + 1))
		}
		if all != 3*judgedShare*judgedAllShare {
			t.Errorf("all addresses together had %d tokens judged", all)
		}
		time.Sleep(2 * time.Minute)
		if !r.Judge(address(0)) {
			t.Error("the budget does not come back")
		}
	})
}

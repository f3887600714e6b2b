package ystore

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// updatesOf reads updates in hex, one a line.
func updatesOf(tb testing.TB, name string) (updates [][]byte) {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "cases", name+".hex"))
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		u, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
		updates = append(updates, u)
	}
	return updates
}

// Inputs that once were accepted and broke clients, or were refused without saying
// that retrying is in vain: each update of a file must end like this.
func TestInputsThatBrokeClientsAreRefused(t *testing.T) {
	for name, want := range map[string][]struct {
		cause  Cause
		offset int
	}{
		"subdocument-guid-not-a-string": {{Harmful, 17}, {Harmful, 17}, {Harmful, 17}, {Harmful, 17}},
		"subdocument-behind-a-circle":   {{Harmful, 21}},
		"yrs-weak-link":                 {{WeakLink, 17}},
		"yrs-quotation":                 {{WeakLink, 30}},
		"yrs-move":                      {{Move, 19}},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Limits{})
			updates := updatesOf(t, name)
			if len(updates) != len(want) {
				t.Fatalf("%d updates, %d right values", len(updates), len(want))
			}
			for i, u := range updates {
				_, err := s.Apply(u)
				var ue *UpdateError
				if !errors.As(err, &ue) || ue.Cause != want[i].cause || ue.Offset != want[i].offset {
					t.Errorf("update %d: %v (%+v), want %v at byte %d", i, err, ue, want[i].cause, want[i].offset)
				}
			}
			if s.Stats().Clients != 0 {
				t.Error("left something behind")
			}
			check(t, s)
		})
	}
}

func TestOptionsOfSubdocumentsAreWhatClientsCanBuildADocumentOf(t *testing.T) {
	for options, what := range map[string]string{
		"v\x00":                            "",
		"v\x01\x04guidw\x01x":              "",
		"v\x01\x04guidz\x00":               "guid",
		"v\x01\x04guid~":                   "guid",
		"v\x01\x04guid\x7f":                "guid",
		"v\x01\x04guidv\x00":               "guid",
		"v\x02\x04guidw\x01x\x04guidu\x00": "guid", // the last one counts
		"v\x01\x08gcFilter\x7f":            "",
		"v\x01\x08gcFilter~":               "gcFilter",
		"v\x01\x08gcFilterw\x00":           "gcFilter",
		"v\x03\x02gcy\x08autoLoadx\x04metav\x01\x04guid~":                   "", // guid of what the app stores
		"v\x02\x08encodingz\x00\x00\x00\x00\x00\x00\x00\x00\x0ashouldLoadx": "", // Yrs
		"v\x01\x09__proto__t\x01a":                                          "prototype",
		"v\x01\x09__proto__v\x00":                                           "",
		"v\x01\x04guid":                                                     "guid",
		"u\x00":                                                             "not an object",
	} {
		_, err := New(Limits{}).Apply([]byte("\x01\x01\x07\x00\x09\x01\x01x\x01g" + options + "\x00"))
		if what == "" && err != nil || what != "" && (err == nil || !strings.Contains(err.Error(), what)) {
			t.Errorf("options %q: %v, want %q", options, err, what)
		}
	}
}

// hangs is a character of one client, with an origin of another.
func hangs(client, clock, onClient, onClock byte) string {
	return "\x01\x01" + string([]byte{client, clock}) + "\x84" + string([]byte{onClient, onClock}) + "\x01x\x00"
}

func TestACircleIsRefusedWhereItCloses(t *testing.T) {
	begins := "\x01\x01\x07\x00\x04\x01\x01t\x05hello\x00" // 7:0-5
	for name, updates := range map[string][]string{
		"two clients":          {hangs(8, 0, 9, 0), hangs(9, 0, 8, 0)},
		"three clients":        {hangs(8, 0, 9, 0), hangs(9, 0, 10, 0), hangs(10, 0, 8, 0)},
		"through later ids":    {hangs(8, 0, 9, 3), hangs(9, 1, 8, 2)},
		"beside a known one":   {begins, hangs(8, 0, 7, 4), hangs(8, 1, 9, 0), hangs(9, 0, 8, 2)},
		"in one update":        {"\x02\x01\x09\x00\x84\x08\x00\x01x\x01\x08\x00\x84\x09\x00\x01x\x00"},
		"by a right origin":    {hangs(8, 0, 9, 0), "\x01\x01\x09\x00\x44\x08\x00\x01x\x00"},
		"by a parent":          {hangs(8, 0, 9, 0), "\x01\x01\x09\x00\x04\x00\x08\x00\x01x\x00"},
		"by a deleted item":    {hangs(8, 0, 9, 0), "\x01\x01\x09\x00\x81\x08\x00\x01\x00"},
		"after something else": {hangs(8, 0, 6, 0), hangs(5, 0, 8, 1), hangs(8, 1, 5, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			s, trusting := New(Limits{}), New(Limits{})
			for i, u := range updates {
				_, err := s.Apply([]byte(u))
				var ue *UpdateError
				if last := i == len(updates)-1; last != errors.As(err, &ue) || last && (ue.Cause != Harmful || ue.Offset < 4) {
					t.Errorf("update %d: %v", i, err)
				}
				if _, _, err := trusting.ApplyShared([]byte(u), Terms{}); err != nil {
					t.Errorf("what another store took: %v", err)
				}
				check(t, s)
			}
		})
	}
}

func TestWhatWaitsWithoutACircleIsTaken(t *testing.T) {
	s := New(Limits{})
	for i, u := range []string{
		hangs(8, 0, 9, 0),  // waits for 9
		hangs(8, 1, 10, 7), // and for 10
		hangs(9, 0, 7, 0),
		hangs(7, 0, 8, 0) + "never", // closes a circle: refused
		"\x01\x01\x07\x00\x04\x01\x01t\x05hello\x00",
		hangs(7, 5, 8, 0), // 8:0 is there now, with all that it hangs on
		hangs(10, 0, 8, 0),
		hangs(10, 7, 9, 0), // behind a gap
		"\x01\x01\x0a\x01\x04\x01\x01t\x06filled\x00",
		hangs(9, 1, 8, 1),
	} {
		_, err := s.Apply([]byte(u))
		if (err != nil) != (i == 3) {
			t.Errorf("update %d: %v", i, err)
		}
		check(t, s)
	}
	if _, err := s.Apply([]byte(hangs(11, 0, 12, 0))); err != nil || s.causal.count != 1 {
		t.Errorf("%v; %d wait, want the last one only", err, s.causal.count)
	}
}

func TestTheKeyOfAMapIsNotThePrototype(t *testing.T) {
	_, err := New(Limits{}).Apply([]byte("\x01\x01\x07\x00\x27\x01\x01m\x09__proto__\x01\x00"))
	if err == nil || !strings.Contains(err.Error(), "key __proto__ of a map") {
		t.Errorf("key __proto__: %v", err)
	}
}

func TestValuesOfAKeyAreNotJoined(t *testing.T) {
	s := New(Limits{})
	s.Apply([]byte("\x01\x01\x07\x00\x28\x01\x01m\x01k\x01}\x01\x00"))
	s.Apply([]byte("\x01\x01\x07\x01\xa8\x07\x00\x01}\x02\x00"))
	if n := s.Stats().Structs; n != 2 {
		t.Errorf("%d structs, want 2", n)
	}
	if _, err := New(Limits{}).Apply(s.Encode()); err != nil {
		t.Errorf("own state: %v", err)
	}
	check(t, s)
}

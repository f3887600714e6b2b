package layout

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// retired are the words that are no longer used, and what is said instead: see
// docs/glossary.md. The changelog may tell what they were.
var retired = map[string]string{
	"yproto":       "wire",
	"docname":      "docid",
	"Pulse":        "Keepalive",
	"NewSeat":      "one admission",
	"openLot":      "openParking",
	"rouse":        "endDead",
	"absorb":       "release delay",
	"debt":         "what is owed; wsctl store debts lists it",
	"doubt":        "an unsettled write",
	"doubts":       "unsettled writes",
	"recall":       "reannounce, or the cache of tokens",
	"pulse":        "keepalive",
	"relay/limits": "relay/quota, relay/ratelimit, relay/overload",
	"newVisit":     "newHandshake",
	"newPeers":     "newLeases: peers are rooms",
	"lot":          "parking",
	"hurry":        "what a shorter time is for: stops.goOnNow, a context of shutdown",
	"visitOf":      "admissionOf",
	"natsStore":    "kv.NATSStore",
	"admin.Tracer": "OpenTelemetry's tracer provider",
	"admin.Span":   "OpenTelemetry's span",
}

// says reports whether a text uses a word, not as a part of another.
func says(text, word string) bool {
	return strings.Contains(text, word) && regexp.MustCompile(`\b`+regexp.QuoteMeta(word)+`\b`).MatchString(text)
}

func TestRetiredWordsAreNoLongerUsed(t *testing.T) {
	list, err := exec.Command("git", "-C", "../..", "ls-files", "*.go", "*.md", "*.yml", "*.yaml").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := strings.Fields(string(list))
	if len(files) < 100 {
		t.Fatalf("only %d files were found", len(files))
	}
	for _, file := range files {
		switch file {
		case "CHANGELOG.md", "test/layout/words_test.go", "test/bench/measure.go": // which knows what packages of an earlier commit are called
			continue
		}
		text, err := os.ReadFile("../../" + file)
		if os.IsNotExist(err) {
			continue // removed, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		for word, instead := range retired {
			if says(string(text), word) {
				t.Errorf("%s says %q, now %s", file, word, instead)
			}
		}
	}
}

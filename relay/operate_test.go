package relay

import (
	"fmt"
	"slices"
	"testing"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/quota"
	"github.com/wsnode/wsnode/relay/roster"
)

func TestAPageEndsWhereTheNextBegins(t *testing.T) {
	var r roster.Roster[int]
	for i := range 50_000 {
		r.Add(i)
	}
	for name, c := range map[string]struct {
		limit int
		pick  func(int) bool
	}{
		"everything":            {1000, func(int) bool { return true }},
		"exactly one page":      {50_000, func(int) bool { return true }},
		"every hundredth":       {7, func(v int) bool { return v%100 == 0 }},
		"nothing":               {10, func(int) bool { return false }},
		"only the last of many": {10, func(v int) bool { return v == 49_999 }},
	} {
		var expected, got []int
		for v := range 50_000 {
			if c.pick(v) {
				expected = append(expected, v)
			}
		}
		pages := 0
		for after, more := uint64(0), true; more; pages++ {
			p := page[int](&r, after, c.limit, func(_ uint64, v int) (int, bool) { return v, c.pick(v) })
			if len(p.Rows) > c.limit || p.More && p.Next == after {
				t.Fatalf("%s: %d rows, next %d after %d", name, len(p.Rows), p.Next, after)
			}
			got = append(got, p.Rows...)
			after, more = p.Next, p.More
		}
		if !slices.Equal(got, expected) {
			t.Errorf("%s: %d rows in %d pages, expected %d", name, len(got), pages, len(expected))
		}
	}
}

func BenchmarkPageOfSessions(b *testing.B) {
	var r roster.Roster[int]
	for i := range 100_000 {
		r.Add(i)
	}
	b.ReportAllocs()
	for after := uint64(0); b.Loop(); {
		p := page[int](&r, after, 1000, func(id uint64, _ int) (control.Session, bool) { return control.Session{ID: id}, true })
		if after = p.Next; !p.More {
			after = 0
		}
	}
}

func knock(document, remote string) control.Refusal {
	return control.Refusal{
		Code: 4002, Reason: "Invalid token: expired", Detail: "expired", Request: "connect",
		Document: control.NewDocument(docid.Document{Name: document}), Remote: remote, UserAgent: "y",
	}
}

func TestAClientThatKnocksAgainAndAgainIsRememberedOnce(t *testing.T) {
	var m recent
	m.init(&Config{})
	m.refuse(knock("quiet", "192.0.2.1:1"))
	for port := range 10 * keptRefusals {
		m.refuse(knock("loud", fmt.Sprintf("192.0.2.2:%d", port)))
	}
	rows := m.since(control.RecentRequest{}).Refusals.Rows
	if len(rows) != 2 || rows[0].Document.Name != "quiet" || rows[1].Count != 10*keptRefusals || rows[1].Remote != "192.0.2.2" {
		t.Fatalf("%+v", rows)
	}
	last := rows[1].Seq
	if rows := m.since(control.RecentRequest{AfterRefusal: last}).Refusals.Rows; len(rows) != 0 {
		t.Errorf("nothing has happened since, but %+v", rows)
	}
	m.refuse(knock("quiet", "192.0.2.1:2"))
	if rows := m.since(control.RecentRequest{AfterRefusal: last}).Refusals.Rows; len(rows) != 1 || rows[0].Count != 2 || rows[0].First.After(rows[0].Last) {
		t.Errorf("%+v", rows)
	}
}

func TestWhatChangesFromTryToTryMakesNoNewRefusal(t *testing.T) {
	var m recent
	m.init(&Config{})
	for i := range 100 {
		expired := knock("todo", "192.0.2.1:1")
		expired.Detail = fmt.Sprintf("invalid token: expired: %ds ago", i)
		full := knock("todo", "192.0.2.1:1")
		exceeded := &quota.ExceededError{Kind: quota.Documents, Limit: 50, Active: 50 + i}
		full.Code, full.Reason, full.Detail = closecode.Documents, exceeded.Error(), exceeded.Error()
		m.refuse(expired)
		m.refuse(full)
	}
	rows := m.since(control.RecentRequest{}).Refusals.Rows
	if len(rows) != 2 || rows[0].Count != 100 || rows[1].Count != 100 {
		t.Fatalf("%d refusals: %+v", len(rows), rows)
	}
	if rows[0].Detail != "invalid token: expired: 99s ago" || rows[1].Reason != "Document limit exceeded: 50 (active: 149)" {
		t.Errorf("not what the client was told last: %+v", rows)
	}
	other := knock("todo", "192.0.2.1:1")
	other.Reason = "Invalid token: signature"
	m.refuse(other)
	if rows := m.since(control.RecentRequest{}).Refusals.Rows; len(rows) != 3 {
		t.Errorf("another reason is another refusal: %+v", rows)
	}
}

func TestTheOldestRefusalsAndEndsAreForgotten(t *testing.T) {
	var m recent
	m.init(&Config{})
	for i := range keptRefusals + 10 {
		m.refuse(knock(fmt.Sprint(i), "192.0.2.1:1"))
	}
	for i := range 2*keptEnded + 3 {
		m.end(control.Ended{Code: i})
	}
	all := m.since(control.RecentRequest{})
	if rows := all.Refusals.Rows; len(rows) != keptRefusals || rows[0].Document.Name != "10" || len(m.refusals) != keptRefusals {
		t.Errorf("%d refusals from %s on", len(rows), rows[0].Document.Name)
	}
	rows := all.Ended.Rows
	if len(rows) != keptEnded || rows[0].Code != keptEnded+3 || rows[keptEnded-1].Code != 2*keptEnded+2 {
		t.Errorf("%d ends from %d to %d", len(rows), rows[0].Code, rows[len(rows)-1].Code)
	}
	if !slices.IsSortedFunc(rows, func(a, b control.Ended) int { return int(a.Seq) - int(b.Seq) }) {
		t.Error("ends are not in their order")
	}
	huge := knock(string(make([]byte, 1<<20)), "192.0.2.3:1")
	huge.UserAgent = string(make([]byte, 1<<20))
	m.refuse(huge)
	rest := m.since(control.RecentRequest{AfterRefusal: all.Refusals.Next}).Refusals.Rows
	if len(rest) != 1 || len(rest[0].Document.Name) > maxName || len(rest[0].UserAgent) > maxUserAgent {
		t.Error("what a client says is kept at any length")
	}
}

func TestStateVectorsAreTakenApart(t *testing.T) {
	for name, c := range map[string]struct {
		encoded  []byte
		expected []control.Clock
	}{
		"empty":        {[]byte{0}, nil},
		"nothing":      {nil, nil},
		"two":          {[]byte{2, 5, 7, 0xac, 0x02, 1}, []control.Clock{{Client: 300, Clock: 1}, {Client: 5, Clock: 7}}},
		"one is short": {[]byte{200, 1, 5, 7}, nil},
	} {
		if got := clocks(c.encoded); !slices.Equal(got, c.expected) {
			t.Errorf("%s: %v, expected %v", name, got, c.expected)
		}
	}
}

func TestATraceSpeaksInWords(t *testing.T) {
	for got, want := range map[string]string{
		holdersInWords(1): "1 node holds it", holdersInWords(2): "2 nodes hold it",
		limitsInWords(authn.Limits{}):                                    "no limits",
		limitsInWords(authn.Limits{MaxConnections: 3, OpsPerMinute: 60}): "limits maxConnections 3, opsPerMinute 60",
	} {
		if got != want {
			t.Errorf("%q, expected %q", got, want)
		}
	}
}

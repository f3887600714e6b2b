package quota

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestRecordSurvivesItsSpelling(t *testing.T) {
	r := newRecord()
	r.Writes, r.TightConnections, r.TightDocuments = 9, 3, 4
	r.setEntry(entry{Node: "a", Lease: "1", Region: "eu", Seen: 9, Connections: 5, Documents: 2, Users: 1})
	r.setEntry(entry{Node: "b", Lease: "2", Region: "us", Seen: 8, Connections: 7, Documents: 1})
	r.list(hashOf("x"), "a", 3)
	r.list(hashOf("x"), "b", 1<<20)
	r.list(hashOf("y"), "b", 0)
	r.documents[hashOf("y")].hot = 1 << 40
	r.seal()
	got, err := decodeRecord(r.encode())
	if err != nil {
		t.Fatal(err)
	}
	r.changed = false
	if !reflect.DeepEqual(got, r) {
		t.Errorf("got %+v, want %+v", got, r)
	}
	if got.connections != 12 || got.perDocument != 3 {
		t.Errorf("sums %d and %d", got.connections, got.perDocument)
	}
}

func TestRecordOfAnotherFormIsNotTouched(t *testing.T) {
	for _, data := range []string{"{}", `{"v":2}`, "x", "[]", `{"v":1,"table":"AAAA"}`, `{"v":1,"nodes":[{"node":"a"}],"table":"AAAAAAAAAAEAAQcB"}`} {
		if _, err := decodeRecord([]byte(data)); !errors.Is(err, errRecord) {
			t.Errorf("%s: %v", data, err)
		}
	}
	if r, err := decodeRecord(nil); err != nil || len(r.Nodes) != 0 {
		t.Errorf("nothing: %v", err)
	}
}

func TestRecordOfALargeAppFitsIntoAMessage(t *testing.T) {
	r := newRecord()
	for _, node := range strings.Split("abcdefgh", "") {
		r.setEntry(entry{Node: "node-of-some-length-" + node, Lease: "0123456789abcdef", Region: "eu-central-1"})
	}
	for h := range hash(maxListed) {
		for i := range 3 {
			r.list(h<<32, r.Nodes[i].Node, 1)
		}
	}
	if n := len(r.encode()); n > 1<<20 {
		t.Errorf("%d bytes", n)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(`{"v":1,"nodes":[{"node":"a"}],"table":"AAAAAAAAAAEAAQAB"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRecord(data)
		if err != nil {
			return
		}
		if again, err := decodeRecord(r.clone().encode()); err != nil || len(again.documents) != len(r.documents) {
			t.Errorf("%v: %d documents, then %d", err, len(r.documents), len(again.documents))
		}
	})
}

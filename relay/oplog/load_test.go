package oplog

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/relay/ystore"
)

// recorded is a history in memory; the sequence of a message is its place, nil is one that was purged.
type recorded [][]byte

func (h recorded) LoadFrom(_ context.Context, _ string, from uint64, each func(seq uint64, data []byte) error) (uint64, error) {
	last := from - 1
	for i, data := range h {
		if data == nil || uint64(i+1) < from { // purged
			continue
		}
		last = uint64(i + 1)
		if err := each(uint64(i+1), data); err != nil {
			return last, err
		}
	}
	return last, nil
}

// insert is an update of a client that writes text at clock 0 of the root "t".
func insert(client byte, text string) []byte {
	update := append([]byte{1, 1, client, 0, 4, 1, 1, 't', byte(len(text))}, text...)
	return append(update, 0)
}

// parts appends a body in n parts.
func (h recorded) parts(room ID, first uint64, k Kind, body []byte, n int) recorded {
	Split(body, (len(body)+n-1)/n, func(index, count int, piece []byte) {
		h = append(h, Plain.AppendPart(nil, room, first+uint64(index), Part{First: first, Index: index, Count: count, Kind: k}, piece))
	})
	return h
}

func TestAHistoryIsReadIntoAStoreWithoutARoom(t *testing.T) {
	h := recorded{Plain.Append(nil, 1, Updates, 1, insert(1, "one"))}
	h = h.parts(2, 1, Snapshot, insert(2, "two"), 3)
	h = append(h, []byte{byte(Plain), 99}, Plain.Append(nil, 1, Updates, 2, insert(3, "three")))
	store := ystore.New(ystore.Limits{})
	var kinds []Kind
	refused := 0
	loaded, err := Load(t.Context(), h, "", func(k Kind, body []byte, _ bool) {
		kinds = append(kinds, k)
		if _, err := store.Apply(body); err != nil {
			t.Error(err)
		}
	}, func(error) { refused++ })
	if err != nil || refused != 1 || !slices.Equal(kinds, []Kind{Updates, Snapshot, Updates}) {
		t.Fatalf("took %v, refused %d: %v", kinds, refused, err)
	}
	for _, text := range []string{"one", "two", "three"} {
		if !bytes.Contains(store.Encode(), []byte(text)) {
			t.Errorf("the store lacks %q", text)
		}
	}
	if loaded.Last != 6 || loaded.Messages != 1 || loaded.Size != len(insert(3, "three")) || len(loaded.Starts) > 0 {
		t.Errorf("loaded %+v", loaded)
	}
}

func TestWhatLacksPartsIsNamedByWhereItBegins(t *testing.T) {
	h := recorded{Plain.Append(nil, 1, Updates, 1, insert(1, "one"))}
	h = append(h, recorded{}.parts(2, 1, Updates, []byte("given up"), 4)[:2]...)
	h = append(h, recorded{}.parts(3, 1, Updates, []byte("under way"), 2)[:1]...)
	h = append(h, Plain.Append(nil, 2, Updates, 5, insert(2, "two"))) // its room went on
	loaded, err := Load(t.Context(), h, "", func(Kind, []byte, bool) {}, func(err error) { t.Error(err) })
	if err != nil || len(loaded.Starts) != 1 || loaded.Starts[Key{3, 1}] != 4 {
		t.Errorf("loaded %+v, %v", loaded, err)
	}
}

func TestAVersionThatIsNotKnownEndsTheReading(t *testing.T) {
	later := Plain.Append(nil, 1, Updates, 1, insert(1, "one"))
	later[0] = Version + 1
	_, err := Load(t.Context(), recorded{later}, "", func(Kind, []byte, bool) { t.Error("it was taken") }, func(error) { t.Error("it was passed over") })
	if version := (*VersionError)(nil); !errors.As(err, &version) || version.Version != Version+1 {
		t.Errorf("got %v", err)
	}
}

func TestIncompleteMessagesOfTheBusAreFew(t *testing.T) {
	var g Groups
	for first := range uint64(10 * maxGroups) {
		if g.Add(Key{1, first}, Part{First: first, Count: 2}, []byte("half")) != nil {
			t.Fatal("half is whole")
		}
		if len(g.groups) > maxGroups {
			t.Fatalf("%d are kept", len(g.groups))
		}
	}
	last := uint64(10*maxGroups - 1)
	if whole := g.Add(Key{1, last}, Part{First: last, Index: 1, Count: 2}, []byte(" and half")); string(whole) != "half and half" {
		t.Errorf("put together: %q", whole)
	}
	g.Add(Key{2, 1}, Part{First: 1, Count: 2}, nil)
	g.Forget(1)
	if len(g.groups) > 1 {
		t.Errorf("%d are left of a room that is gone", len(g.groups))
	}
}

func TestMalformedMessagesAreRefused(t *testing.T) {
	good := Plain.AppendPart(nil, 1, 7, Part{First: 7, Count: 2, Kind: Updates}, []byte("x"))
	if m, err := Read(good); err != nil || m.Part.Count != 2 || string(m.Body) != "x" {
		t.Fatalf("read as %+v, %v", m, err)
	}
	for name, b := range map[string][]byte{
		"empty":              nil,
		"header only":        good[:headerSize],
		"cut":                good[:headerSize+2],
		"a signal":           AppendTo(nil, Hello, 1, 2),
		"index beyond count": Plain.AppendPart(nil, 1, 7, Part{First: 7, Index: 2, Count: 2, Kind: Updates}, nil),
		"too many parts":     Plain.AppendPart(nil, 1, 7, Part{First: 7, Count: maxParts + 1, Kind: Updates}, nil),
		"parts of a signal":  Plain.AppendPart(nil, 1, 7, Part{First: 7, Count: 2, Kind: Hello}, nil),
	} {
		if m, err := Read(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: read as %+v, %v", name, m, err)
		}
	}
	if epoch, ok := ReadWho(AppendWho(nil, "e1")); !ok || epoch != "e1" {
		t.Errorf("the answer is %q, %v", epoch, ok)
	}
	r := Reader{Rest: []byte(strings.Repeat("\xff", 20))}
	if ReadDifferencePart(&r); r.Err == nil {
		t.Error("a part with a hostile count is taken")
	}
}

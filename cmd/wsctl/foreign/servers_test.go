package foreign

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/wsnode/wsnode/relay/ystore"
)

// sweetFileOf is a file as y-sweet writes it.
func sweetFileOf(entries ...[2]string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(entries)))
	for _, e := range entries {
		for _, part := range e {
			b = append(binary.LittleEndian.AppendUint64(b, uint64(len(part))), part...)
		}
	}
	return b
}

func TestFilesOfYSweetAreRead(t *testing.T) {
	const (
		name  = "\x00\x00doc\x00"
		state = "\x00\x01\x00\x00\x00\x01\x00"
		sv    = "\x00\x01\x00\x00\x00\x01\x01"
		later = "\x00\x01\x00\x00\x00\x01\x02\x00\x00\x00\x01\x00"
		typed = "\x01\x01\x01\x00\x04\x01\x01t\x01a\x00"
		more  = "\x01\x01\x02\x00\x04\x01\x01t\x01b\x00"
	)
	whole := sweetFileOf([2]string{name, "\x00\x00\x00\x01"}, [2]string{state, typed}, [2]string{sv, "\x01\x01\x01"})
	if got, err := readSweet(whole); err != nil || string(got) != typed {
		t.Errorf("%q, %v; expected the update as it is there", got, err)
	}
	got, err := readSweet(sweetFileOf([2]string{state, typed}, [2]string{later, more}))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{typed, more} {
		y := ystore.New(ystore.Limits{})
		if _, err := y.Apply(got); err != nil {
			t.Fatal(err)
		}
		if brings, err := y.Brings([]byte(u)); err != nil || brings {
			t.Errorf("%q is not in it: %v", u, err)
		}
	}
	for cut := range whole {
		if _, err := readSweet(whole[:cut]); !errors.Is(err, errSweet) {
			t.Fatalf("cut at %d: %v, expected errSweet", cut, err)
		}
	}
	for what, raw := range map[string][]byte{
		"nothing in it": sweetFileOf([2]string{name, "\x00\x00\x00\x01"}), "a plain update": []byte(typed), "more behind it": append(whole, 0),
	} {
		if got, err := readSweet(raw); err == nil {
			t.Errorf("%s: %q", what, got)
		}
	}
}

func TestFilesAreToldByTheirNames(t *testing.T) {
	for file, expected := range map[string]string{
		"a/b.bin": "a/b", "x.bin.bin": "x.bin", "doc/data.ysweet": "doc", "a/b/data.ysweet": "a/b", "acme/notes/todo.yjs": "",
	} {
		if s, ok := sourceOf(file, nil, held(nil)); !ok || s.Name != expected || s.File != file {
			t.Errorf("%s: %+v, %v; expected %q", file, s, ok, expected)
		}
	}
	for _, file := range []string{"README.md", ".bin", "data.ysweet", ".versions/a/b/c/d/1.yjs", ".wsnode/store.json", "todo.yjs.json"} {
		if s, ok := sourceOf(file, nil, held(nil)); ok {
			t.Errorf("%s was taken for %+v", file, s)
		}
	}
}

package awareness

import (
	"bytes"
	"testing"
)

func TestOwnIsTheNewestStateOfTheClientItself(t *testing.T) {
	var o Own
	note := func(entries ...Entry) { o.Note(Append(nil, entries)) }
	one, two := []byte(`{"a":1}`), []byte(`{"a":2}`)
	note(Entry{Client: 8, Clock: 1, State: one}, Entry{Client: 9, Clock: 1, State: one}) // passed on
	if o.Update() != nil {
		t.Fatal("what others said was taken for the client's own")
	}
	note(Entry{Client: 7, Clock: 3, State: one})
	note(Entry{Client: 8, Clock: 9, State: two})
	note(Entry{Client: 7, Clock: 2, State: two}, Entry{Client: 8, Clock: 9, State: two})
	o.Note([]byte{9})
	if want := Append(nil, []Entry{{Client: 7, Clock: 3, State: one}}); !bytes.Equal(o.Update(), want) {
		t.Errorf("% x", o.Update())
	}
	note(Entry{Client: 7, Clock: 4, State: two})
	if want := Append(nil, []Entry{{Client: 7, Clock: 4, State: two}}); !bytes.Equal(o.Update(), want) {
		t.Errorf("% x", o.Update())
	}
	note(Entry{Client: 7, Clock: 5})
	if o.Update() != nil {
		t.Errorf("a client that took its state back still has it: % x", o.Update())
	}
}

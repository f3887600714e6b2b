package room

import (
	"testing"

	"github.com/wsnode/wsnode/relay/awareness"
	"github.com/wsnode/wsnode/test/natstest"
)

// By that, what a client sent at once is written to others at once.
func TestMembersAreToldWhoseMessageItIs(t *testing.T) {
	url := natstest.Server(t).URL
	a, b := newPod(t, url).open(t, "e1"), newPod(t, url).open(t, "e1")
	author, seat := join(t, a)
	other, _ := join(t, a)
	remote, _ := join(t, b)
	if _, err := seat.Apply((&writer{client: 7}).insert("x")); err != nil {
		t.Fatal(err)
	}
	if err := seat.Awareness(awareness.Append(nil, []awareness.Entry{{Client: 7, Clock: 1, State: []byte(`{}`)}})); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other pod's member sees both", func() bool { return remote.present() == 1 && remote.pending() == 0 })
	of := func(m *member) (theirs, nobodys int) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, from := range m.from {
			switch from {
			case author:
				theirs++
			case nil:
				nobodys++
			}
		}
		return theirs, nobodys
	}
	if theirs, _ := of(other); theirs != 2 {
		t.Errorf("%d messages came from the author, expected the edit and the awareness", theirs)
	}
	if theirs, nobodys := of(remote); theirs != 0 || nobodys < 2 {
		t.Errorf("%d messages came from a member of another pod, %d from nobody", theirs, nobodys)
	}
}

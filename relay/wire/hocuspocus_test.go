package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestHocuspocusMessagesOfClients(t *testing.T) {
	for frame, want := range map[string]Received{
		"\x07minutes\x02\x00\x05token":     {Kind: Token, Payload: []byte("token")},
		"\x07minutes\x02\x00\x00\x054.8.0": {Kind: Token, Versioned: true},
		"\x07minutes\x00\x00\x01\x00":      {Kind: Step1, Payload: []byte{0}},
		"\x07minutes\x00\x01\x02\x00\x00":  {Kind: Step2, Payload: []byte{0, 0}},
		"\x07minutes\x00\x02\x02\x00\x00":  {Kind: Update, Payload: []byte{0, 0}},
		"\x07minutes\x01\x01\x00":          {Kind: Awareness, Payload: []byte{0}},
		"\x07minutes\x03":                  {Kind: QueryAwareness, Payload: nil},
		"\x07minutes\x05\x02hi":            {Kind: Stateless, Payload: []byte("hi")},
		"\x07minutes\x07":                  {Kind: Leave, Payload: nil},
		"\x07minutes\x63":                  {Kind: Unknown, Payload: nil},
		"\x07minutes\x02\x01\x00":          {Kind: Unknown, Payload: nil},
		"\x09minutes\x00x\x01\x01\x00":     {Kind: Awareness, Payload: []byte{0}},
		"\x09":                             {Kind: Ping, Payload: nil},
		"\x0a":                             {Kind: Pong, Payload: nil},
	} {
		address, m, err := DecodeHocuspocus([]byte(frame))
		if err != nil || m.Kind != want.Kind || m.Versioned != want.Versioned || !bytes.Equal(m.Payload, want.Payload) || len(frame) > 1 && AddressedTo(string(address)) != "minutes" {
			t.Errorf("%q: %q %s %q, %v", frame, address, m.Kind, m.Payload, err)
		}
	}
}

func TestHocuspocusFramesThatAreNone(t *testing.T) {
	for _, frame := range []string{
		"", "\x00", "\x00\x00\x01\x00", "\x07minutes", "\x07minut", "\x01\xff\x02\x00\x00", "\x07minutes\x00", "\x07minutes\x02",
		"\x07minutes\x00\x02\x05\x00", "\x07minutes\x06\x02hi", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a", "\xad\x09" + strings.Repeat("a", 1197) + "\x02\x00\x00",
	} {
		if address, m, err := DecodeHocuspocus([]byte(frame)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %q %s, %v", frame, address, m.Kind, err)
		}
	}
}

func TestHocuspocusMessagesToClients(t *testing.T) {
	h := NewHocuspocus("ab")
	for kind, want := range map[Kind]string{
		Step1: "\x02ab\x00\x00\x01x", Step2: "\x02ab\x00\x01\x01x", Update: "\x02ab\x00\x02\x01x", Awareness: "\x02ab\x01\x01x",
		Token: "\x02ab\x02\x00", Denied: "\x02ab\x02\x01\x01x", Granted: "\x02ab\x02\x02\x01x", Stateless: "\x02ab\x05\x01x",
		Leave: "\x02ab\x07\x01x", SyncStatus: "\x02ab\x08\x01", PermissionDenied: "\x02ab\x08\x00",
	} {
		if got := string(h.Encode(kind, []byte("x")).Content()); got != want {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
	}
	if !h.Shared() || NewHocuspocus("ab\x00session").Shared() {
		t.Error("which addresses several clients have")
	}
	payload := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() { h.Encode(Update, payload) }); n != 1 {
		t.Errorf("%v allocations", n)
	}
}

func TestWhatYWebsocketBeginsWithIsNotTakenForHocuspocus(t *testing.T) {
	for _, frame := range [][]byte{
		Encode(Step1, []byte{0}).Content(), Encode(Step1, []byte{1, 7, 3}).Content(), Encode(Step2, []byte{0, 0}).Content(),
		Encode(Awareness, []byte{0}).Content(), Encode(Awareness, []byte{1, 7, 0, 2, '{', '}'}).Content(),
		Encode(Awareness, []byte{1, 0xf7, 0xc1, 3, 0, 2, '{', '}'}).Content(), {3}, Encode(SyncStatus, []byte{1}).Content(), {42, 1, 2, 3}, {},
	} {
		if IsHocuspocus(frame) != Unknown {
			t.Errorf("% x", frame)
		}
	}
}

func FuzzDecodeHocuspocus(f *testing.F) {
	f.Add([]byte("\x07minutes\x02\x00\x05token\x054.8.0"))
	f.Add([]byte("\x09minutes\x00x\x00\x02\x02\x00\x00"))
	f.Add([]byte{9})
	f.Fuzz(func(t *testing.T, frame []byte) {
		address, m, err := DecodeHocuspocus(frame)
		if err != nil {
			return
		}
		if len(address)+len(m.Payload) > len(frame) || len(address) > maxAddress {
			t.Fatal("more than the frame held")
		}
		head, kind, _, err := HocuspocusHead(frame)
		if m.Kind != Ping && m.Kind != Pong && (err != nil || kind != m.Kind || !bytes.Equal(head, address)) {
			t.Fatalf("the head says %s for %q, %v", kind, head, err)
		}
		switch m.Kind {
		case Step1, Step2, Update, Awareness, Stateless: // which servers send as well
			again, m2, err := DecodeHocuspocus(NewHocuspocus(string(address)).Encode(m.Kind, m.Payload).Content())
			if err != nil || m2.Kind != m.Kind || !bytes.Equal(again, address) || !bytes.Equal(m2.Payload, m.Payload) {
				t.Fatalf("%q %s came back as %q %s, %v", address, m.Kind, again, m2.Kind, err)
			}
		}
	})
}

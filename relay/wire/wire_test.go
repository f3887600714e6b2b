package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

func TestMessagesSurviveTheirFrames(t *testing.T) {
	for _, size := range []int{0, 1, 100, 125, 126, 127, 70_000} {
		body := bytes.Repeat([]byte{7}, size)
		for _, kind := range []Kind{Step1, Step2, Update, Awareness, SyncStatus} {
			f := Encode(kind, body)
			m, err := Decode(f.Content())
			if !bytes.Equal(f.Payload(), body) || f.Kind != kind {
				t.Errorf("%d bytes as %s: the frame says %s, %d bytes", size, kind, f.Kind, len(f.Payload()))
			}
			if err != nil || m.Kind != kind || !bytes.Equal(m.Payload, body) {
				t.Errorf("%d bytes as %d: got %d, %d bytes, %v", size, kind, m.Kind, len(m.Payload), err)
			}
		}
	}
}

func TestKeepAliveIsAnEmptyAwarenessMessage(t *testing.T) {
	if want := []byte{0x82, 3, 1, 1, 0}; !bytes.Equal(KeepAlive.Bytes(), want) {
		t.Errorf("keepalive is % x, want % x", KeepAlive.Bytes(), want)
	}
}

func TestUnknownMessagesAreIgnored(t *testing.T) {
	for _, frame := range [][]byte{{2, 0, 0}, {4}, {200, 1, 9, 9}, {0, 3, 1, 1}} {
		if m, err := Decode(frame); err != nil || m.Kind != Unknown {
			t.Errorf("% x: got %d, %v", frame, m.Kind, err)
		}
	}
	if m, err := Decode([]byte{3}); err != nil || m.Kind != QueryAwareness {
		t.Errorf("query awareness: got %d, %v", m.Kind, err)
	}
}

func TestMalformedMessagesAreRefused(t *testing.T) {
	tooLarge := binary.AppendUvarint([]byte{1}, 1<<53)
	for _, frame := range [][]byte{{}, {0}, {0, 2}, {0, 2, 5, 1}, {1}, {1, 0x80}, tooLarge, bytes.Repeat([]byte{0xff}, 12)} {
		if _, err := Decode(frame); !errors.Is(err, ErrMalformed) {
			t.Errorf("% x: got %v", frame, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0, 2, 1, 0})
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := Decode(frame)
		if err == nil && len(m.Payload) > len(frame) {
			t.Fatal("the payload is larger than its frame")
		}
	})
}

func TestFrameAroundAnUpdateIsTheFrameOfACopy(t *testing.T) {
	for _, n := range []int{0, 1, 100, 121, 122, 123, 124, 127, 128, 65_530, 65_531, 65_532, 70_000} {
		buf := make([]byte, Headroom+n)
		for i := range n {
			buf[Headroom+i] = byte(i)
		}
		copied := Encode(Step2, buf[Headroom:]).Bytes()
		var m Message
		m.SetAround(Step2, buf)
		if len(m.Payload()) != n {
			t.Errorf("%d bytes: a payload of %d", n, len(m.Payload()))
		}
		if f := m.In(nil).Bytes(); !bytes.Equal(f, copied) {
			t.Errorf("%d bytes: %x, expected %x", n, f[:min(len(f), 20)], copied[:min(len(copied), 20)])
		}
	}
}

// letter is an encoding that puts a letter before each payload.
type letter byte

func (l letter) Encode(kind Kind, payload []byte) Frame {
	return NewFrame(kind, []byte{byte(l)}, payload)
}
func (l letter) Shared() bool { return l != 'z' }

func TestAMessageIsEncodedOnceForEachWire(t *testing.T) {
	payload := bytes.Repeat([]byte{7}, 300)
	var m Message
	encodings := []Encoding{nil, letter('a'), nil, letter('a')}
	if n := testing.AllocsPerRun(100, func() {
		m.Set(Update, payload)
		for range 100 {
			for _, e := range encodings {
				if f := m.In(e); f.Kind != Update || len(f.Payload()) != len(payload) {
					t.Fatal(f)
				}
			}
		}
	}); n != 2 {
		t.Errorf("%v allocations for two wires", n)
	}
	if n := testing.AllocsPerRun(100, func() { m.Set(Update, payload) }); n != 1 {
		t.Errorf("%v allocations for one", n)
	}
	for _, e := range []Encoding{letter('b'), letter('z'), letter('a')} {
		if f := m.In(e); f.Content()[0] != byte(e.(letter)) || !bytes.Equal(f.Payload(), payload) {
			t.Errorf("%c: % x", e, f.Bytes())
		}
	}
	m.Set(Update, payload)
	first, second := m.In(letter('z')), m.In(letter('z'))
	if &first.Bytes()[0] == &second.Bytes()[0] {
		t.Error("an encoding that is no one else's takes the place of one that is shared")
	}
}

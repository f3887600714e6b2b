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
		for kind, f := range map[Kind]Frame{
			Step1: Step1Frame(body), Step2: Step2Frame(body), Update: UpdateFrame(body), Awareness: AwarenessFrame(body),
		} {
			m, err := Decode(f.Message())
			if err != nil || m.Kind != kind || !bytes.Equal(m.Payload, body) {
				t.Errorf("%d bytes as %d: got %d, %d bytes, %v", size, kind, m.Kind, len(m.Payload), err)
			}
		}
	}
}

func TestKeepAliveIsAnEmptyAwarenessMessage(t *testing.T) {
	if want := []byte{0x82, 3, 1, 1, 0}; !bytes.Equal(KeepAlive, want) {
		t.Errorf("keepalive is % x, want % x", []byte(KeepAlive), want)
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
		copied := Step2Frame(buf[Headroom:])
		if f := Step2FrameAround(buf); !bytes.Equal(f, copied) {
			t.Errorf("%d bytes: %x, expected %x", n, f[:min(len(f), 20)], copied[:min(len(copied), 20)])
		}
	}
}

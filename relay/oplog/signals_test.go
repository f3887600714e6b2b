package oplog

import (
	"bytes"
	"testing"
)

// A pod of the version before reads no further than the state vector, and says nothing of
// what waits.
func TestADigestIsReadByTheVersionBeforeAndAfter(t *testing.T) {
	stateVector := []byte{2, 7, 3, 0x80, 1, 9}
	for _, d := range []Digest{
		{Pod: "pod", Counter: 300, Deletions: 1 << 60, StateVector: stateVector},
		{Pod: "pod", Counter: 1, Pending: 1 << 59, StateVector: stateVector},
		{Pod: "pod", Pending: 5, StateVector: []byte{0}},
	} {
		data := AppendDigest(nil, d)
		got := ReadDigest(&Reader{Rest: data})
		if got.Pod != d.Pod || got.Counter != d.Counter || got.Deletions != d.Deletions || got.Pending != d.Pending || !bytes.Equal(got.StateVector, d.StateVector) {
			t.Errorf("%+v became %+v", d, got)
		}
		before := Reader{Rest: data}
		_, _, _ = before.String(), before.Uvarint(), before.Uint64()
		if !bytes.HasPrefix(before.Rest, d.StateVector) {
			t.Errorf("the version before reads the state vector %x", before.Rest)
		}
	}
	malformed := []byte{0xff, 0xff}
	if got := ReadDigest(&Reader{Rest: AppendDigest(nil, Digest{StateVector: malformed})}); !bytes.Equal(got.StateVector, malformed) || got.Pending != 0 {
		t.Errorf("a malformed state vector became %+v", got)
	}
}

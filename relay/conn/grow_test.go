package conn

import (
	"bytes"
	"testing"
)

func TestALargeMessageIsCopiedAFewTimes(t *testing.T) {
	const size = 20<<20 + 123
	for name, test := range map[string]struct {
		announced bool
		copies    float64 // of the whole, at most
		spare     int     // room at the end that is not needed, at most
	}{
		"announced": {true, 2, 1},
		"in pieces": {false, 5.5, size/4 + readBuffer},
	} {
		t.Run(name, func(t *testing.T) {
			buf, copied := make([]byte, 0, readBuffer), 0
			for len(buf) < size {
				if len(buf) == cap(buf) {
					announced := int64(-1)
					if test.announced {
						announced = int64(size - len(buf))
					}
					copied += len(buf)
					buf = grow(buf, announced)
				}
				n := min(size-len(buf), cap(buf)-len(buf))
				buf = append(buf, bytes.Repeat([]byte{byte(len(buf))}, n)...)
			}
			if float64(copied) > test.copies*size || cap(buf) > size+test.spare {
				t.Errorf("%d bytes copied %d and take %d", size, copied, cap(buf))
			}
			if buf[0] != 0 || buf[readBuffer] != byte(readBuffer&0xff) {
				t.Error("what was there is lost")
			}
		})
	}
}

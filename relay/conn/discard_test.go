package conn

import (
	"bytes"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// A client can send some gigabytes in the second in which it may still answer a close frame.
func TestOfWhatAClientSendsAfterItsEndLittleIsRead(t *testing.T) {
	message := frame(ws.OpBinary, true, update(200))
	endless := frame(ws.OpBinary, true, make([]byte, 64<<20))[:1<<20]
	for name, test := range map[string]struct {
		answer func(*Conn) // to the first message; nil: none
		first  []byte
		then   []byte // again and again
		code   []byte
	}{
		"closed, messages":          {func(c *Conn) { c.Close(1013, "") }, message, message, []byte{0x03, 0xf5}},
		"closed, empty messages":    {func(c *Conn) { c.Close(1013, "") }, message, frame(ws.OpBinary, true, nil), []byte{0x03, 0xf5}},
		"closed, an endless one":    {func(c *Conn) { c.Close(1013, "") }, message, endless, []byte{0x03, 0xf5}},
		"kept, messages":            {func(c *Conn) { c.Reject(1007, "", errBad, false) }, message, message, []byte{0x03, 0xef}},
		"kept, an endless message":  {func(c *Conn) { c.Reject(1007, "", errBad, false) }, message, endless, []byte{0x03, 0xef}},
		"text":                      {nil, frame(ws.OpText, true, make([]byte, 64<<20))[:1<<20], endless, nil},
		"more than the node bears":  {nil, endless, endless, nil},
		"violation of the protocol": {nil, []byte{0xff, 0x80}, endless, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := speak(t, false, nil)
			c := <-s.served
			s.mu.Lock()
			c.cfg.RefuseAfter, c.cfg.MaxIncomingBytes = 50*time.Millisecond, 1
			if test.answer != nil {
				s.answer = func() { test.answer(c) }
			}
			s.mu.Unlock()
			s.send(t, test.first)
			block := test.then
			if len(block) < 64<<10 {
				block = bytes.Repeat(block, 1000)
			}
			go func() {
				for {
					if _, err := s.peer.Write(block); err != nil {
						return
					}
				}
			}()
			if test.code != nil {
				s.reads(t, ws.OpClose, test.code) // it is told why all the same
			}
			<-s.ended
			if read := c.socket.in.Load(); read > int64(len(test.first))+2*refusedBytes {
				t.Errorf("%d bytes were read", read)
			}
		})
	}
}

func TestBuffersThatHaveNoRoomAreNotKept(t *testing.T) {
	for range 100 { // the pool drops some by chance
		putBuffer(new([]byte))
	}
	for range 100 {
		if b := buffers.Get().(*[]byte); cap(*b) == 0 {
			t.Fatal("whoever reads into it reads nothing, for ever")
		}
	}
}

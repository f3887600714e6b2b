package relay

import (
	"bytes"
	"net"
)

// A browser sends the path of "wss://host/50%" as it stands, and net/http answers
// 400 to a '%' that does not begin an escape, before any handler runs. The client
// would see a failed connection and try for ever instead of hearing 4007. So such
// a '%' is escaped on its way in, in the first line of the first request.

// literalListener makes literalConns.
type literalListener struct{ net.Listener }

func (l literalListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &literalConn{Conn: c}, nil
}

// literalConn mends the request target of the first request. Only the reading
// goroutine uses its fields.
type literalConn struct {
	net.Conn
	passed  bool // the first line is over
	pending []byte
}

// NetConn returns the connection below, as *tls.Conn does.
func (c *literalConn) NetConn() net.Conn { return c.Conn }

// Unread hands over what was read and not yet passed on: whoever takes the
// connection below for reading takes it along.
func (c *literalConn) Unread() []byte {
	pending := c.pending
	c.pending = nil
	return pending
}

func (c *literalConn) Read(p []byte) (int, error) {
	if len(c.pending) > 0 {
		n := copy(p, c.pending)
		c.pending = c.pending[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	if c.passed || n == 0 {
		return n, err
	}
	end := bytes.IndexByte(p[:n], '\n')
	if end >= 0 {
		c.passed = true
	} else {
		end = n
	}
	if bytes.IndexByte(p[:end], '%') < 0 {
		return n, err
	}
	mended := mend(p[:end])
	if len(mended) == end {
		return n, err
	}
	c.pending = append(mended, p[end:n]...)
	n = copy(p, c.pending)
	c.pending = c.pending[n:]
	return n, err
}

// mend writes "%25" for every '%' that two hexadecimal digits do not follow. A
// request line that arrives in pieces cut inside an escape is not mended there.
func mend(line []byte) []byte {
	mended := make([]byte, 0, len(line)+8)
	for i, b := range line {
		mended = append(mended, b)
		complete := i+2 < len(line)
		if b == '%' && (complete && !(isHex(line[i+1]) && isHex(line[i+2]))) {
			mended = append(mended, '2', '5')
		}
	}
	return mended
}

func isHex(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F'
}

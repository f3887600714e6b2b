package relay

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/wsnode/wsnode/relay/ratelimit"
)

// proxied takes connections from trusted proxies only, which say at the beginning of
// each, by version 2 of the PROXY protocol, whose it is. Others are closed: who may say
// so may take any address. Its connections have the address that the proxy told, and
// begin behind what it told. Headers are read beside Accept: one that does not come
// holds up nobody.
type proxied struct {
	net.Listener
	trusted  []netip.Prefix
	complain func(message string, args ...any)

	came    chan net.Conn
	failed  chan error
	reading chan struct{} // places of those whose header is awaited
	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
}

const (
	// A proxy sends the header with its first packet.
	proxyHeaderTimeout = 5 * time.Second
	maxProxyHeaders    = 1024
	proxyHeaderStart   = 16 // bytes of a header that tell its length
)

func newProxied(l net.Listener, trusted []netip.Prefix, complain func(string, ...any)) *proxied {
	p := &proxied{
		Listener: l, trusted: trusted, complain: complain,
		came: make(chan net.Conn), failed: make(chan error), reading: make(chan struct{}, maxProxyHeaders),
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.running.Go(p.run)
	return p
}

// Accept waits for the next connection whose header is there.
func (p *proxied) Accept() (net.Conn, error) {
	select {
	case c := <-p.came:
		return c, nil
	case err := <-p.failed:
		return nil, err
	case <-p.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close closes the listener, and the connections that nobody has accepted.
func (p *proxied) Close() error {
	p.stop()
	err := p.Listener.Close()
	p.running.Wait()
	return err
}

func (p *proxied) run() {
	for {
		c, err := p.Listener.Accept()
		if err != nil {
			select {
			case p.failed <- err:
			case <-p.ctx.Done():
			}
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		if !ratelimit.IsTrusted(c.RemoteAddr(), p.trusted) {
			p.complain("a connection is closed: with --proxy-protocol they come from a --trusted-proxy only", "from", c.RemoteAddr().String())
			_ = c.Close()
			continue
		}
		select {
		case p.reading <- struct{}{}:
			p.running.Go(func() { p.greet(c) })
		default:
			p.complain("a connection is closed: too many wait for their PROXY protocol header", "from", c.RemoteAddr().String())
			_ = c.Close()
		}
	}
}

// greet reads a connection's header and passes it on.
func (p *proxied) greet(c net.Conn) {
	// Beyond the deadline or the listener's end nothing is read.
	_ = c.SetReadDeadline(time.Now().Add(proxyHeaderTimeout)) // a connection that fails here fails to be read as well
	ended := context.AfterFunc(p.ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	remote, err := readProxyHeader(c)
	<-p.reading
	if !ended() && err == nil {
		err = net.ErrClosed
	}
	if err == nil {
		err = c.SetReadDeadline(time.Time{})
	}
	if err != nil {
		if p.ctx.Err() == nil {
			p.complain("a connection of a proxy is closed: it does not begin with a header of PROXY protocol version 2", "from", c.RemoteAddr().String(), "error", err)
		}
		_ = c.Close()
		return
	}
	if remote != nil {
		c = proxiedConn{c, remote}
	}
	select {
	case p.came <- c:
	case <-p.ctx.Done():
		_ = c.Close()
	}
}

// readProxyHeader reads a header and not one byte more, and returns the client's
// address; nil if it is the proxy's own connection, for its health checks.
func readProxyHeader(c net.Conn) (net.Addr, error) {
	start := make([]byte, proxyHeaderStart)
	if n, err := io.ReadFull(c, start); err != nil {
		return nil, fmt.Errorf("%d bytes came: %w", n, err)
	}
	if !bytes.HasPrefix(start, proxyproto.SIGV2) {
		return nil, fmt.Errorf("it begins with %q", start)
	}
	length := int(binary.BigEndian.Uint16(start[proxyHeaderStart-2:]))
	if length > int(proxyproto.MaxV2HeaderSize) {
		return nil, fmt.Errorf("a header of %d bytes", length)
	}
	whole := append(start, make([]byte, length)...)
	if _, err := io.ReadFull(c, whole[proxyHeaderStart:]); err != nil {
		return nil, err
	}
	header, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(whole)))
	switch {
	case err != nil:
		return nil, err
	case header.Command.IsLocal():
		return nil, nil
	}
	source, _, ok := header.TCPAddrs()
	if !ok {
		return nil, errors.New("the address of no TCP connection")
	}
	return source, nil
}

// proxiedConn is a connection that came by a proxy.
type proxiedConn struct {
	net.Conn
	remote net.Addr
}

// RemoteAddr is the client's address.
func (c proxiedConn) RemoteAddr() net.Addr { return c.remote }

// SyscallConn lets the connection be written to without blocking.
func (c proxiedConn) SyscallConn() (syscall.RawConn, error) {
	if raw, ok := c.Conn.(syscall.Conn); ok {
		return raw.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

//go:build !linux

package load

import (
	"net"
	"time"
)

const canPoll = false

// poller only waits for what the goroutines of relayed sockets post.
type poller struct{ signal chan struct{} }

func (p *poller) open() error {
	p.signal = make(chan struct{}, 1)
	return nil
}

func (p *poller) close() {}

func (p *poller) wake() {
	select {
	case p.signal <- struct{}{}:
	default:
	}
}

func (p *poller) wait(_ *loop, nanoseconds int64) {
	timer := time.NewTimer(time.Duration(max(nanoseconds, 0)))
	defer timer.Stop()
	select {
	case <-p.signal:
	case <-timer.C:
	}
}

func (p *poller) dial(*loop, *net.TCPAddr, sink) *sock { panic("load: nothing is polled here") }
func (p *poller) drop(*sock)                           {}
func (p *poller) write(*sock, []byte)                  {}

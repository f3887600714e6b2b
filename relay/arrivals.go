package relay

import (
	"container/list"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/wsnode/wsnode/relay/overload"
	"github.com/wsnode/wsnode/relay/ratelimit"
)

// Connections that have not brought a request yet, TLS handshakes among them, or that
// are kept for another one. They cost memory and a descriptor each before anybody is
// known, for as long as headerTimeout or keepAliveIdle lets them.
const (
	maxArriving     = 16384 // and not more than arrivingShare of the descriptors
	maxArrivingFrom = 1024  // from one address
	arrivingShare   = 0.6
)

// arrivals bounds them. Beyond a bound the oldest connection is cut, and never the
// newest refused: a good client brings its request within a moment, so that those who
// stay are not good ones.
type arrivals struct {
	trusted []netip.Prefix // proxies, which bring the clients of many addresses
	most    int
	mostOf  int // of one address

	cut atomic.Int64 // connections cut, for metrics

	mu    sync.Mutex
	all   list.List // of *arrival, oldest first
	from  map[netip.Addr]*list.List
	conns map[net.Conn]*arrival
}

type arrival struct {
	conn       net.Conn
	address    netip.Addr // zero: not bounded by address
	inAll, inA *list.Element
}

func newArrivals(trusted []netip.Prefix, descriptors *overload.Descriptors) *arrivals {
	a := &arrivals{trusted: trusted, most: maxArriving, mostOf: maxArrivingFrom, from: map[netip.Addr]*list.List{}, conns: map[net.Conn]*arrival{}}
	if n := descriptors.Most(); n > 0 {
		a.most = min(a.most, int(float64(n)*arrivingShare))
	}
	return a
}

// state is for http.Server.ConnState.
func (a *arrivals) state(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew, http.StateIdle:
		a.enter(c)
	case http.StateClosed, http.StateHijacked:
		a.leave(c)
	}
}

func (a *arrivals) enter(c net.Conn) {
	address := ratelimit.Address(c.RemoteAddr())
	if ratelimit.IsTrusted(c.RemoteAddr(), a.trusted) {
		address = netip.Addr{}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conns[c] != nil {
		return
	}
	v := &arrival{conn: c, address: address}
	v.inAll = a.all.PushBack(v)
	a.conns[c] = v
	if address.IsValid() {
		of := a.from[address]
		if of == nil {
			of = list.New()
			a.from[address] = of
		}
		v.inA = of.PushBack(v)
		if of.Len() > a.mostOf {
			a.cutLocked(of.Front().Value.(*arrival))
		}
	}
	if a.all.Len() > a.most {
		a.cutLocked(a.all.Front().Value.(*arrival))
	}
}

// cutLocked ends a connection that takes too long.
func (a *arrivals) cutLocked(v *arrival) {
	a.leaveLocked(v)
	a.cut.Add(1)
	_ = bottom(v.conn).Close()
}

// bottom is the connection below TLS, which would wait for its peer to say goodbye.
func bottom(c net.Conn) net.Conn {
	for {
		above, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = above.NetConn()
	}
}

func (a *arrivals) leave(c net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if v := a.conns[c]; v != nil {
		a.leaveLocked(v)
	}
}

func (a *arrivals) leaveLocked(v *arrival) {
	delete(a.conns, v.conn)
	a.all.Remove(v.inAll)
	if v.inA == nil {
		return
	}
	of := a.from[v.address]
	if of.Remove(v.inA); of.Len() == 0 {
		delete(a.from, v.address)
	}
}

// len is how many there are.
func (a *arrivals) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all.Len()
}

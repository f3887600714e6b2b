package main

import "time"

// renewLease is kvpin's lease keeper: it takes a lease while there is none, and
// renews it otherwise.
func (h *healing) renewLease(n *healer, node int32) {
	n.asking = true
	if n.until > h.now {
		h.send(n, node, leaseRenewal, 0)
		return
	}
	if n.until != 0 { // it ran out: its pins are gone through again
		h.LeasesLost++
		n.until = 0
	}
	h.send(n, node, leaseRead, 0)
}

// leaseSoon has the lease keeper ask after a while, instead of when it would have.
func (h *healing) leaseSoon(n *healer, node int32, wait time.Duration) {
	if n.asking {
		return
	}
	n.keeper++
	h.put(item{at: h.now + wait, matter: leaseDue, node: node, lease: n.keeper})
}

func (h *healing) leaseAnswered(n *healer, i item) {
	n.asking = false
	switch {
	case !i.ok:
		h.leaseSoon(n, i.node, h.around(retryLease))
	case i.what == leaseRead:
		n.asking = true
		h.send(n, i.node, leaseWrite, 0)
	case i.what == leaseRenewal:
		n.until = i.sent + leaseTTL
		h.leaseSoon(n, i.node, h.around(renewEvery))
	default:
		n.until = i.sent + leaseTTL
		h.newLease(n, i.node)
		h.leaseSoon(n, i.node, h.around(renewEvery))
	}
}

// newLease has all pins gone through.
func (h *healing) newLease(n *healer, node int32) {
	n.lease++
	if !h.Fixed {
		n.pace, n.slowed = paceFirst, 0
	}
	n.waiting = n.waiting[:0]
	for pin := range n.landed {
		if n.landed[pin] {
			n.landed[pin] = false
			h.left++
		}
		n.attempts[pin] = 0
		n.waiting = append(n.waiting, int32(pin))
	}
	h.work(n, node)
}

func (h *healing) around(d time.Duration) time.Duration { return d*9/10 + h.upTo(d/5) }

// work is kvpin's owed documents: so many workers take what is due while the lease is
// current. While the registry is silent, each gives up at once.
func (h *healing) work(n *healer, node int32) {
	for n.busy < int(n.pace) && len(n.waiting) > 0 && n.until > h.now {
		pin := n.waiting[len(n.waiting)-1]
		n.waiting = n.waiting[:len(n.waiting)-1]
		if h.now < n.silentUntil {
			h.later(n, node, pin)
			continue
		}
		n.busy++
		h.send(n, node, pinRead, pin)
	}
}

// later tries a pin again, ever less often.
func (h *healing) later(n *healer, node, pin int32) {
	most := renewEvery
	if n.attempts[pin]++; n.attempts[pin] < 6 {
		most = 100 * time.Millisecond << (n.attempts[pin] - 1)
	} else {
		n.attempts[pin] = 6
	}
	h.put(item{at: h.now + most/2 + h.upTo(most/2), matter: pinDue, node: node, pin: pin})
}

func (h *healing) pinAnswered(n *healer, i item) {
	h.adapt(n, i)
	switch {
	case i.lease != n.lease: // of an earlier lease: its pins are due again already
		n.busy--
	case !i.ok:
		n.busy--
		h.later(n, i.node, i.pin)
	case i.what == pinRead && !n.landed[i.pin]:
		if h.now < n.silentUntil {
			n.busy--
			h.later(n, i.node, i.pin)
			break
		}
		h.send(n, i.node, pinWrite, i.pin)
		return
	default:
		n.busy--
	}
	h.work(n, i.node)
}

// adapt is kvpin's pace: a node does more at once while answers come, and half as
// much when one does not.
func (h *healing) adapt(n *healer, i item) {
	switch {
	case h.Fixed:
	case i.ok && n.slowed == 0:
		n.pace = min(n.pace+1, float64(h.Workers))
	case i.ok:
		n.pace = min(n.pace+1/n.pace, float64(h.Workers))
	case i.sent >= n.slowed:
		n.pace, n.slowed = max(n.pace/2, 1), h.now
	}
}

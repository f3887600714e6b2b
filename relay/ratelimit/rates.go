// Package ratelimit bounds what one client may ask of a node: requests per address and
// token (Rates), how many of one kind wait at the same time (Crowd), and what a session
// may send and have answered (SessionBudget). It also says which address a request is
// charged to (ClientIP). All of it is the node's own: nobody else is asked.
package ratelimit

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// Rate is so many events in any stretch of time so long. The zero Rate sets no
// limit.
type Rate struct {
	Count int
	Per   time.Duration
}

// RateConfig has one rate for each kind of request. A zero rate is off.
type RateConfig struct {
	Refused      Rate // refused handshakes and failed discoveries of an address
	RefusedToken Rate // the same of one token
	Admitted     Rate // successful handshakes and discoveries of an address
	Usage        Rate // /usage of an address
	Health       Rate // /health of an address

	MaxEntries int // addresses, tokens or apps counted at once by each rate; default 65,536
}

// DefaultRates are the numbers of the contract. A token gets fewer refusals than
// an address, so that one client that is stuck with a bad token uses up its own
// allowance before that of the office it sits in.
func DefaultRates() RateConfig {
	return RateConfig{
		Refused:      Rate{60, time.Minute},
		RefusedToken: Rate{20, time.Minute},
		Admitted:     Rate{1200, time.Minute},
		Usage:        Rate{12, time.Minute},
		Health:       Rate{600, time.Minute},
	}
}

// RetryAfter is what a client that exceeds a rate is told, in seconds.
const RetryAfter = 60

// Rates counts requests per address, token and app. Each table is bounded; what
// finds no room is not counted, so that a flood of addresses cannot lock
// everybody out. Nil Rates allow everything. It is safe for concurrent use.
type Rates struct {
	Refused  *Window[netip.Addr]
	Issuers  *Window[netip.Addr] // that are not known, named by tokens; as many as may be refused
	Admitted *Window[netip.Addr]
	Usage    *Window[netip.Addr]
	Health   *Window[netip.Addr]

	// Refusals for a limit of the plan, told by their own codes: no abuse, but a
	// tight loop of them is answered more cheaply from some rate on.
	Crowded *Window[netip.Addr]

	judged    *Window[netip.Addr] // tokens of addresses that were refused too often
	judgedAll *Window[everyone]   // the same of all addresses together
	tokens    *Window[uint64]
	seed      maphash.Seed
}

// everyone is the only key of a window that all clients share.
type everyone bool

// What an address that was refused too often may still have judged, in multiples of
// what may be refused, and all such addresses together in multiples of that. An ES256
// signature costs a tenth of a millisecond: by default these are 0.2 and 3 % of a core.
const (
	judgedShare    = 20
	judgedAllShare = 16
)

// times is the rate of so many times as many events.
func (r Rate) times(n int) Rate { return Rate{r.Count * n, r.Per} }

// NewRates makes the tables.
func NewRates(c RateConfig) *Rates {
	return &Rates{
		Refused:  NewWindow[netip.Addr](c.Refused, c.MaxEntries),
		Issuers:  NewWindow[netip.Addr](c.Refused, c.MaxEntries),
		Admitted: NewWindow[netip.Addr](c.Admitted, c.MaxEntries),
		Usage:    NewWindow[netip.Addr](c.Usage, c.MaxEntries),
		Health:   NewWindow[netip.Addr](c.Health, c.MaxEntries),
		Crowded:  NewWindow[netip.Addr](c.Admitted, c.MaxEntries),

		judged:    NewWindow[netip.Addr](c.Refused.times(judgedShare), c.MaxEntries),
		judgedAll: NewWindow[everyone](c.Refused.times(judgedShare*judgedAllShare), 1),
		tokens:    NewWindow[uint64](c.RefusedToken, c.MaxEntries),
		seed:      maphash.MakeSeed(),
	}
}

// Stuck reports whether the token has been refused too often lately, wherever it
// came from. It counts nothing.
func (r *Rates) Stuck(token string) bool {
	return r != nil && token != "" && r.tokens.Full(r.tokenKey(token))
}

// Suspect reports whether clients at the address have been refused too often
// lately. Others may sit behind it: see Judge.
func (r *Rates) Suspect(addr netip.Addr) bool { return r != nil && r.Refused.Full(addr) }

// Judge reports whether one more token of a suspect address may be judged, and
// counts it: good ones get in however many bad ones come from there, within a
// budget of work.
func (r *Rates) Judge(addr netip.Addr) bool {
	return r == nil || r.judged.Take(addr) && r.judgedAll.Take(true)
}

// Refuse counts a refusal. Once the token has used up its own allowance, Stuck
// stops it before it can use up more of the address's.
func (r *Rates) Refuse(addr netip.Addr, token string) {
	if r == nil {
		return
	}
	r.Refused.Take(addr)
	if token != "" {
		r.tokens.Take(r.tokenKey(token))
	}
}

// tokenKey is a hash under a secret seed: tokens are not kept.
func (r *Rates) tokenKey(token string) uint64 { return maphash.String(r.seed, token) }

// Window counts events per key over a sliding stretch of time. It keeps two
// fixed windows and weighs the older one by how much of it is still in sight,
// which needs two numbers per key and no cleaning up. A nil Window allows
// everything. It is safe for concurrent use.
type Window[K comparable] struct {
	rate Rate
	most int

	mu       sync.Mutex
	began    time.Time // of now
	now, old map[K]int32
}

const defaultEntries = 65536

// NewWindow makes a window for a rate, of at most so many keys (zero: 65,536). It
// is nil for the zero rate.
func NewWindow[K comparable](rate Rate, most int) *Window[K] {
	if rate.Count <= 0 || rate.Per <= 0 {
		return nil
	}
	if most <= 0 {
		most = defaultEntries
	}
	return &Window[K]{rate: rate, most: most, began: time.Now(), now: map[K]int32{}, old: map[K]int32{}}
}

// Take counts an event and reports whether it is within the rate. Events beyond
// the rate are not counted: who keeps knocking gets in again when the rate
// allows.
func (w *Window[K]) Take(key K) bool {
	if w == nil || isZero(key) {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.levelLocked(key) > float64(w.rate.Count-1) {
		return false
	}
	n, known := w.now[key]
	if known || len(w.now) < w.most {
		w.now[key] = n + 1
	}
	return true
}

// Full reports whether the next event would be beyond the rate.
func (w *Window[K]) Full(key K) bool {
	if w == nil || isZero(key) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.levelLocked(key) > float64(w.rate.Count-1)
}

// levelLocked is how many events of the key are in sight.
func (w *Window[K]) levelLocked(key K) float64 {
	elapsed := time.Since(w.began)
	switch {
	case elapsed >= 2*w.rate.Per:
		w.began, w.now, w.old = time.Now(), map[K]int32{}, map[K]int32{}
		elapsed = 0
	case elapsed >= w.rate.Per:
		w.began = w.began.Add(w.rate.Per)
		w.now, w.old = map[K]int32{}, w.now
		elapsed -= w.rate.Per
	}
	rest := 1 - float64(elapsed)/float64(w.rate.Per)
	return float64(w.now[key]) + float64(w.old[key])*rest
}

// isZero spots a client without an address, who cannot be told from others.
func isZero[K comparable](key K) bool {
	var zero K
	return key == zero
}

package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/wsnode/wsnode/authn"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay/bus"
	"github.com/wsnode/wsnode/relay/closecode"
	"github.com/wsnode/wsnode/relay/conn"
	"github.com/wsnode/wsnode/relay/overload"
	"github.com/wsnode/wsnode/relay/quota"
	"github.com/wsnode/wsnode/relay/ratelimit"
)

// Limits are the operator's. They hold whatever a token says; the zero value
// leaves only what tokens say.
type Limits struct {
	Rates            ratelimit.RateConfig   // per client address
	TrustedProxies   []netip.Prefix         // whose X-Forwarded-For is believed
	Capacity         overload.GaugeConfig   // what this node can carry
	Ceilings         quota.Plan             // per app and document
	AwarenessClients int                    // per document
	AppBytes         int                    // of all documents of one app that are open on this node
	OpsPerMinute     int                    // per app, over the nodes of the region
	Sessions         ratelimit.SessionRates // per session
	ClaimsPerSecond  int                    // documents that one app may open, per node
	Handshakes       int                    // at once; more queue briefly; 0: 256
}

// gate is what stands between the internet and the documents: who a client is, how often it
// may come, and whether there is room. It counts for the address that a client has, not for
// one that it claims to have, and believes nothing else of it before its token is verified.
type gate struct {
	log      *slog.Logger
	verifier Verifier
	registry *kvpin.Registry
	limits   Limits

	rates   *ratelimit.Rates // nil: off
	gauge   *overload.Gauge
	places  *quota.Places
	usage   *quota.Usage
	ask     *quota.NATSExchange
	ops     *quota.Ops
	claims  *ratelimit.Window[docid.AppID] // nil: off
	slots   slots                          // of handshakes
	loads   slots                          // of those whose document is not open here, which may take long
	shares  shares                         // of apps, in what all clients of the node share
	nobodys conn.Share                     // in the same, of messages for documents that their senders are not in
	keys    *ratelimit.Crowd[netip.Addr]   // those who wait for an issuer's keys
	firsts  *ratelimit.Crowd[netip.Addr]   // those whose first message says what they are
	idle    *ratelimit.Crowd[netip.Addr]   // those of several documents that are in none
	turns   *ratelimit.Turns               // of sessions above their rates
	gossip  *bus.Subscription

	awaiting atomic.Int64 // connections whose handshake led nowhere, until their first message
	unheeded atomic.Int64 // requests whose X-Forwarded-For was not believed
}

// opsSubject is where the pods of a region tell each other what they counted.
const opsSubject = "wsn.ops"

func openGate(cfg *Config) (*gate, error) {
	l := cfg.Limits
	if l.Handshakes == 0 {
		l.Handshakes = 256
	}
	ask := quota.OpenNATSExchange(cfg.Registry.Conn)
	g := &gate{
		log: cfg.Log, verifier: cfg.Verifier, registry: cfg.Registry,
		limits: l,
		ask:    ask,
		usage:  quota.NewUsage(ask),
		gauge:  overload.NewGauge(l.Capacity),
		places: quota.NewPlaces(quota.PlacesConfig{
			Node: string(cfg.Node), Region: string(cfg.Region), Registry: quota.OnRegistry(cfg.Registry), Ceilings: l.Ceilings, Exchange: ask, Log: cfg.Log,
		}),
		ops:    quota.NewOps(func(message []byte) error { return cfg.Bus.Publish(opsSubject, message) }),
		slots:  make(slots, l.Handshakes),
		loads:  make(slots, l.Handshakes),
		keys:   ratelimit.NewCrowd[netip.Addr](maxAwaitKeys),
		firsts: ratelimit.NewCrowd[netip.Addr](maxAwaitOf),
		idle:   ratelimit.NewCrowd[netip.Addr](maxOutsideOf),
		turns:  ratelimit.NewTurns(runtime.GOMAXPROCS(0)),
	}
	if l.Rates != (ratelimit.RateConfig{}) {
		g.rates = ratelimit.NewRates(l.Rates)
	}
	if l.ClaimsPerSecond > 0 {
		g.claims = ratelimit.NewWindow[docid.AppID](ratelimit.Rate{Count: l.ClaimsPerSecond, Per: time.Second}, l.Rates.MaxEntries)
	}
	var err error
	g.gossip, err = cfg.Bus.Subscribe(opsSubject, bus.HandlerFunc(func(_, _ string, message []byte) {
		_ = g.ops.Receive(message) // a pod of another version counts for itself
	}))
	if err != nil {
		ask.Close()
		return nil, err
	}
	return g, nil
}

// close gives back what the node reserved.
func (g *gate) close(ctx context.Context) error {
	g.gossip.Unsubscribe()
	err := g.places.Close(ctx)
	g.ask.Close()
	return err
}

// awaitFirst has a connection's first message be awaited, unless as many wait as may.
func (g *gate) awaitFirst(address netip.Addr, await func() ([]byte, error)) ([]byte, error) {
	if !g.firsts.Enter(address) {
		return nil, errOverloaded
	}
	defer g.firsts.Leave(address)
	defer g.awaiting.Add(-1)
	if g.awaiting.Add(1) > maxAwaitFirst {
		return nil, errOverloaded
	}
	return await()
}

// outside counts a connection that is in no document, until inside is called.
func (g *gate) outside(address netip.Addr) (inside func(), ok bool) {
	if !g.idle.Enter(address) {
		return nil, false
	}
	return func() { g.idle.Leave(address) }, true
}

// maxAwaitKeys is how many clients of one address may wait for issuers' keys.
const maxAwaitKeys = 128

var errAwaitKeys = fmt.Errorf("%w: too many clients of this address wait for issuers' keys", authn.ErrUnavailable)

// standing is how a client is met, by how often others like it were refused lately.
type standing int

const (
	welcome standing = iota
	suspect          // its address was refused too often: told its code only if its token is good
	blocked          // 429 before its token is looked at
)

// standing judges a client before its token is. An address may be an office: what a
// few there do wrong, for example with tokens that have expired, must not lock out the
// others. A token that was good before costs no signature check, and hence no budget.
func (g *gate) standing(address netip.Addr, token string) standing {
	rates := g.rates
	switch {
	case rates.Stuck(token):
		return blocked
	case !rates.Suspect(address):
		return welcome
	case token == "" || !g.knows(token) && !rates.Judge(address):
		return blocked
	}
	return suspect
}

// knows reports whether the token was verified before.
func (g *gate) knows(token string) bool {
	v, ok := g.verifier.(interface{ Knows(token string) bool })
	return ok && v.Knows(token)
}

// verify checks the token and whether its license region is served here.
func (g *gate) verify(ctx context.Context, token string, by authn.Caller) (*authn.Grant, error) {
	grant, err := g.verifier.VerifyFor(ctx, token, by)
	if err != nil {
		return nil, err
	}
	if !g.registry.Serves(grant.License) {
		return nil, errLicense
	}
	return grant, nil
}

// address is the client's address, which limits count by. Many clients at one address
// are mostly a proxy that --trusted-proxy does not name: that is counted, and said once.
func (g *gate) address(r *http.Request) netip.Addr {
	trusted := g.limits.TrustedProxies
	if r.Header.Get("X-Forwarded-For") != "" && !ratelimit.FromProxy(r, trusted) && g.unheeded.Add(1) == 1 {
		g.log.Warn("X-Forwarded-For of a peer that --trusted-proxy does not name is not believed: if it is your proxy, its clients share one address and its limits",
			"peer", r.RemoteAddr)
	}
	return ratelimit.ClientIP(r, trusted)
}

// full reports whether no more clients may come from the address.
func (g *gate) full(address netip.Addr) bool {
	return g.rates != nil && g.rates.Admitted.Full(address)
}

// admits counts a client that may come in, and reports whether there was room.
func (g *gate) admits(address netip.Addr) bool {
	return g.rates == nil || g.rates.Admitted.Take(address)
}

// allowed counts a request for what has a rate of its own.
func (g *gate) allowed(path string, address netip.Addr) bool {
	rates := g.rates
	switch {
	case rates == nil:
		return true
	case path == "/" || path == "/health":
		return rates.Health.Take(address)
	case path == "/usage":
		return rates.Usage.Take(address)
	}
	return true
}

// caller has the address answer for the issuers that its tokens name: their keys are
// fetched before anything in a token is proven. Waiting for them goes through wait,
// which may be nil.
func (g *gate) caller(address netip.Addr, wait func(keys func()) error) authn.Caller {
	by := authn.Caller{Waiting: func(keys func()) error {
		if !g.keys.Enter(address) {
			return errAwaitKeys
		}
		defer g.keys.Leave(address)
		if wait == nil {
			keys()
			return nil
		}
		return wait(keys)
	}}
	if g.rates != nil {
		by.MayFetch = func() bool { return g.rates.Issuers.Take(address) }
	}
	return by
}

// enter counts a client of an app for the load of the node, until leave, and returns the
// app's share in what all clients have.
func (g *gate) enter(app docid.AppID) *conn.Share {
	g.gauge.Enter()
	return g.shares.enter(app)
}

func (g *gate) leave(app docid.AppID) {
	g.shares.leave(app)
	g.gauge.Leave()
}

// plan is what the token's app may have.
func plan(grant *authn.Grant) quota.Plan {
	return quota.Plan{
		MaxConnections: grant.Limits.MaxConnections,
		MaxDocuments:   grant.Limits.MaxDocuments,
		MaxUsersPerDoc: grant.Limits.MaxUsersPerDoc,
	}
}

// Why a client hears 429, for operators.
const (
	tooOften      = "rate limit"
	blockedDetail = "refused too often, this address or this token"
	fullDetail    = "too many connects and discoveries from this address"
	crowdedDetail = "refused too often for a limit of the plan"
)

// tooMany answers 429. Browsers show a WebSocket handshake that is answered so as
// a failed connection.
func tooMany(w http.ResponseWriter) {
	w.Header().Set("Retry-After", strconv.Itoa(ratelimit.RetryAfter))
	writeError(w, http.StatusTooManyRequests, "rate_limited", "Too many requests from this address; try again later")
}

// counts reports whether a refusal counts against the client: what the service
// itself cannot do at the moment, a redirect, and a limit of the plan do not. Who waits
// until there is room again does nothing wrong.
func counts(err error) bool {
	if errors.Is(err, authn.ErrTooManyIssuers) {
		return true
	}
	switch answer(err).code {
	case closecode.Redirect, closecode.Restart, closecode.TryAgain, closecode.Connections, closecode.Documents, closecode.Users:
		return false
	}
	return true
}

// blames counts a refusal against the client if it counts, and reports whether it does.
func (g *gate) blames(address netip.Addr, token string, err error) bool {
	if !counts(err) {
		return false
	}
	g.rates.Refuse(address, token)
	return true
}

// crowded reports whether a refusal is for a limit of the plan, and there were so many
// from the address that it is not worth a WebSocket any more.
func (g *gate) crowded(address netip.Addr, err error) bool {
	exceeded := (*quota.ExceededError)(nil)
	return errors.As(err, &exceeded) && g.rates != nil && !g.rates.Crowded.Take(address)
}

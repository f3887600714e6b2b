package quota

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// PlacesConfig says who reserves places, and where.
type PlacesConfig struct {
	Node     string        // this node's id
	Region   string        // its WebSocket region
	Registry Registry      // where apps with limits are kept
	Exchange Exchange      // answers for /usage; nil: this node does not
	Ceilings Plan          // the operator's, whatever a token says
	Timeout  time.Duration // for an answer of the registry and of other nodes; default 1.5 s
	Log      *slog.Logger  // records that cannot be read; default: nowhere
}

// Places admits sessions to apps and documents that have limits, over all nodes
// and regions, exactly: never one too many among nodes whose leases are current.
// Apps without limits are only counted. It is safe for concurrent use.
//
// A session whose token sets no limit is counted where its node knows the app to
// have one, but it is never refused.
type Places struct {
	config PlacesConfig
	ctx    context.Context // of the goroutines below
	stop   context.CancelFunc
	stats  placeCounters

	spawning sync.Mutex // after app.mu; guards closed, and tasks against a late start
	tasks    sync.WaitGroup
	closed   bool

	mu       sync.Mutex // before app.mu
	apps     map[docid.AppID]*app
	keys     map[appKey]*app
	watching map[docid.LicenseRegion]bool
	tending  bool
}

// appKey is where an app's record is.
type appKey struct {
	license docid.LicenseRegion
	key     string
}

// NewPlaces makes Places; nothing is reserved and nothing runs yet. Close it when
// done.
func NewPlaces(c PlacesConfig) *Places {
	c.Timeout = cmp.Or(c.Timeout, 1500*time.Millisecond)
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	p := &Places{
		config: c, apps: map[docid.AppID]*app{}, keys: map[appKey]*app{},
		watching: map[docid.LicenseRegion]bool{},
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// Connection is a socket that carries several sessions: those of one app take up one place
// among the app's connections, from the first one's admission until the last one's end.
type Connection struct{ _ byte } // each has an address of its own

// Admit reserves what a session of the document takes up, under the limits of its token's
// plan: a place among the users of the document, and one among the connections of the
// app, unless others that came via the same connection have that. Via nil is a connection
// of its own. Its errors are *ExceededError, or wrap ErrUnavailable: the
// registry cannot be asked, or a node that holds unused places does not answer.
// Mostly it neither blocks nor asks anybody.
func (p *Places) Admit(ctx context.Context, doc docid.Document, plan Plan, via *Connection) (*Place, error) {
	plan = plan.Within(p.config.Ceilings)
	w := &waiter{name: doc.Name, hash: hashOf(doc.Name), plan: plan, via: via, arrived: time.Now()}
	a := p.lockApp(doc.AppID())
	if a.admitLocked(w) {
		a.mu.Unlock()
		return &Place{app: a, waiter: w}, nil
	}
	if _, current := a.me(); !current {
		a.mu.Unlock()
		p.stats.unavailable.Add(1)
		return nil, fmt.Errorf("admit to %s: %w: no current lease", doc, ErrUnavailable)
	}
	w.done = make(chan struct{})
	a.waiting = append(a.waiting, w)
	a.kickLocked()
	a.mu.Unlock()

	timeout := time.NewTimer(p.config.Timeout)
	defer timeout.Stop()
	select {
	case <-w.done:
	case <-ctx.Done():
	case <-timeout.C:
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := w.endLocked(a); err != nil {
		if errors.Is(err, ErrUnavailable) {
			p.stats.unavailable.Add(1)
		}
		return nil, fmt.Errorf("admit to %s: %w", doc, err)
	}
	return &Place{app: a, waiter: w}, nil
}

// lockApp returns the app, locked.
func (p *Places) lockApp(id docid.AppID) *app {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.apps[id]
	if a == nil {
		a = &app{places: p, id: id, key: id.LimitKey(appScope), documents: map[string]*local{}}
		p.apps[id] = a
		p.keys[appKey{id.License, a.key}] = a
		p.answerFor(a)
		if !p.tending {
			p.tending = p.spawn(p.tend)
		}
	}
	a.mu.Lock()
	return a
}

// appScope is the scope of an app's only key.
const appScope = "app"

// Place is what a session takes up: its user's place in the document, and its connection's
// or a share in that.
type Place struct {
	app    *app
	waiter *waiter
	once   sync.Once
}

// Leave gives the place back. It may be called more than once, and does not wait
// for the registry.
func (p *Place) Leave() {
	p.once.Do(func() {
		p.app.mu.Lock()
		defer p.app.mu.Unlock()
		p.app.returnLocked(p.waiter)
		p.app.afterLeaveLocked()
	})
}

// spawn starts a goroutine that Close waits for; false after Close.
func (p *Places) spawn(f func()) bool {
	p.spawning.Lock()
	defer p.spawning.Unlock()
	if !p.closed {
		p.tasks.Go(f)
	}
	return !p.closed
}

// answerFor answers questions about the app's usage as long as it is here.
func (p *Places) answerFor(a *app) {
	a.stopAnswering = func() {}
	if p.config.Exchange == nil {
		return
	}
	stop, err := p.config.Exchange.Answer(a.id, a.usageAnswer)
	if err != nil {
		p.config.Log.Warn("usage of an app will not be counted on this node", "app", a.id.String(), "err", err)
		return
	}
	a.stopAnswering = stop
}

// watch watches the records of a license region once an app with limits is here.
func (p *Places) watch(license docid.LicenseRegion) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if keys := p.config.Registry.Keys(license); keys != nil && !p.watching[license] {
		p.watching[license] = p.spawn(func() {
			keys.Watch(p.ctx, limitPrefix, func(key string, value []byte, revision uint64) {
				p.changed(license, key, value, revision)
			})
		})
	}
}

// limitPrefix begins all keys that docid.AppID.LimitKey spells.
var limitPrefix = strings.SplitAfter(docid.AppID{}.LimitKey(""), ".")[0]

// changed takes in a record that the registry reports.
func (p *Places) changed(license docid.LicenseRegion, key string, value []byte, revision uint64) {
	p.mu.Lock()
	a := p.keys[appKey{license, key}]
	p.mu.Unlock()
	if a != nil {
		a.notice(value, revision)
	}
}

// tendEvery is how often apps are looked after: leases, unused places, expiry.
const tendEvery = time.Second

// tend looks after the apps until Close.
func (p *Places) tend() {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-tick.C:
			p.tendAll()
		}
	}
}

func (p *Places) tendAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, a := range p.apps {
		a.mu.Lock()
		a.tendLocked()
		if a.emptyLocked() {
			a.stopAnswering()
			delete(p.apps, id)
			delete(p.keys, appKey{id.License, a.key})
		}
		a.mu.Unlock()
	}
}

// Close gives back what is reserved, as far as ctx allows; what it cannot give
// back ends with the node's lease. Sessions should have left before.
func (p *Places) Close(ctx context.Context) error {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	var err error
	for err == nil && p.giveAllBack() > 0 {
		select {
		case <-poll.C:
		case <-ctx.Done():
			err = fmt.Errorf("give places back: %w", ctx.Err())
		}
	}
	p.spawning.Lock()
	p.closed = true
	p.spawning.Unlock()
	p.stop()
	p.tasks.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.apps {
		a.stopAnswering()
	}
	return err
}

// giveAllBack has the workers give back what nobody uses, and returns how many
// apps are not done.
func (p *Places) giveAllBack() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	busy := 0
	for _, a := range p.apps {
		a.mu.Lock()
		if a.connections == 0 && (a.running || a.enteredLocked()) {
			busy++
			a.dirty = true
			a.kickLocked()
		}
		a.mu.Unlock()
	}
	return busy
}

package room

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/oplog"
	"github.com/wsnode/wsnode/relay/ystore"
)

// ErrClosed is returned for a room that was closed meanwhile: look the document
// up again.
var ErrClosed = errors.New("room is closed")

// Room is one live document on this node. It is made of parts, each of which owns its
// fields and says what always holds of them; a part reaches the others by the room.
//
// Lock order: log.publishing, then mu, which guards all parts. Callers of a part's methods
// hold mu, where the comment of its type does not say that they take it. Messages go to members
// under mu, which is why a member's Send never blocks; nothing waits for the network under mu.
type Room struct {
	// Static after Open.
	rooms *Rooms
	doc   docid.Document
	id    oplog.ID
	kept  *Kept // nil: no store keeps the document

	mu     sync.Mutex
	closed bool
	at     whereabouts // on NATS

	content content // what the document says
	holds   holds   // updates that wait before they are applied

	members  members   // who has the document open here, and what goes out to them
	presence presence  // who is here, on all pods
	asks     questions // of members, whether what they sent is saved
	activity activity  // how much they edit

	out     pending // what waits for the outbox
	log     log     // what is on its way to the history
	backlog backlog // what stands there behind the last snapshot
	storing storing // what its store has of that

	peers    peers    // the rooms of the document on other pods
	exchange exchange // what they and this room send each other
}

func newRoom(rs *Rooms, doc docid.Document, kept *Kept) *Room {
	r := &Room{rooms: rs, doc: doc, id: oplog.ID(rand.Uint64()), kept: kept}
	r.content.store, r.content.present = ystore.New(rs.cfg.Limits), &r.presence.set
	r.presence.set.Most = rs.cfg.MaxClients
	r.holds.room, r.members.room, r.presence.room, r.asks.room = r, r, r, r
	r.at.room, r.out.room, r.log.room, r.backlog.room, r.storing.room, r.exchange.room = r, r, r, r, r, r
	r.log.water.init()
	r.backlog.snapshotAt = time.Now()
	if kept != nil {
		r.backlog.unfinished = kept.Unfinished
	}
	return r
}

// Open loads a document and makes it live on this node: its history, and, of a stored
// life, what lies before it; kept is nil for other lives. fresh says that the epoch has
// only just been created, so that it hardly has a history to load. On an error nothing is
// left behind.
func (rs *Rooms) Open(ctx context.Context, doc docid.Document, epoch string, fresh bool, kept *Kept) (*Room, error) {
	r := newRoom(rs, doc, kept)
	if rs.cfg.MaxAppBytes > 0 {
		r.content.app = rs.apps.enter(doc.AppID())
	}
	err := r.attach(ctx, epoch, fresh)
	if err != nil {
		r.at.unsubscribe()
		rs.apps.leave(r)
		return nil, fmt.Errorf("open %s: %w", doc, err)
	}
	rs.mu.Lock()
	rs.byID[r.id] = r
	rs.mu.Unlock()
	rs.Counters.OpenRooms.Add(1)
	r.Look()
	return r, nil
}

// attach subscribes to an epoch's subjects, then reads its history: what is
// published meanwhile arrives by the subscription, what was published before is
// in the history or comes in answer to the hello. What lies before the history of a
// stored life, Kept.Base brings.
func (r *Room) attach(ctx context.Context, epoch string, fresh bool) error {
	cfg := &r.rooms.cfg
	at := subjects{
		epoch:   epoch,
		updates: r.doc.UpdatesSubject(cfg.History.Shard(r.doc.PinKey()), epoch),
		signals: r.doc.SignalsSubject(),
		tag:     oplog.EpochTag(epoch),
	}
	r.mu.Lock()
	if r.at.epoch != "" {
		r.log.water.reopen()
	}
	r.at.subjects = at
	r.mu.Unlock()
	if err := r.at.subscribe(); err != nil {
		return err
	}
	found, err := r.backlog.find(ctx, at.updates, fresh)
	if err != nil || r.kept == nil || at.format() == oplog.Plain {
		return err
	}
	return r.stand(ctx, at.updates, found)
}

// Close tells the other pods and ends the room. Its members must have left, and
// its edits should be durable: see Durable.
func (r *Room) Close() {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.closed = true
	at, shared := r.at.subjects, !r.peers.alone()
	r.log.forget()
	r.asks.drop()
	r.mu.Unlock()
	if shared {
		_ = r.rooms.cfg.Bus.Publish(at.signals, oplog.AppendTo(nil, oplog.Bye, r.id, at.tag))
	}
	r.at.unsubscribe()
	r.rooms.apps.leave(r)
	r.rooms.mu.Lock()
	delete(r.rooms.byID, r.id)
	r.rooms.mu.Unlock()
	r.rooms.Counters.OpenRooms.Add(-1)
}

// Document returns the document's identity.
func (r *Room) Document() docid.Document { return r.doc }

// Epoch returns the epoch that the room lives in.
func (r *Room) Epoch() string { return r.at.now().epoch }

// Restore appends a snapshot of the document to its history and waits until it
// is acknowledged. It is for an epoch whose pin had vanished, and perhaps its
// history with it.
func (r *Room) Restore(ctx context.Context) error {
	r.mu.Lock()
	r.log.water.reopen()
	r.mu.Unlock()
	_, err := r.log.appendSnapshot(ctx)
	return err
}

// Rebase moves the room to another epoch of the document: it takes that epoch's
// content in and adds its own. Members stay.
func (r *Room) Rebase(ctx context.Context, epoch string) error {
	r.at.unsubscribe()
	r.mu.Lock()
	r.exchange.forget(time.Now(), r.peers.all()...)
	r.mu.Unlock()
	if err := r.attach(ctx, epoch, false); err != nil {
		return fmt.Errorf("move %s to epoch %s: %w", r.doc, epoch, err)
	}
	r.Look()
	return r.Restore(ctx)
}

// Stat describes a room for operators.
type Stat struct {
	Document     docid.Document
	Epoch        string
	Sessions     int
	Clients      int // awareness clients present
	Peers        int // rooms of the document on other pods
	Store        ystore.Stats
	StateVector  []byte
	Messages     int // in the history since its snapshot, as far as this room knows
	UnackedBytes int
	Edits        int64         // from members, since the room was opened
	Rate         float64       // of edits from members, per second over the last seconds
	Unsaved      time.Duration // since when the oldest edit is without an acknowledgement; 0: all have theirs
	Durable      time.Duration // from publish to acknowledgement of the last append; 0: none yet
	Stopped      bool          // the edits of members are held, while the document moves
}

// Stat describes the room as it is now.
func (r *Room) Stat() Stat {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.brief()
	s.StateVector = r.content.store.StateVector()
	return s
}

// Brief is Stat without the state vector, whose making costs as much as the
// document has writers.
func (r *Room) Brief() Stat {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.brief()
}

// brief is Brief for callers who hold mu.
func (r *Room) brief() Stat {
	var unsaved time.Duration
	if oldest := r.log.water.oldest(); oldest != 0 {
		unsaved = time.Duration(clock() - oldest)
	}
	return Stat{
		Document: r.doc, Epoch: r.at.epoch, Sessions: len(r.members.seats), Clients: r.presence.set.Len(), Peers: len(r.peers.heard),
		Store: r.content.store.Stats(), Messages: r.backlog.messages, UnackedBytes: r.log.bytes(), Unsaved: unsaved, Edits: r.activity.edits, Rate: r.activity.rate, Durable: r.log.durable,
		Stopped: r.holds.stopped,
	}
}

// Look has the room look for the rooms of the document on other pods.
func (r *Room) Look() {
	r.mu.Lock()
	r.peers.look(time.Now(), r.rooms.cfg.BeaconEvery)
	r.mu.Unlock()
	r.exchange.hello()
}

// Pods returns where the rooms of the document that are heard take messages.
func (r *Room) Pods() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peers.pods()
}

// Activity is what makes a room a busy one: edits from members per second, and how
// many members there are.
func (r *Room) Activity() (rate float64, members int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.activity.rate, len(r.members.seats)
}

// apply takes an update into the document, and sends what is new to all members but its
// author. It returns what is new, nil if nothing is; the caller may keep it. Callers hold
// mu.
func (r *Room) apply(update []byte, author *Seat, t ystore.Terms) (fresh []byte, err error) {
	var before ystore.Progress
	if len(update) > ystore.MaxMessage {
		before = r.content.store.Progress()
	}
	fresh, deliver, err := r.content.apply(update, t)
	if err != nil || fresh == nil {
		return nil, err
	}
	if len(update) > ystore.MaxMessage && len(deliver) > ystore.MaxMessage {
		r.members.spreadLarge(before, author)
		return bytes.Clone(fresh), nil
	}
	if len(deliver) == len(fresh) && &deliver[0] == &fresh[0] { // nearly always
		return r.members.spread(fresh, author), nil
	}
	r.members.spread(deliver, nil) // the author too may lack what waited for this
	return bytes.Clone(fresh), nil
}

// load is apply for what nobody else is to get: without members nothing is made of it,
// and a whole document not copied. It reports whether it brought anything. Callers hold mu.
func (r *Room) load(update []byte, t ystore.Terms) (fresh bool, err error) {
	var changes []byte
	if len(r.members.seats) == 0 {
		changes, _, err = r.content.apply(update, t)
	} else {
		changes, err = r.apply(update, nil, t)
	}
	return changes != nil, err
}

// Export returns the whole document as one Yjs update.
func (r *Room) Export() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.content.state()
}

// tick does what the clock asks for: the cost of a quiet, unshared room is its
// lock.
func (r *Room) tick(now time.Time) {
	r.mu.Lock()
	dues := r.exchange.tick(now)
	r.presence.tick(now)
	r.holds.tick(now)
	r.members.tick(now)
	r.activity.tick()
	if r.log.retryDue(now) {
		r.out.schedule(true)
	}
	r.asks.tick()
	reannounce := r.presence.reannounceDue(now)
	r.backlog.tick(now)
	r.mu.Unlock()
	r.exchange.send(now, dues)
	if reannounce {
		r.presence.reannounceAll()
	}
}
